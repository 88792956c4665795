"""The command line: `octomesh up | focus | region | matrix | load | plan | token`.

The only file that knows all rooms, and it imports each where a command needs it, so that
`octomesh --help` is quick. Settings come from flags, then the environment
(`OCTOMESH_<COMMAND>_<OPTION>`), then the TOML file of `--config`, then defaults.
"""

import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec, module_from_spec
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import octomesh_options as shared
from relay.errors import SettingsError

if TYPE_CHECKING:
    from relay.ids import Region


def main() -> None:
    """Run the command line; what the operator got wrong is one line and exit code 1."""
    refusal: SettingsError | None = None
    try:
        cli(prog_name="octomesh", auto_envvar_prefix="OCTOMESH")
    except* SettingsError as group:
        refusal = _first(group)  # Python 3.11 would put an exit raised here into a group.
    if refusal is not None:
        click.echo(f"octomesh: {refusal}", err=True)
        sys.exit(1)


def _first(group: BaseExceptionGroup[SettingsError]) -> SettingsError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config", type=shared.FILE, help="TOML file with tables like [up], [focus], [region]."
)
@click.option("--parent-pid", type=int, hidden=True)
@click.version_option(package_name="octomesh", message="octomesh %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, parent_pid: int | None) -> None:
    """Video meetings for offices on several continents.

    Options are also read from the environment (OCTOMESH_UP_HTTPS_PORT and so on), then from
    the file of --config.
    """
    if parent_pid is not None:
        from relay.child import die_with_parent

        die_with_parent(parent_pid)
    if config is not None:
        ctx.default_map = _read_config(config)


def _read_config(path: Path) -> dict[str, dict[str, object]]:
    from relay.settings_file import Kind, parse_settings

    def kind(param: click.Parameter) -> Kind:
        if isinstance(param.type, shared.Workers):
            return Kind.COUNT
        if param.multiple:
            return Kind.TEXTS
        if isinstance(param, click.Option) and param.is_flag:
            return Kind.SWITCH
        if isinstance(param.type, click.FloatRange):
            return Kind.SHARE
        return Kind.NUMBER if isinstance(param.type, click.IntRange) else Kind.TEXT

    tables = {
        name: {param.name: kind(param) for param in command.params if param.name}
        for name, command in cli.commands.items()
    }
    try:
        return parse_settings(path.read_text(encoding="utf-8"), tables)
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None


# One process of a mesh.


@cli.command()
@shared.state_dir
@shared.listen_host
@shared.https_port
@click.option(
    "--http-host",
    default="localhost",
    show_default=True,
    help="Address of plain HTTP; localhost is 127.0.0.1 and ::1.",
)
@shared.port("--http-port", 8080, "TCP port of plain HTTP, for a reverse proxy on this host.")
@click.option(
    "--certificate",
    type=shared.FILE,
    help="Certificate chain of HTTPS, PEM; default: a self-signed one is made.",
)
@click.option("--certificate-key", type=shared.FILE, help="The private key of --certificate, PEM.")
@click.option(
    "--mesh-names",
    type=click.Choice(["key", "open"]),
    default="key",
    show_default=True,
    help="Who sees names on the mesh page: who shows the operator key, or everybody.",
)
@shared.of_meetings
@shared.ops_host
@shared.port("--ops-port", 9999, "TCP port of /healthz and /metrics.")
def focus(mesh_names: str, turn_secret_file: Path | None, turn_ttl: float, **options: Any) -> None:
    """Run the focus and the web server in this process."""
    from relay.logs import configure_logs
    from web.server import run
    from web.settings import MeshNames, WebSettings

    settings = WebSettings(
        mesh_names=MeshNames(mesh_names),
        turn_secret=shared.secret_of(
            "OCTOMESH_FOCUS_TURN_SECRET", "--turn-secret-file", turn_secret_file
        ),
        turn_ttl_s=int(turn_ttl),
        **options,
    )
    configure_logs(process="focus")
    _serve(run, settings)


@cli.command()
@click.option(
    "--region", required=True, callback=shared.as_region, help="Where this bridge stands."
)
@click.option("--focus-url", required=True, help="Like https://meet.example.org.")
@click.option("--focus-ca", type=shared.FILE, help="Certificate that vouches for the focus.")
@click.option(
    "--token-file",
    type=shared.FILE,
    help="File with the one-time enrolment token; or the environment's OCTOMESH_REGION_TOKEN.",
)
@shared.state_dir
@shared.listen_host
@shared.port("--media-port", 10_000, "Port of media; worker i adds i to it, and to the others.")
@click.option(
    "--relay-port",
    type=shared.PORT,
    help="TCP port of the links between bridges; default: 10001, of several workers 11000.",
)
@shared.ops_host
@click.option(
    "--ops-port",
    type=shared.PORT,
    help="TCP port of /healthz and /metrics; default: 10002, of several workers 12000.",
)
@click.option(
    "--workers",
    type=shared.Workers(),
    default=1,
    show_default=True,
    metavar="NUMBER|auto",
    help="Run so many bridges, each a process with its own ports and a directory in --state-dir; "
    "auto is one for each core.",
)
@click.option(
    "--advertise",
    multiple=True,
    metavar="ADDRESS[:PORT]",
    help="Address by which NAT leads to this bridge, and the port that it maps to --media-port "
    "if that is another; may be repeated.",
)
@click.option(
    "--advertise-interfaces/--no-advertise-interfaces",
    default=True,
    help="Advertise the addresses of this host's interfaces, too; the default.",
)
@click.option(
    "--allow-loopback/--no-allow-loopback",
    default=False,
    help="Advertise loopback addresses too: for trials on one machine.",
)
def region(
    token_file: Path | None,
    workers: int,
    relay_port: int | None,
    ops_port: int | None,
    **options: Any,
) -> None:
    """Run one regional bridge, or several on one host."""
    several = workers != 1
    with _sparing_memory():
        from region.settings import RegionSettings
        from relay.logs import configure_logs

        if several:
            import octomesh_workers
        else:
            from region.bridge import run
    settings = RegionSettings(
        token=shared.secret_of("OCTOMESH_REGION_TOKEN", "--token-file", token_file),
        relay_port=relay_port or (11_000 if several else 10_001),
        ops_port=ops_port or (12_000 if several else 10_002),
        **options,
    )
    if several:
        count = octomesh_workers.usable_cores() if workers == shared.Workers.AUTO else workers
        workers_settings = octomesh_workers.WorkersSettings(count=count, region=settings)
        configure_logs(process="workers", region=settings.region)
        _serve(octomesh_workers.run, workers_settings)
    else:
        configure_logs(process="bridge", region=settings.region)
        _serve(run, settings)


def _serve(run: Callable[..., Awaitable[None]], settings: object) -> None:
    """Run a service until SIGINT or SIGTERM, which stop it cleanly."""
    import trio

    async def cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for _ in signals:
            scope.cancel()

    async def serve() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_on_signal, signals, nursery.cancel_scope)
                await nursery.start(run, settings)

    trio.run(serve)


# A whole mesh on this machine.


@cli.command()
@shared.https_port
@shared.http_port
@shared.port(
    "--media-port", 10_000, "Media port of the first bridge; each has ten ports from its first."
)
@click.option(
    "--ops-port",
    type=shared.PORT,
    help="TCP port of the focus's /healthz; default: --media-port - 1.",
)
@click.option(
    "--regions",
    default="sao-paulo,frankfurt,singapore",
    show_default=True,
    callback=shared.as_regions,
    help="One bridge for each.",
)
@shared.of_meetings
@shared.state_dir
def up(state_dir: Path, turn_secret_file: Path | None, turn_ttl: float, **options: Any) -> None:
    """Run a whole mesh on this machine until Ctrl-C.

    That is the focus, and a bridge for each region.
    """
    from octomesh_up import UpSettings, run

    settings = UpSettings(
        state_dir=state_dir.absolute(),
        turn_secret=shared.secret_of(
            "OCTOMESH_UP_TURN_SECRET", "--turn-secret-file", turn_secret_file
        ),
        turn_ttl_s=int(turn_ttl),
        **options,
    )
    _serve(run, settings)


@contextmanager
def _sparing_memory() -> Iterator[None]:
    """Import without what libraries load where they find it, and a bridge has no use for.

    structlog and httpx load rich for tracebacks and a command line, structlog greenlet too, and
    aioice a DNS library for names that browsers give candidates: 8 MB of a bridge's 80.
    """
    # Documented: an import of what is None here raises ModuleNotFoundError.
    hidden = [name for name in ("rich", "pygments", "greenlet") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    if "aioice" not in sys.modules and (found := find_spec("aioice")) is not None:
        # Its modules for STUN and candidates stand alone: the package without what it imports.
        found.loader = None
        sys.modules["aioice"] = module_from_spec(found)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


# What an operator asks of a running mesh.

_CA_HELP = "Certificate that vouches for the focus; default: that of .octomesh, if it is there."


def _tls(ca: Path | None) -> ssl.SSLContext:
    """What is believed of a focus: the system's authorities, and the given or local certificate."""
    from web.certificate import CERTIFICATE_FILE

    tls = ssl.create_default_context()
    local = Path(shared.DEFAULT_STATE_DIR) / CERTIFICATE_FILE
    if ca is not None or local.is_file():
        try:
            tls.load_verify_locations(ca or local)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"--ca {ca or local}: {error}") from None
    return tls


@cli.command()
@click.option(
    "--url", default="https://localhost:8443", show_default=True, help="Where the focus answers."
)
@click.option("--watch", is_flag=True, help="Print it again each second until Ctrl-C.")
@click.option("--json", is_flag=True, help="Print JSON, one line each time.")
@click.option("--ca", type=shared.FILE, help=_CA_HELP)
def matrix(url: str, watch: bool, json: bool, ca: Path | None) -> None:
    """Print the round trip times between all bridges.

    In ms, as measured on the media path.
    """
    from rich.console import Console
    from rich.live import Live

    from octomesh_matrix import samples, table

    asked = samples(url, _tls(ca), watch=watch)
    with suppress(KeyboardInterrupt):
        if json:
            for sample in asked:
                click.echo(dumps(sample))
        elif watch:
            with Live() as live:
                for sample in asked:
                    live.update(table(sample), refresh=True)
        else:
            for sample in asked:
                Console().print(table(sample))


@cli.command()
@click.option(
    "--url", default="https://localhost:8443", show_default=True, help="Where the focus answers."
)
@click.option("--room", required=True, help="The meeting that they join.")
@click.option(
    "--people", type=click.IntRange(2, 500), required=True, help="How many; a room holds 500."
)
@click.option(
    "--profile",
    type=click.Choice(["meeting", "webinar", "audio"]),
    default="meeting",
    show_default=True,
    help="All are seen, two are, or nobody is.",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 86_400),
    default=30,
    show_default=True,
    help="How long it is measured, once all are there.",
)
@click.option(
    "--joins-per-s",
    type=click.FloatRange(0.1, 1_000),
    default=10.0,
    show_default=True,
    help="How fast they come.",
)
@click.option("--region", callback=shared.as_optional_region, help="Where all of them sit.")
@click.option(
    "--out", type=shared.DIRECTORY, help="Directory for summary.json, capacity.json and plots."
)
@click.option("--ca", type=shared.FILE, help=_CA_HELP)
def load(url: str, profile: str, ca: Path | None, **options: Any) -> None:
    """Put people into a meeting, and measure what they get.

    They are real to the bridges: ICE, DTLS, SRTP and feedback, with made-up sound and pictures.
    """
    from benchmarks.load.command import LoadSettings, run
    from benchmarks.load.profiles import ProfileName

    run(LoadSettings(url=url, profile=ProfileName(profile), tls=_tls(ca), **options))


# What a mesh is to be like.


@cli.command()
@click.argument("offices", type=shared.FILE, metavar="OFFICES.csv")
@click.option(
    "--capacity",
    type=shared.FILE,
    help="What a bridge was measured to carry: capacity.json of octomesh load --out or make bench. "
    "Without it there are no bridges and cores in the plan.",
)
@click.option("--json", is_flag=True, help="Print JSON, with more figures.")
@shared.share("--headroom", 0.3, "Of each bridge's core so much stays free.", max_open=True)
@click.option(
    "--spare",
    type=click.Choice(["none", "bridge", "host"]),
    default="none",
    show_default=True,
    help="What each region may lose without the rest being too little (N+1).",
)
@click.option(
    "--host-cores",
    type=click.IntRange(1, 4_096),
    help="Cores of a host, each for a bridge; default: as many as --capacity's machine has.",
)
@shared.share(
    "--remote-share",
    0.25,
    "Of a meeting's people so many sit in other regions, where the table does not say.",
)
@click.option(
    "--pictures",
    type=click.IntRange(1, 9),
    default=9,
    show_default=True,
    help="So many others anybody sees at most.",
)
@click.option(
    "--voices",
    type=click.IntRange(1, 5),
    default=3,
    show_default=True,
    help="So many speak in a meeting at once.",
)
@shared.share("--tiles", 0.5, "Of the people so many see all alike, the others one large.")
def plan(
    offices: Path,
    capacity: Path | None,
    json: bool,
    headroom: float,
    spare: str,
    host_cores: int | None,
    **habits: Any,
) -> None:
    """Plan bridges, cores and bandwidth for a table of offices.

    Its columns are region, people, meetings at peak, size and, if you like, remote share.
    """
    from rich.console import Console

    from benchmarks.plan import Spare, Terms
    from benchmarks.traffic import Habits
    from octomesh_plan import as_json, read_plan, show

    terms = Terms(headroom=headroom, spare=Spare(spare), host_cores=host_cores)
    made = read_plan(offices, capacity, Habits(**habits), terms)
    if json:
        click.echo(dumps(as_json(made), indent=2))
    else:
        show(made, Console(highlight=False))


@cli.command()
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=shared.DEFAULT_STATE_DIR,
    show_default=True,
    help="The focus's.",
)
@click.option(
    "--region", required=True, callback=shared.as_region, help="Where the new bridge stands."
)
@click.option(
    "--ttl", type=shared.Duration(), default="1h", show_default=True, help="How long it holds."
)
@click.option(
    "--bridges",
    type=click.IntRange(1, shared.MAX_WORKERS),
    default=1,
    show_default=True,
    help="How many bridges it is for, such as the workers of one host.",
)
def token(state_dir: Path, region: "Region", ttl: float, bridges: int) -> None:
    """Print a one-time token with which a new bridge enrols."""
    from focus.tokens import mint_token

    click.echo(mint_token(state_dir, region, ttl, bridges=bridges))


if __name__ == "__main__":
    main()
