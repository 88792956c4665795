"""One mesh and one browser for all end-to-end tests; both end with them."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.e2e.guest import Guest, closed, open_guest
from tests.e2e.mesh import Mesh

FLAGS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--no-first-run",
]


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    mesh = Mesh(tmp_path_factory.mktemp("mesh"))
    try:
        mesh.until_ready()
        yield mesh
    finally:
        mesh.stop()


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


@pytest.fixture(scope="package")
def launch(playwright: Playwright) -> Callable[[], Browser]:
    """Starts one more browser; whoever asks for it closes it."""
    program = find_chromium()
    return lambda: playwright.chromium.launch(executable_path=program, args=FLAGS)


@pytest.fixture(scope="package")
def browser(launch: Callable[[], Browser]) -> Iterator[Browser]:
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
