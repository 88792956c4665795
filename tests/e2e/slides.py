"""A page to share, and whether a picture of it is sharp: stripes that are two pixels wide."""

from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page

TITLE = "Slides"
WINDOW = {"width": 1_600, "height": 900}
"""Of whoever shares: a tab's picture is no larger than its window."""
COLOURS = ("#d02020", "#20a020", "#2020d0")
STRIPE_PX = 2
CONTRAST = 160
"""Between neighbouring stripes, of 255; half the size leaves no stripes at all."""
COLOUR_TOLERANCE = 60

_PAGE = f"""
<title>{TITLE}</title>
<style>
  body {{ margin: 0; display: grid; grid-template-columns: repeat(4, 25vw); height: 100vh }}
  #stripes {{
    background: repeating-linear-gradient(90deg, #000 0 {STRIPE_PX}px, #fff 0 {2 * STRIPE_PX}px)
  }}
</style>
<div id="stripes"></div>
{"".join(f'<div style="background: {colour}"></div>' for colour in COLOURS)}
"""

# The median step across a stripe's edge, and the colour in the middle of each other column.
_LOOK = """video => {
  const canvas = document.createElement("canvas");
  const [width, height] = [video.videoWidth, video.videoHeight];
  if (width === 0) return {width, height, contrast: 0, colours: []};
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const row = context.getImageData(0, Math.floor(height / 2), width, 1).data;
  const steps = [];
  for (let x = 40; x < width / 4 - 40; x += 1) {
    steps.push(Math.abs(row[4 * x] - row[4 * (x + STRIPE)]));
  }
  steps.sort((a, b) => a - b);
  const colours = [3, 5, 7].map(eighth => {
    const at = 4 * Math.floor(width * eighth / 8);
    return [row[at], row[at + 1], row[at + 2]];
  });
  return {width, height, contrast: steps[Math.floor(steps.length / 2)], colours};
}""".replace("STRIPE", str(STRIPE_PX))


def open_slides(context: BrowserContext) -> Page:
    """The tab to share, still for ever."""
    page = context.new_page()
    page.set_content(_PAGE)
    return page


def look(video: Locator) -> dict[str, Any]:
    """What that video shows now: its size, the stripes' contrast, the three colours."""
    seen: dict[str, Any] = video.evaluate(_LOOK)
    return seen


def is_sharp(seen: dict[str, Any]) -> bool:
    """Whether it is the slides, in their full size, with every stripe."""
    wanted = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in COLOURS]
    return (
        (seen["width"], seen["height"]) == (WINDOW["width"], WINDOW["height"])
        and seen["contrast"] >= CONTRAST
        and all(
            abs(got - want) < COLOUR_TOLERANCE
            for colour, want_colour in zip(seen["colours"], wanted, strict=True)
            for got, want in zip(colour, want_colour, strict=True)
        )
    )
