"""A whole mesh, started as an operator starts it: by the installed `octomesh up`."""

import os
import random
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from octomesh_up import UpSettings, mesh_gap, wanted_ports
from relay.errors import SettingsError
from relay.ids import Region
from relay.ports import check_free
from tests.network.namespaces import Host
from tests.patience import patient_s
from web.certificate import CERTIFICATE_FILE

T = TypeVar("T")

SAO_PAULO, FRANKFURT, SINGAPORE = REGIONS = (
    Region("sao-paulo"),
    Region("frankfurt"),
    Region("singapore"),
)
PROGRAM = Path(sys.executable).with_name("octomesh")
START_S = 60.0
STOP_S = 15.0
ANSWERS_S = 5.0
POLL_S = 0.1


def eventually(look: Callable[[], T], holds: Callable[[T], object] = bool, *, within_s: float) -> T:
    """Looks again and again until what it sees holds, and gives that; fails when patience ends."""
    within_s = patient_s(within_s)
    deadline_s = time.monotonic() + within_s
    while True:
        seen = look()
        if holds(seen):
            return seen
        assert time.monotonic() < deadline_s, f"not within {within_s:.1f} s; last seen: {seen!r}"
        time.sleep(POLL_S)


class Mesh:
    """A running `octomesh up`, here or on a host; whoever starts it stops it."""

    def __init__(
        self,
        directory: Path,
        *,
        regions: tuple[Region, ...] = REGIONS,
        options: Sequence[str] = (),
        secrets: Mapping[str, str] | None = None,
        host: Host | None = None,
    ) -> None:
        """`options` are more flags of `up`; `secrets` go into its environment."""
        self.host = host
        with self._there():
            self.settings = _settings_on_free_ports(directory, regions)
        self._said = directory / "up.log"
        command: list[str | Path] = [
            PROGRAM,
            # Should the tests be killed, the mesh goes with them.
            f"--parent-pid={os.getpid()}",
            "up",
            f"--https-port={self.settings.https_port}",
            f"--http-port={self.settings.http_port}",
            f"--ops-port={self.settings.ops_port}",
            f"--media-port={self.settings.media_port}",
            f"--state-dir={self.settings.state_dir}",
            f"--regions={','.join(regions)}",
            *options,
        ]
        with self._said.open("wb") as output:
            self._process = psutil.Popen(
                command if host is None else host.command(*command),
                env={**os.environ, **(secrets or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._client: httpx.Client | None = None

    def until_ready(self) -> None:
        eventually(
            lambda: (self._process.poll(), self._said.read_text()),
            lambda seen: seen[0] is not None or "Ctrl-C stops it" in seen[1],
            within_s=START_S,
        )
        assert self._process.poll() is None, self._said.read_text()
        tls = ssl.create_default_context(cafile=str(self.certificate))
        self._client = httpx.Client(verify=tls, trust_env=False, timeout=patient_s(ANSWERS_S))

    def stop(self) -> None:
        """Ends all of it; it must go when it is told to, and leave nothing behind."""
        if self._client is not None:
            self._client.close()
        family = [self._process, *self._process.children(recursive=True)]
        self._process.terminate()
        _, alive = psutil.wait_procs(family, timeout=patient_s(STOP_S))
        for process in alive:
            process.kill()
        assert not alive, self._said.read_text()
        with self._there():
            check_free(wanted_ports(self.settings))

    @property
    def url(self) -> str:
        """Where browsers find it, on whatever host they are."""
        name = "localhost" if self.host is None else self.host.address
        return f"https://{name}:{self.settings.https_port}"

    @property
    def certificate(self) -> Path:
        return self.settings.state_dir / CERTIFICATE_FILE

    def get(self, url: str) -> httpx.Response:
        """An address as it is where the mesh runs."""
        assert self._client is not None
        with self._there():
            return self._client.get(url).raise_for_status()

    def state(self) -> dict[str, Any]:
        """What `/api/mesh` says."""
        state: dict[str, Any] = self.get(f"{self.settings.url}/api/mesh").json()
        return state

    def gap(self) -> str | None:
        try:
            return mesh_gap(self.state(), self.settings.regions)
        except httpx.HTTPError as error:
            return str(error) or "the focus is away"

    def until_whole(self) -> None:
        eventually(self.gap, lambda gap: gap is None, within_s=30)

    def links(self, figure: str) -> dict[tuple[str, str], Any]:
        """That figure of each trunk end, by its region and its peer's."""
        state = self.state()
        regions = {bridge["bridge"]: bridge["region"] for bridge in state["bridges"]}
        return {
            (regions[link["from"]], regions[link["to"]]): link[figure] for link in state["links"]
        }

    def metrics(self, region: str) -> dict[str, float]:
        """Those without labels of that region's bridge, all of one moment."""
        port = self.settings.media_port + 10 * self.settings.regions.index(Region(region)) + 2
        text = self.get(f"http://127.0.0.1:{port}/metrics").text
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.labels
        }

    def kill(self, process: str) -> float:
        """SIGKILL to `focus` or to a region's bridge; when that was."""
        victim = self._child(process)
        killed_at_s = time.monotonic()
        victim.kill()
        return killed_at_s

    @contextmanager
    def frozen(self, process: str) -> Iterator[None]:
        """`focus` or a region's bridge does nothing meanwhile; after some time `up` ends it."""
        victim = self._child(process)
        victim.suspend()
        try:
            yield
        finally:
            with suppress(psutil.NoSuchProcess):
                victim.resume()

    def _there(self) -> AbstractContextManager[None]:
        return nullcontext() if self.host is None else self.host.entered()

    def _child(self, process: str) -> psutil.Process:
        word = "focus" if process == "focus" else f"--region={process}"
        (child,) = (each for each in self._process.children() if word in each.cmdline())
        return child


@contextmanager
def running(directory: Path, **options: Any) -> Iterator[Mesh]:
    """A mesh that is whole; `options` are those of `Mesh`."""
    mesh = Mesh(directory, **options)
    try:
        mesh.until_ready()
        yield mesh
    finally:
        mesh.stop()


def _settings_on_free_ports(directory: Path, regions: tuple[Region, ...]) -> UpSettings:
    while True:
        first = random.randrange(20_000, 30_000, 50)
        settings = UpSettings(
            https_port=first,
            http_port=first + 1,
            ops_port=first + 2,
            media_port=first + 10,
            regions=regions,
            state_dir=directory / "state",
        )
        try:
            check_free(wanted_ports(settings))
        except SettingsError:
            continue
        return settings
