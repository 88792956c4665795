"""A camera's picture that is worth its bits: the fake camera's own is nearly still.

Chromium plays a raw video file in place of a camera, again and again. Smooth patches drift over
the picture, which is cheap to encode, and some of them become others in each frame, which is not.
"""

import random
from pathlib import Path

WIDTH, HEIGHT = 1_280, 720
FRAMES_PER_S = 15
FRAMES = 30
PATCH = 16
RENEWED = 0.04
"""Share of patches that are others in the next frame: VP8 then needs all that 720p may have."""
DRIFT = 4


def busy_camera(path: Path) -> str:
    """Writes such a film there; the flag with which Chromium plays it."""
    chance = random.Random(0)
    columns, rows = WIDTH // PATCH + DRIFT * FRAMES // PATCH + 1, HEIGHT // PATCH
    patches = [[chance.randrange(48, 208) for _ in range(columns)] for _ in range(rows)]
    chroma = bytes([128]) * (WIDTH * HEIGHT // 2)
    with path.open("wb") as film:
        film.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FRAMES_PER_S}:1 Ip A1:1 C420\n".encode())
        for number in range(FRAMES):
            for _ in range(int(columns * rows * RENEWED)):
                patches[chance.randrange(rows)][chance.randrange(columns)] = chance.randrange(256)
            film.write(b"FRAME\n")
            drift = number * DRIFT
            for row in patches:
                line = b"".join(bytes([value]) * PATCH for value in row)[drift : drift + WIDTH]
                film.write(line * PATCH)
            film.write(chroma)
    return f"--use-file-for-fake-video-capture={path}"
