"""One mesh and one browser for all end-to-end tests; both end with them.

And another mesh on a host of a small internet, for what a test's own network cannot show.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Playwright, expect, sync_playwright

from tests.e2e.guest import Guest, closed, open_guest
from tests.e2e.mesh import FRANKFURT, Mesh, running
from tests.network.coturn import Coturn, coturn_running
from tests.network.namespaces import Host, Internet, NotAllowedError, internet
from tests.patience import patient_ms

FLAGS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--no-first-run",
]
AGREES = "--use-fake-ui-for-media-stream"
"""To whatever a page asks for; a screen is then a fake one, too, and it never stands still."""
SHARES = "--auto-select-tab-capture-source-by-title"
SHOWN_WITHIN_S = 5.0
"""What a test expects to see on a page without saying when."""
HERE = ["--allow-loopback-in-peer-connection"]
"""Where the mesh is on the same machine."""


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running(tmp_path_factory.mktemp("mesh")) as mesh:
        yield mesh


@pytest.fixture(scope="module", autouse=True)
def _whole(mesh: Mesh) -> None:
    mesh.until_whole()


def find_chromium() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.fail(
            "no chromium: a meeting cannot be tested without a browser; apt-get install chromium",
            pytrace=False,
        )
    return found


# Not for the session: Playwright's event loop would look as if it ran under every later test.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


class Launch(Protocol):
    """Starts one more browser; whoever asks for it closes it.

    On a host, if one is given. When a page wants to share a screen it gets the tab with the
    title `shares`; the test then permits its context to use camera and microphone.
    """

    def __call__(
        self, *, host: Host | None = None, flags: Sequence[str] = (), shares: str | None = None
    ) -> Browser: ...


@pytest.fixture(scope="package")
def launch(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Launch:
    expect.set_options(timeout=patient_ms(SHOWN_WITHIN_S))
    program = find_chromium()
    directory = tmp_path_factory.mktemp("browsers")

    def launch(
        *, host: Host | None = None, flags: Sequence[str] = (), shares: str | None = None
    ) -> Browser:
        path = program if host is None else host.wrapper(program, directory)
        near = HERE if host is None else []
        ui = AGREES if shares is None else f"{SHARES}={shares}"
        return playwright.chromium.launch(executable_path=path, args=[*FLAGS, *near, ui, *flags])

    return launch


@pytest.fixture(scope="package")
def net() -> Iterator[Internet]:
    """Made by the first test that needs it."""
    try:
        with internet() as net:
            yield net
    except NotAllowedError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="package")
def coturn(net: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    with coturn_running(net.host("turn"), tmp_path_factory.mktemp("turn")) as coturn:
        yield coturn


@pytest.fixture(scope="package")
def far_mesh(
    net: Internet, coturn: Coturn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mesh]:
    """One region on a host of its own, which browsers on other hosts reach by their networks."""
    with running(
        tmp_path_factory.mktemp("far"),
        regions=(FRANKFURT,),
        options=[f"--turn-urls={url}" for url in coturn.urls],
        secrets={"OCTOMESH_UP_TURN_SECRET": coturn.secret},
        host=net.host("server"),
    ) as mesh:
        yield mesh


@pytest.fixture(scope="package")
def browser(launch: Launch) -> Iterator[Browser]:
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture
def invite(browser: Browser) -> Iterator[Callable[..., Guest]]:
    """`invite(name, **options of the browser context)`: a guest until the test ends."""
    guests: list[Guest] = []

    def invite(name: str, *, browser: Browser = browser, **options: Any) -> Guest:
        guests.append(open_guest(browser, name, **options))
        return guests[-1]

    yield invite
    for guest in guests:
        closed(guest)
    assert {guest.name: guest.errors for guest in guests if guest.errors} == {}


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room that only this test has."""
    return str(request.node.originalname).replace("_", "-")
