"""The command line: where settings come from, and what an operator's slips look like."""

import json
import os
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
from octomesh_up import UpSettings, processes, wanted_ports
from octomesh_workers import WorkersSettings
from region.settings import RegionSettings
from relay.errors import RemoteProtocolError, SettingsError
from relay.ids import Region, VideoCodec
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


@pytest.mark.parametrize(
    "command", [(), ("up",), ("focus",), ("region",), ("matrix",), ("plan",), ("token",)]
)
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
    assert len(described) == 7
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
        (("region", "--region=eu", "--workers=0"), "'0' is neither auto nor from 1 to 1000"),
        (("region", "--region=eu", "--workers=many"), "'many' is neither auto nor from 1"),
        (("token", "--region", "eu", "--state-dir", ".", "--bridges=0"), "0 is not in the range"),
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
        ((*REGION, "--advertise=203.0.113.7:0"), "--advertise '203.0.113.7:0': 0 is not a port"),
        ((*REGION, "--no-advertise-interfaces"), "--no-advertise-interfaces without --advertise"),
        ((*REGION, "--listen-host=here"), "--listen-host 'here' is not an address like"),
        ((*REGION, "--relay-port=7", "--ops-port=7"), "--ops-port and --relay-port are both 7"),
        ((*REGION, "--workers=2", "--relay-port=10001"), "2 workers need as many ports of each"),
        ((*REGION, "--workers=1000", "--ops-port=65000"), "--ops-port 65000 to 65999, for 1000"),
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


def test_one_bridge_is_one_process_as_ever(run: Run, served: list[Any]) -> None:
    run(*REGION)
    run(*REGION, "--workers=1")
    for settings in served:
        assert isinstance(settings, RegionSettings)
        ports = (settings.media_port, settings.relay_port, settings.ops_port)
        assert ports == (10_000, 10_001, 10_002)


def test_several_workers_have_ranges_of_ports_that_do_not_meet(
    run: Run, served: list[Any], tmp_path: Path
) -> None:
    run(*REGION, "--workers=1000")
    (tmp_path / "octomesh.toml").write_text("[region]\nworkers = 3\nops-port = 20000\n")
    run("--config", "octomesh.toml", *REGION)
    most, from_file = served
    assert isinstance(most, WorkersSettings)
    assert (most.count, from_file.count) == (1000, 3)
    last = list(most.workers.values())[-1]
    assert (last.media_port, last.relay_port, last.ops_port) == (10_999, 11_999, 12_999)
    assert (from_file.region.relay_port, from_file.region.ops_port) == (11_000, 20_000)


def test_automatic_is_a_worker_for_each_core_and_may_be_one(
    run: Run, served: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    run(*REGION, "--workers=auto")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3, 4})
    monkeypatch.setenv("OCTOMESH_REGION_WORKERS", "auto")
    run(*REGION)
    monkeypatch.delenv("OCTOMESH_REGION_WORKERS")
    (tmp_path / "octomesh.toml").write_text('[region]\nworkers = "auto"\n')
    run("--config", "octomesh.toml", *REGION)
    assert [settings.count for settings in served] == [1, 5, 5]
    # The ports and directories of one core stay when there are more.
    assert [settings.region.relay_port for settings in served] == [11_000] * 3
    assert list(served[0].workers) == ["worker-0"]


def test_what_is_advertised_comes_from_everywhere(
    run: Run, served: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "octomesh.toml").write_text(
        '[region]\nadvertise = ["203.0.113.7:31000"]\nadvertise-interfaces = false\n'
    )
    run("--config", "octomesh.toml", *REGION)
    monkeypatch.setenv("OCTOMESH_REGION_ADVERTISE", "203.0.113.7 [2001:db8::7]:31000")
    run(*REGION)
    run(*REGION, "--advertise=198.51.100.7", "--no-advertise-interfaces")
    assert [(settings.advertise, settings.advertise_interfaces) for settings in served] == [
        (("203.0.113.7:31000",), False),
        (("203.0.113.7", "[2001:db8::7]:31000"), True),
        (("198.51.100.7",), False),
    ]


def test_a_token_for_a_host_enrols_so_many(run: Run, tmp_path: Path) -> None:
    arguments = ("token", "--state-dir", str(tmp_path), "--region", "eu", "--bridges", "2")
    token = run(*arguments)[1].strip()
    ledger = TokenLedger(tmp_path)
    for bridge in ("eu-1", "eu-2"):
        grant = ledger.check_untrusted(token, now=0.0)
        assert grant.bridge == bridge
        ledger.spend(grant, now=0.0)
    with pytest.raises(RemoteProtocolError, match="used for all 2 bridges"):
        ledger.check_untrusted(token, now=0.0)


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


@pytest.mark.parametrize("command", [("matrix",), ("load", "--room", "a", "--people", "2")])
def test_a_certificate_that_nobody_vouches_for_is_one_line_that_names_the_way_out(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    made = load_web_certificate(tmp_path / "focus")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made.certificate, made.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        code, _, err = run(*command, "--url", f"https://localhost:{server.server_port}")
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


TURN = ("--turn-urls=turn:turn.example.org:3478", "--turn-urls=turns:turn.example.org")


@pytest.mark.parametrize("command", ["focus", "up"])
def test_what_meetings_are_like_is_set_the_same_way_for_focus_and_up(
    run: Run, served: list[Any], tmp_path: Path, command: str
) -> None:
    run(command)
    (tmp_path / "secret").write_text("north\n")
    options = ("--codecs=av1,vp8", "--last-n=0", "--turn-secret-file=secret", "--turn-ttl=2h")
    assert run(command, *TURN, *options)[0] == 0
    (tmp_path / "octomesh.toml").write_text(
        f'[{command}]\ncodecs = "vp9, vp8"\nlast-n = 7\nturn-urls = ["turn:t"]\n'
        'turn-secret-file = "secret"\nturn-ttl = "90s"\n'
    )
    run("--config", "octomesh.toml", command)
    plain, flags, file = served
    assert (plain.codecs, plain.last_n) == (("vp8", "h264"), 25)
    assert (plain.turn_urls, plain.turn_secret, plain.turn_ttl_s) == ((), None, 86_400)
    assert (flags.codecs, flags.last_n, flags.turn_ttl_s) == (("av1", "vp8"), None, 7_200)
    assert flags.turn_urls == ("turn:turn.example.org:3478", "turns:turn.example.org")
    assert (file.codecs, file.last_n, file.turn_ttl_s) == (("vp9", "vp8"), 7, 90)
    assert (file.turn_urls, file.turn_secret) == (("turn:t",), "north")


@pytest.mark.parametrize("command", ["focus", "up"])
def test_the_turn_secret_is_no_flag_is_taken_out_of_the_environment_and_is_never_shown(
    run: Run, served: list[Any], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    variable = f"OCTOMESH_{command.upper()}_TURN_SECRET"
    monkeypatch.setenv(variable, "from-the-environment")
    run(command, *TURN)
    assert served[0].turn_secret == "from-the-environment"
    assert variable not in os.environ
    assert "from-" not in repr(served)
    assert run(command, *TURN, "--turn-secret=north")[0] == 2


def test_up_hands_the_focus_its_turn_secret_and_nobody_else(tmp_path: Path) -> None:
    settings = UpSettings(
        https_port=9_998,
        http_port=8_080,
        media_port=10_000,
        regions=(Region("eu"),),
        state_dir=tmp_path,
        codecs=(VideoCodec.VP9, VideoCodec.VP8),
        last_n=None,
        turn_urls=("turn:t",),
        turn_secret="north",
    )
    focus, bridge = processes(settings)
    assert focus.environment()["OCTOMESH_FOCUS_TURN_SECRET"] == "north"
    assert "north" not in " ".join([*focus.command, *bridge.command])
    assert "north" not in bridge.environment().values()
    assert {"--codecs=vp9,vp8", "--last-n=0", "--turn-urls=turn:t"} <= {*focus.command}


@pytest.mark.parametrize(
    ("option", "code", "complaint"),
    [
        ("--codecs=vp10", 2, "there is no codec 'vp10'; there are av1, vp9, vp8, h264"),
        ("--codecs=", 2, "there is no codec ''"),
        ("--codecs=vp8,vp8", 2, "a codec stands in the list once at most"),
        ("--last-n=-1", 2, "-1 is not in the range"),
        ("--turn-ttl=1y", 2, "'1y' is not like 90s, 10m, 1h or 2d"),
        ("--turn-secret-file=none", 2, "File 'none' does not exist"),
        ("--turn-urls=turn:t", 1, "--turn-urls without a secret: give it by --turn-secret-file"),
        ("--turn-urls=https://t", 1, "--turn-urls: 'https://t' is not like turn:"),
    ],
)
def test_a_wrong_option_of_meetings_is_refused_in_words(
    run: Run, option: str, code: int, complaint: str
) -> None:
    given, out, err = run("focus", option)
    assert (given, out) == (code, "")
    assert complaint in err.replace("\n", " ")
