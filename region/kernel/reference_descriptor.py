"""The oracle's reading of dependency descriptors: AV1 RTP specification, appendix A.8."""

from dataclasses import dataclass
from enum import IntEnum

from relay.errors import MalformedError

MANDATORY_BYTES = 3
MAX_SPATIAL = 3
MAX_TEMPORAL = 7


class Indication(IntEnum):
    """Table A.1: what a frame is to a decode target."""

    NOT_PRESENT = 0
    DISCARDABLE = 1
    SWITCH = 2
    REQUIRED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a template, or the descriptor itself, tells of a frame."""

    spatial: int
    temporal: int
    indications: tuple[Indication, ...]
    """For each decode target."""
    references: tuple[int, ...]
    """How far back the frames are that it needs."""
    chains: tuple[int, ...]
    """How far back the frame before it in each chain is; 0 where the chain begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A coded video sequence's templates, and which chain protects which decode target."""

    offset: int
    templates: tuple[Frame, ...]
    protected_by: tuple[int, ...]
    """Empty where there are no chains."""

    @property
    def targets(self) -> tuple[tuple[int, int], ...]:
        """The spatial and the temporal layer of each decode target (`decode_target_layers`)."""
        count = len(self.templates[0].indications)
        return tuple(
            (
                max((each.spatial for each in self._of(target)), default=0),
                max((each.temporal for each in self._of(target)), default=0),
            )
            for target in range(count)
        )

    @property
    def spatial_layers(self) -> int:
        """How many there are."""
        return 1 + max(each.spatial for each in self.templates)

    def _of(self, target: int) -> list[Frame]:
        return [each for each in self.templates if each.indications[target]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """One packet's descriptor."""

    begins: bool
    ends: bool
    number: int
    """Of the frame, 16 bits."""
    attached: Structure | None
    """A new structure, which it brings."""
    active: int | None
    """The decode targets that are sent from here on, a bit each; None for as before."""
    frame: Frame


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """f(n)."""
        self._left -= count
        if self._left < 0:
            raise MalformedError("dependency descriptor")
        return self._value >> self._left & (1 << count) - 1

    def below(self, limit: int) -> int:
        """ns(n)."""
        width = limit.bit_length()
        short = (1 << width) - limit
        value = self.take(width - 1)
        return value if value < short else (value << 1) - short + self.take(1)


def with_number(data: bytes, number: int) -> bytes:
    """The descriptor of another frame number."""
    return data[:1] + (number & 0xFFFF).to_bytes(2) + data[3:]


def parse_untrusted(data: bytes, structure: Structure | None) -> Descriptor:
    """The descriptor in `data`, behind this structure; MalformedError.

    It is malformed too when it has no structure and there is none, or its template is not there.
    """
    bits = _Bits(data)
    begins, ends, template_id, number = bits.take(1), bits.take(1), bits.take(6), bits.take(16)
    attached = None
    active = None
    own_indications = own_references = own_chains = 0
    if len(data) > MANDATORY_BYTES:
        has_structure, has_active = bits.take(1), bits.take(1)
        own_indications, own_references, own_chains = bits.take(1), bits.take(1), bits.take(1)
        if has_structure:
            attached = structure = _structure(bits)
            active = (1 << len(structure.targets)) - 1
        if structure is None:
            raise MalformedError("no dependency structure")
        if has_active:
            active = bits.take(len(structure.targets))
    if structure is None:
        raise MalformedError("no dependency structure")
    index = (template_id - structure.offset) % 64
    if index >= len(structure.templates):
        raise MalformedError("no such template")
    template = structure.templates[index]
    indications, references, chains = template.indications, template.references, template.chains
    if own_indications:
        indications = tuple(Indication(bits.take(2)) for _ in template.indications)
    if own_references:
        references = ()
        while size := bits.take(2):
            references += (bits.take(4 * size) + 1,)
    if own_chains:
        chains = tuple(bits.take(8) for _ in template.chains)
    return Descriptor(
        begins=bool(begins),
        ends=bool(ends),
        number=number,
        attached=attached,
        active=active,
        frame=Frame(
            spatial=template.spatial,
            temporal=template.temporal,
            indications=indications,
            references=references,
            chains=chains,
        ),
    )


def _structure(bits: _Bits) -> Structure:
    offset, targets = bits.take(6), bits.take(5) + 1
    layers = [(0, 0)]
    while (step := bits.take(2)) != 3:
        spatial, temporal = layers[-1]
        layers.append(
            {0: (spatial, temporal), 1: (spatial, temporal + 1), 2: (spatial + 1, 0)}[step]
        )
        if len(layers) > 64 or layers[-1][0] > MAX_SPATIAL or layers[-1][1] > MAX_TEMPORAL:
            raise MalformedError("templates")
    indications = [tuple(Indication(bits.take(2)) for _ in range(targets)) for _ in layers]
    references = []
    for _ in layers:
        each: tuple[int, ...] = ()
        while bits.take(1):
            each += (bits.take(4) + 1,)
        references.append(each)
    chain_count = bits.below(targets + 1)
    protected_by: tuple[int, ...] = ()
    chains: list[tuple[int, ...]] = [()] * len(layers)
    if chain_count:
        protected_by = tuple(bits.below(chain_count) for _ in range(targets))
        chains = [tuple(bits.take(4) for _ in range(chain_count)) for _ in layers]
    if bits.take(1):  # resolutions
        for _ in range(layers[-1][0] + 1):
            bits.take(32)
    return Structure(
        offset=offset,
        templates=tuple(
            Frame(
                spatial=spatial,
                temporal=temporal,
                indications=indications[at],
                references=references[at],
                chains=chains[at],
            )
            for at, (spatial, temporal) in enumerate(layers)
        ),
        protected_by=protected_by,
    )
