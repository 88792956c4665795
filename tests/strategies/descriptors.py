"""Dependency descriptors as bytes (AV1 RTP specification, A.8), with libwebrtc's structures.

A frame takes a template where one fits, or else says itself what differs from it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SYMBOLS = "-DSR"


@dataclass(frozen=True, slots=True)
class Template:
    """What many frames have in common, in libwebrtc's notation."""

    spatial: int
    temporal: int
    indications: str
    chains: tuple[int, ...]
    references: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalability:
    """A mode of W3C's WebRTC-SVC."""

    name: str
    spatial: int
    temporal: int
    templates: tuple[Template, ...]
    inter_layer: bool = False
    """Frames refer to the layer below always, and not only at keyframes."""


L1T3 = Scalability(
    name="L1T3",
    spatial=1,
    temporal=3,
    templates=(
        Template(0, 0, "SSS", (0,)),
        Template(0, 0, "SSS", (4,), (4,)),
        Template(0, 1, "-DS", (2,), (2,)),
        Template(0, 2, "--D", (1,), (1,)),
        Template(0, 2, "--D", (3,), (1,)),
    ),
)
L3T1 = Scalability(
    name="L3T1",
    spatial=3,
    temporal=1,
    inter_layer=True,
    templates=(
        Template(0, 0, "SRR", (3, 2, 1), (3,)),
        Template(0, 0, "SSS", (0, 0, 0)),
        Template(1, 0, "-SR", (1, 1, 1), (3, 1)),
        Template(1, 0, "-SS", (1, 1, 1), (1,)),
        Template(2, 0, "--S", (2, 1, 1), (3, 1)),
        Template(2, 0, "--S", (2, 1, 1), (1,)),
    ),
)
L3T3 = Scalability(
    name="L3T3",
    spatial=3,
    temporal=3,
    inter_layer=True,
    templates=(
        Template(0, 0, "SSSRRRRRR", (12, 11, 10), (12,)),
        Template(0, 0, "SSSSSSSSS", (0, 0, 0)),
        Template(0, 1, "-DS-RR-RR", (6, 5, 4), (6,)),
        Template(0, 2, "--D--R--R", (3, 2, 1), (3,)),
        Template(0, 2, "--D--R--R", (9, 8, 7), (3,)),
        Template(1, 0, "---SSSRRR", (1, 1, 1), (12, 1)),
        Template(1, 0, "---SSSSSS", (1, 1, 1), (1,)),
        Template(1, 1, "----DS-RR", (7, 6, 5), (6, 1)),
        Template(1, 2, "-----D--R", (4, 3, 2), (3, 1)),
        Template(1, 2, "-----D--R", (10, 9, 8), (3, 1)),
        Template(2, 0, "------SSS", (2, 1, 1), (12, 1)),
        Template(2, 0, "------SSS", (2, 1, 1), (1,)),
        Template(2, 1, "-------DS", (8, 7, 6), (6, 1)),
        Template(2, 2, "--------D", (5, 4, 3), (3, 1)),
        Template(2, 2, "--------D", (11, 10, 9), (3, 1)),
    ),
)
L3T3_KEY = Scalability(
    name="L3T3_KEY",
    spatial=3,
    temporal=3,
    templates=(
        Template(0, 0, "SSSSSSSSS", (0, 0, 0)),
        Template(0, 0, "SSS------", (12, 11, 10), (12,)),
        Template(0, 1, "-DS------", (6, 5, 4), (6,)),
        Template(0, 2, "--D------", (3, 2, 1), (3,)),
        Template(0, 2, "--D------", (9, 8, 7), (3,)),
        Template(1, 0, "---SSSSSS", (1, 1, 1), (1,)),
        Template(1, 0, "---SSS---", (1, 12, 11), (12,)),
        Template(1, 1, "----DS---", (7, 6, 5), (6,)),
        Template(1, 2, "-----D---", (4, 3, 2), (3,)),
        Template(1, 2, "-----D---", (10, 9, 8), (3,)),
        Template(2, 0, "------SSS", (2, 1, 1), (1,)),
        Template(2, 0, "------SSS", (2, 1, 12), (12,)),
        Template(2, 1, "-------DS", (8, 7, 6), (6,)),
        Template(2, 2, "--------D", (5, 4, 3), (3,)),
        Template(2, 2, "--------D", (11, 10, 9), (3,)),
    ),
)
MODES = (L1T3, L3T1, L3T3, L3T3_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame; numbers are not cut to 16 bits."""

    number: int
    spatial: int
    temporal: int
    indications: str
    references: tuple[int, ...]
    """The numbers of the frames that it needs."""
    chains: tuple[int, ...]
    """How many frames ago the last one in each chain was."""
    keyframe: bool
    """It brings the structure."""
    active: int | None
    """The decode targets that are sent, a bit each; None where nothing is said of them."""

    def belongs_to(self, target: int) -> bool:
        """Whether that decode target has it."""
        return self.indications[target] != "-"


class _Bits:
    def __init__(self) -> None:
        self._text = ""

    def add(self, value: int, count: int) -> None:
        """f(n)."""
        assert 0 <= value < 1 << count
        self._text += f"{value:0{count}b}" if count else ""

    def add_below(self, value: int, limit: int) -> None:
        """ns(n)."""
        width = limit.bit_length()
        short = (1 << width) - limit
        if value < short:
            self.add(value, width - 1)
        else:
            self.add(value + short, width)

    def bytes(self) -> bytes:
        size = -(-len(self._text) // 8)
        return int(self._text.ljust(8 * size, "0"), 2).to_bytes(size)


def write(
    templates: Sequence[Template], frame: Frame, *, begins: bool, ends: bool, offset: int
) -> bytes:
    """A packet's descriptor; the structure goes with a keyframe's first packet."""
    references = tuple(frame.number - each for each in frame.references)

    def differences(template: Template) -> tuple[bool, bool, bool]:
        return (
            template.indications != frame.indications,
            template.references != references,
            template.chains != frame.chains,
        )

    fitting = [
        index
        for index, each in enumerate(templates)
        if (each.spatial, each.temporal) == (frame.spatial, frame.temporal)
    ]
    index = min(fitting, key=lambda each: sum(differences(templates[each])))
    own_indications, own_references, own_chains = differences(templates[index])
    attached = frame.keyframe and begins
    bits = _Bits()
    bits.add(begins, 1)
    bits.add(ends, 1)
    bits.add((index + offset) % 64, 6)
    bits.add(frame.number % 65_536, 16)
    flags = (attached, frame.active is not None, own_indications, own_references, own_chains)
    if any(flags):
        for flag in flags:
            bits.add(flag, 1)
        if attached:
            _add_structure(bits, templates, offset)
        if frame.active is not None:
            bits.add(frame.active, len(frame.indications))
        if own_indications:
            _add_indications(bits, frame.indications)
        if own_references:
            for back in references:
                size = next(size for size in (1, 2, 3) if back <= 1 << 4 * size)
                bits.add(size, 2)
                bits.add(back - 1, 4 * size)
            bits.add(0, 2)
        if own_chains:
            for back in frame.chains:
                bits.add(back, 8)
    return bits.bytes()


def _add_indications(bits: _Bits, indications: Iterable[str]) -> None:
    for each in indications:
        bits.add(_SYMBOLS.index(each), 2)


def _add_structure(bits: _Bits, templates: Sequence[Template], offset: int) -> None:
    targets, chains = len(templates[0].indications), len(templates[0].chains)
    bits.add(offset, 6)
    bits.add(targets - 1, 5)
    for before, after in pairwise(templates):
        bits.add(2 if after.spatial > before.spatial else after.temporal - before.temporal, 2)
    bits.add(3, 2)
    for template in templates:
        _add_indications(bits, template.indications)
    for template in templates:
        for back in template.references:
            bits.add(1, 1)
            bits.add(back - 1, 4)
        bits.add(0, 1)
    bits.add_below(chains, targets + 1)
    for target in range(targets):
        bits.add_below(target * chains // targets, chains)
    for template in templates:
        for back in template.chains:
            bits.add(back, 4)
    bits.add(0, 1)  # no resolutions
