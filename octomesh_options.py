"""Options that several commands of the command line share, and what an option's text means.

It imports rooms where an option needs one, as `octomesh.py` does.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relay.errors import SettingsError

if TYPE_CHECKING:
    from relay.ids import Region, VideoCodec

DEFAULT_STATE_DIR = ".octomesh"
MAX_WORKERS = 1_000


class Duration(click.ParamType[float]):
    """Seconds, written like 90s, 10m, 1h or 2d."""

    name = "duration"
    _UNITS_S: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See `click.ParamType`."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is not like 90s, 10m, 1h or 2d", param, ctx)
        return float(int(match[1]) * self._UNITS_S[match[2]])


class Workers(click.ParamType[int]):
    """A number of processes; AUTO for one a core."""

    name = "number"
    AUTO = 0

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType`."""
        if value == "auto":
            return self.AUTO
        if re.fullmatch(r"[1-9][0-9]{0,3}", str(value)) is None or int(value) > MAX_WORKERS:
            self.fail(f"{value!r} is neither auto nor from 1 to {MAX_WORKERS}", param, ctx)
        return int(value)


def as_region(_ctx: click.Context, _param: click.Parameter, value: str) -> "Region":
    """What `--region` names."""
    from relay.ids import region_of

    try:
        return region_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def as_optional_region(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> "Region | None":
    """The same where it may be left out."""
    return None if value is None else as_region(ctx, param, value)


def as_regions(ctx: click.Context, param: click.Parameter, value: str) -> "tuple[Region, ...]":
    """What `--regions` names, with commas between."""
    return tuple(as_region(ctx, param, name.strip()) for name in value.split(","))


def _codecs(_ctx: click.Context, _param: click.Parameter, value: str) -> "tuple[VideoCodec, ...]":
    from focus.codecs import codecs_of

    try:
        return codecs_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _no_limit(_ctx: click.Context, _param: click.Parameter, value: int) -> int | None:
    return value or None


def secret_of(variable: str, flag: str, file: Path | None) -> str | None:
    """A secret from its file or the environment, of which it is taken out: nobody inherits it."""
    secret = os.environ.pop(variable, "").strip()
    if file is not None:
        try:
            secret = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{flag} {file}: {error}") from None
    return secret or None


PORT = click.IntRange(1, 65_535)
DIRECTORY = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, exists=True, path_type=Path)

state_dir = click.option(
    "--state-dir",
    type=DIRECTORY,
    default=DEFAULT_STATE_DIR,
    show_default=True,
    help="Where keys, certificates and logs are kept.",
)


def port(flag: str, default: int, text: str) -> Callable[[Any], Any]:
    """An option for a port."""
    return click.option(flag, type=PORT, default=default, show_default=True, help=text)


def share(flag: str, default: float, text: str, *, max_open: bool = False) -> Callable[[Any], Any]:
    """An option from 0 to 1, or to less than that."""
    kind = click.FloatRange(0.0, 1.0, max_open=max_open)
    return click.option(
        flag, type=kind, default=default, show_default=True, metavar="SHARE", help=text
    )


https_port = port("--https-port", 8443, "TCP port of HTTPS.")
http_port = port("--http-port", 8080, "TCP port of plain HTTP, on this machine alone.")
listen_host = click.option(
    "--listen-host", default="::", show_default=True, help="Address to listen at; :: is all."
)
ops_host = click.option(
    "--ops-host", default="127.0.0.1", show_default=True, help="Address of /healthz and /metrics."
)


_MEETING_OPTIONS = (
    click.option(
        "--codecs",
        default="vp8,h264",
        show_default=True,
        callback=_codecs,
        help="Codecs of pictures, the preferred first, of av1, vp9, vp8, h264. A room takes the "
        "first that all its browsers show, or else vp8.",
    ),
    click.option(
        "--last-n",
        type=click.IntRange(0, 65_535),
        default=25,
        show_default=True,
        callback=_no_limit,
        help="So many cameras anybody gets at most; 0 for no limit.",
    ),
    click.option(
        "--turn-urls",
        multiple=True,
        metavar="URL",
        help="TURN server for browsers, like turn:turn.example.org:3478, may be repeated.",
    ),
    click.option(
        "--turn-secret-file",
        type=FILE,
        help="File with the secret that the TURN servers share (coturn's static-auth-secret); or "
        "the environment's OCTOMESH_FOCUS_TURN_SECRET, for up OCTOMESH_UP_TURN_SECRET.",
    ),
    click.option(
        "--turn-ttl",
        type=Duration(),
        default="1d",
        show_default=True,
        help="How long after a join the TURN servers let that browser in.",
    ),
)


def of_meetings(command: Callable[..., None]) -> Callable[..., None]:
    """What `focus` and `up` have in common but ports: what meetings are like."""
    for option in reversed(_MEETING_OPTIONS):
        command = option(command)
    return command
