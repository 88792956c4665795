"""The command line: where settings come from, and what an operator's slips look like."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import octomesh
from focus.tokens import TokenLedger
from octomesh_matrix import rtt_matrix
from octomesh_up import UpSettings, wanted_ports
from relay.errors import SettingsError
from relay.ports import check_free
from web.certificate import load_web_certificate
from web.settings import MeshNames

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`run("focus", …)` is the exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["octomesh", *arguments])
        with pytest.raises(SystemExit) as caught:
            octomesh.main()
        written = capsys.readouterr()
        code = caught.value.code
        return (code if isinstance(code, int) else 0), written.out, written.err

    return run


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings with which a service was started; none is."""
    settings: list[Any] = []
    monkeypatch.setattr(octomesh, "_serve", lambda _run, given: settings.append(given))
    return settings


@pytest.mark.parametrize("command", [(), ("up",), ("focus",), ("region",), ("matrix",), ("token",)])
def test_every_command_explains_itself(run: Run, command: tuple[str, ...]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert out.startswith("Usage: octomesh")


def test_no_command_is_described_by_half_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run("--help")
    _, _, commands = out.partition("Commands:\n")
    described = [line.strip() for line in commands.splitlines() if line.strip()]
    assert len(described) == 5
    for line in described:
        assert line.endswith(".")
        assert not line.endswith("...")


def test_settings_come_from_flags_then_environment_then_file_then_defaults(
    run: Run, served: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "octomesh.toml").write_text(
        '[up]\nhttps-port = 1001\nhttp_port = 1002\nmedia_port = 20000\nregions = "eu, us"\n'
    )
    monkeypatch.setenv("OCTOMESH_UP_HTTP_PORT", "2002")
    monkeypatch.setenv("OCTOMESH_UP_HTTPS_PORT", "2001")
    assert run("--config", "octomesh.toml", "up", "--https-port", "3001")[0] == 0
    (settings,) = served
    assert (settings.https_port, settings.http_port, settings.media_port) == (3001, 2002, 20_000)
    assert settings.focus_ops_port == 19_999
    assert settings.regions == ("eu", "us")
    assert settings.state_dir == tmp_path / ".octomesh"


def test_the_file_itself_may_be_named_by_the_environment(
    run: Run, served: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mesh.toml").write_text('[focus]\nlisten_host = "127.0.0.1"\n')
    monkeypatch.setenv("OCTOMESH_CONFIG", "mesh.toml")
    run("focus", "--https-port=443")
    assert (served[0].listen_host, served[0].https_port) == ("127.0.0.1", 443)


def test_a_flags_name_is_its_key_in_the_file(run: Run, mesh_url: str, tmp_path: Path) -> None:
    (tmp_path / "octomesh.toml").write_text(f'[matrix]\njson = true\nurl = "{mesh_url}"\n')
    code, out, _ = run("--config", "octomesh.toml", "matrix")
    assert (code, json.loads(out)) == (0, rtt_matrix(MESH))


def test_names_on_the_mesh_page_need_a_key_unless_opened(run: Run, served: list[Any]) -> None:
    run("focus")
    run("focus", "--mesh-names=open")
    assert [settings.mesh_names for settings in served] == [MeshNames.KEY, MeshNames.OPEN]
    assert run("focus", "--mesh-names=all")[0] == 2


def test_a_wrong_key_in_the_file_is_one_line_with_the_nearest_right_one(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "octomesh.toml").write_text("[up]\nhttps_prot = 9443\n")
    code, _, err = run("--config", "octomesh.toml", "up")
    assert (code, err) == (
        1,
        "octomesh: octomesh.toml: [up] has no https_prot; did you mean https-port?\n",
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("focus", "--https-prot", "1"), "--https-port"),
        (("focus", "--https-port", "70000"), "70000 is not in the range"),
        (("up", "--media-port", "many"), "'many' is not a valid integer"),
        (("up", "--regions", "frankfurt,Sao Paulo"), "region 'Sao Paulo' is not a name like"),
        (("region", "--focus-url", "https://f"), "Missing option '--region'"),
        (("token", "--region", "eu"), "Directory '.octomesh' does not exist"),
        (("token", "--region", "eu", "--state-dir", ".", "--ttl", "1w"), "'1w' is not like 90s"),
        (("--config", "none.toml", "up"), "File 'none.toml' does not exist"),
        (("uq",), "No such command 'uq'"),
    ],
)
def test_a_wrong_flag_is_exit_code_2_and_says_which(
    run: Run, arguments: tuple[str, ...], complaint: str
) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert complaint in err


REGION = ("region", "--region=eu", "--focus-url=https://meet.example.org")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((*REGION, "--focus-url=http://meet"), "--focus-url 'http://meet' is not like https://"),
        ((*REGION, "--advertise=me.example"), "--advertise 'me.example' is not an address like"),
        ((*REGION, "--relay-port=7", "--ops-port=7"), "--ops-port and --relay-port are both 7"),
        (("focus", "--certificate=/dev/null"), "--certificate without --certificate-key: give"),
        (("focus", "--certificate-key=/dev/null"), "--certificate-key without --certificate: give"),
        (("focus", "--http-port=8443"), "--http-port and --https-port are both 8443"),
    ],
)
def test_settings_that_cannot_work_are_one_line_and_exit_code_1(
    run: Run, arguments: tuple[str, ...], line: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"octomesh: {line}")
    assert err.count("\n") == 1


def test_an_operators_error_from_deep_within_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [SettingsError("no, not so")])])

    monkeypatch.setattr(octomesh, "_serve", fail)
    assert run("focus") == (1, "", "octomesh: no, not so\n")


def test_a_bug_is_no_operators_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(octomesh, "_serve", fail)
    with pytest.raises(KeyError):
        run("focus")


def test_the_token_comes_from_a_file_or_the_environment_and_is_never_shown(
    run: Run, served: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OCTOMESH_REGION_TOKEN", "from-the-environment")
    run(*REGION)
    assert served[0].token == "from-the-environment"
    (tmp_path / "token").write_text("from-a-file\n")
    run(*REGION, "--token-file=token", "--advertise=2001:db8::7", "--advertise=203.0.113.7")
    assert served[1].token == "from-a-file"
    assert served[1].advertise == ("2001:db8::7", "203.0.113.7")
    assert "from-" not in repr(served)
    assert run(*REGION, "--token=x")[0] == 2


def test_a_printed_token_enrols_a_bridge_of_its_region_for_as_long_as_asked(
    run: Run, tmp_path: Path
) -> None:
    code, out, _ = run("token", "--state-dir", str(tmp_path), "--region", "eu", "--ttl", "2h")
    grant = TokenLedger(tmp_path).check_untrusted(out.strip(), now=0.0)
    assert (code, grant.region) == (0, "eu")
    longer = TokenLedger(tmp_path).check_untrusted(
        run("token", "--state-dir", str(tmp_path), "--region", "eu", "--ttl", "1d")[1].strip(),
        now=0.0,
    )
    assert longer.expires_s - grant.expires_s == pytest.approx(22 * 3600, abs=60)


MESH = {
    "bridges": [
        {"bridge": "sg-1", "region": "singapore"},
        {"bridge": "eu-1", "region": "frankfurt"},
        {"bridge": "eu-2", "region": "frankfurt"},
    ],
    "links": [
        {"from": "eu-1", "to": "sg-1", "up": True, "rtt_ms": 160.24},
        {"from": "sg-1", "to": "eu-1", "up": True, "rtt_ms": 161.0},
        {"from": "eu-2", "to": "sg-1", "up": True, "rtt_ms": None},
        {"from": "sg-1", "to": "eu-2", "up": False, "rtt_ms": 5.0},
    ],
}


def test_the_matrix_has_what_was_measured_and_nothing_else() -> None:
    assert rtt_matrix(MESH) == {
        "frankfurt eu-1": {"frankfurt eu-2": None, "singapore": 160.24},
        "frankfurt eu-2": {"frankfurt eu-1": None, "singapore": None},
        "singapore": {"frankfurt eu-1": 161.0, "frankfurt eu-2": None},
    }


@pytest.fixture
def mesh_url() -> Iterator[str]:
    """A focus that answers MESH to `/api/mesh`, and a word to everything else."""

    class Focus(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(MESH if self.path == "/api/mesh" else "?").encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Focus) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_matrix_prints_rows_from_and_columns_to_with_a_dash_where_unmeasured(
    run: Run, mesh_url: str
) -> None:
    code, out, _ = run("matrix", "--url", mesh_url)
    assert code == 0
    cells = [line.replace("│", " ").split() for line in out.splitlines()]
    assert ["frankfurt", "eu-1", "–", "160.2"] in cells
    assert ["singapore", "161.0", "–"] in cells


def test_matrix_prints_json_for_machines(run: Run, mesh_url: str) -> None:
    code, out, _ = run("matrix", "--json", "--url", mesh_url)
    assert (code, json.loads(out)) == (0, rtt_matrix(MESH))


def test_a_focus_that_does_not_answer_is_one_line(run: Run, mesh_url: str) -> None:
    code, _, err = run("matrix", "--url", "http://127.0.0.1:9")
    assert code == 1
    assert err.startswith("octomesh: no mesh at http://127.0.0.1:9: ")
    code, _, err = run("matrix", "--url", f"{mesh_url}/elsewhere")
    assert (code, err.count("\n")) == (1, 1)
    assert err.endswith("the answer is not octomesh's\n")


def test_a_certificate_that_is_none_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    code, _, err = run("matrix", "--ca", "ca.pem", "--url", "https://127.0.0.1:9")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("octomesh: --ca ca.pem: ")


def test_a_certificate_that_nobody_vouches_for_is_one_line_that_names_the_way_out(
    run: Run, tmp_path: Path
) -> None:
    made = load_web_certificate(tmp_path / "focus")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made.certificate, made.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        code, _, err = run("matrix", "--url", f"https://localhost:{server.server_port}")
        server.shutdown()
        thread.join()
    assert (code, err.count("\n")) == (1, 1)
    assert "its certificate cannot be verified (self-signed certificate); give --ca" in err


@pytest.mark.parametrize(("given", "use"), [((), ", one below --media-port"), ((9_999,), "")])
def test_a_clash_on_the_focus_ops_port_says_what_moves_it(given: tuple[int, ...], use: str) -> None:
    settings = UpSettings(
        https_port=9_999,
        http_port=8_080,
        media_port=10_000,
        ops_port=given[0] if given else None,
        regions=(),
        state_dir=Path("/nowhere"),
    )
    with pytest.raises(SettingsError, match="wanted twice") as caught:
        check_free(wanted_ports(settings))
    assert str(caught.value) == (
        f"TCP port 9999 (the focus's ops{use}) is wanted twice: --https-port and --ops-port overlap"
    )
