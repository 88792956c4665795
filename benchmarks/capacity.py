"""What a bridge was measured to carry: `capacity.json`, which the load generator and `make bench`
write and `octomesh plan` reads.

    {
      "format": "octomesh-capacity",
      "version": 1,
      "measured_at": "2025-06-01T09:30:00Z",
      "profile": "meeting",
      "machine": {"processor": "…", "cores": 2, "memory_bytes": 8123456789, "system": "Linux 6.1"},
      "packets_out_per_core_s": 250000.0,
      "control_core_per_person": 0.0015,
      "received": {"180p": {"packets_s": 30.0, "bps": 167000.0}, "voice": {…}, …},
      "sent": {"180p": {"packets_s": 30.0, "bps": 167000.0}, "voice": {…}, …}
    }

Every key has to be there and no other may be, but `received` and `sent` have only the streams
that were measured. What each of them means stands at `Capacity`.
"""

import os
import platform
from collections.abc import Mapping
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from benchmarks.rates import Rate, Stream
from relay.errors import SettingsError

CAPACITY_FILE = "capacity.json"
"""What it is called in the directory of a run's results."""
FORMAT: Literal["octomesh-capacity"] = "octomesh-capacity"
VERSION: Literal[1] = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _positive(rate: Rate) -> Rate:
    if not (rate.packets_s > 0 and rate.bps > 0):
        raise ValueError("a stream that was measured has more than 0 packets and bits per second")
    return rate


class Machine(_Part):
    """What it was measured on."""

    processor: Annotated[str, Field(min_length=1, max_length=200)]
    """As Linux calls it."""
    cores: Annotated[int, Field(ge=1)]
    """That processes there may use."""
    memory_bytes: Annotated[int, Field(ge=1)]
    system: Annotated[str, Field(min_length=1, max_length=200)]
    """The kernel's name and release."""

    @classmethod
    def here(cls) -> Self:
        """This machine."""
        return cls(
            processor=_processor(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
            cores=len(os.sched_getaffinity(0)),
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            system=f"{platform.system()} {platform.release()}",
        )


def _processor(cpuinfo: str) -> str:
    """Processors that say no name of theirs, as ARM's, are called by their architecture."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.machine()


class Capacity(_Part):
    """What one bridge process carries on one core of a machine, under one profile of the load."""

    format: Literal["octomesh-capacity"] = FORMAT
    version: Literal[1] = VERSION
    measured_at: AwareDatetime
    profile: Annotated[str, Field(min_length=1, max_length=80)]
    """The load generator's: meeting, webinar, audio."""
    machine: Machine
    packets_out_per_core_s: Annotated[float, Field(gt=0)]
    """Media packets that left the bridge in a second, to receivers and trunks, for each core that
    it kept busy with moving packets, at the highest load without loss: packets out ÷ CPU of
    the packet pump. What comes in for that is paid within."""
    control_core_per_person: Annotated[float, Field(ge=0, lt=1)]
    """Share of a core that all else takes, for each participant of the bridge: CPU of all
    threads but the pump's ÷ participants."""
    received: Mapping[Stream, Annotated[Rate, AfterValidator(_positive)]]
    """What one stream to a receiver carries, retransmissions as they come; a voice while it
    speaks."""
    sent: Mapping[Stream, Annotated[Rate, AfterValidator(_positive)]]
    """What one stream of a sender carries: an encoding of a camera, a voice while it speaks."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """What stands in a file; SettingsError, one line that names it, when it is none."""
        try:
            text = path.read_text(encoding="utf-8")
            document = loads(text)
            _check_kind(document)
            return cls.model_validate_json(text)
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise SettingsError(f"{path}, byte {error.start + 1}: not UTF-8") from None
        except JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise SettingsError(f"{path}, {where}: not JSON: {error.msg}") from None
        except RecursionError:
            raise SettingsError(f"{path}: not a capacity: it is nested too deeply") from None
        except ValidationError as error:
            raise SettingsError(f"{path}, {_first(error)}") from None
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from None

    def write(self, path: Path) -> None:
        """Put it into a file, which `read` reads."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _check_kind(document: object) -> None:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise SettingsError(f'not a capacity: it has no "format": "{FORMAT}"')
    if (version := document.get("version")) != VERSION:
        raise SettingsError(f"its version is {version!r}; this octomesh reads version {VERSION}")


def _first(error: ValidationError) -> str:
    """Where something is wrong, and what: `machine.cores: Input should be …`."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"
