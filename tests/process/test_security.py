"""What must not get out, or in: secrets, tokens, other users, a cloned project's environment."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
import string
import subprocess
import sys
import threading
import zlib
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pattern_tracker.claude_code.registration import hook_command
from pattern_tracker.client.destination import Destination
from pattern_tracker.installation.places import Places
from pattern_tracker.installation.program_files import launcher_text
from pattern_tracker.ledger.schema import open_for_reading
from pattern_tracker.state_dir import StateDir
from tests.core import make_settings, one_pass, put, write_payload
from tests.daemon_process import DaemonHome, wait_until, words_of
from tests.fake_clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

HOOKS = Path(__file__).resolve().parents[2] / "hooks"
COMMANDS = (
    ("stats",),
    ("stats", "--json"),
    ("events", "--limit", "1000"),
    ("events", "--json", "--limit", "1000"),
    ("config",),
    ("config", "--json"),
)
DAEMON_COMMANDS = (("status",), ("status", "--json"), ("logs",))
BODY_KEPT = "this_line_stays"
DASHES = "-" * 5

# What stands around a secret, and how long it is.  None is written here as a whole.
BY_SHAPE = {
    "aws": ("AKIA{}", 16),
    "github": ("ghp_{}", 36),
    "gitlab": ("glpat-{}", 20),
    "slack": ("xoxb-123456789012-{}", 24),
    "stripe": ("sk_live_{}", 24),
    "anthropic": ("sk-ant-api03-{}", 40),
    "openai": ("sk-proj-{}", 40),
    "google": ("AIza{}", 35),
    "npm": ("npm_{}", 36),
    "pypi": ("pypi-{}", 60),
    "huggingface": ("hf_{}", 36),
    "jwt": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{}", 43),
}
BY_CONTEXT = {
    "slack webhook": ("https://hooks.slack.com/services/T0001/B0001/{}", 24),
    "bearer": ("Authorization: Bearer {}", 32),
    "basic": ("Authorization: Basic {}", 24),
    "url": ("postgres://app:{}@db.internal/app", 16),
    "assignment": ('DB_PASSWORD = "{}"', 16),
    "variable": ("API_TOKEN={}", 24),
    "json": ('{{"client_secret": "{}"}}', 24),
    "yaml": ("password: {}", 16),
    "private key": (
        f"{DASHES}BEGIN PRIVATE KEY{DASHES}\n{{}}\n{DASHES}END PRIVATE KEY{DASHES}",
        64,
    ),
    "curl": ("curl -u admin:{} https://api.internal/", 16),
    "sql": ("CREATE USER a IDENTIFIED BY '{}';", 16),
    "azure": ("AccountKey={}==", 86),
}


def random_secret(length: int, rng: random.Random) -> str:
    # Upper case, because AWS has no other; with digits, because a word is no secret.
    signs = "".join(rng.choices(string.ascii_uppercase + "234567", k=length - 3))
    return f"{signs}4X7"


@pytest.fixture(scope="module")
def secrets() -> dict[str, tuple[str, str]]:
    """Kind -> the text around a secret, with the secret in it; and the secret alone."""
    rng = random.Random(20)
    made = {}
    for kind, (around, length) in {**BY_SHAPE, **BY_CONTEXT}.items():
        secret = random_secret(length, rng)
        made[kind] = (around.format(secret), secret)
    return made


@pytest.fixture
def home() -> Iterator[DaemonHome]:
    """A state directory that was made without any umask, like all that follows."""
    made = DaemonHome()
    made.state = StateDir(root=made.root / "a" / "b" / "s")
    before = os.umask(0)
    try:
        made.state.prepare()
    finally:
        os.umask(before)
    yield made
    made.close()


def run_hook(home: DaemonHome, payload: dict[str, Any], script: str = "capture.sh", **env: str):
    """As Claude Code does it, by a user without any umask."""
    done = subprocess.run(
        ["/bin/sh", "-c", hook_command(HOOKS / script, home.state.root)],
        input=json.dumps(payload).encode(),
        env={"PATH": os.defpath, "HOME": os.environ["HOME"], **env},
        umask=0,
        capture_output=True,
        check=False,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def run_command(home: DaemonHome, *words: str, **env: str) -> str:
    """What `pattern-tracker` says."""
    program = "import sys; from pattern_tracker.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, *words],
        env={**os.environ, "PATTERN_CACHE_DIR": str(home.state.root), **env},
        umask=0,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def everything_said(home: DaemonHome, **env: str) -> bytes:
    """All that a user is shown."""
    said = [run_command(home, *words, **env) for words in COMMANDS]
    said += [home.run(*words).stdout for words in DAEMON_COMMANDS]
    return "".join(said).encode()


def everything_kept(home: DaemonHome) -> bytes:
    """Every byte that the state directory holds."""
    found = b""
    for path in home.state.root.rglob("*"):
        with suppress(FileNotFoundError):  # of a database that was closed since
            found += path.read_bytes() if path.is_file() else b""
    return found


def stored_code(home: DaemonHome) -> list[bytes]:
    """The code that the embedded API keeps compressed."""
    with closing(sqlite3.connect(home.state.intelligence_database)) as database:
        rows = database.execute("SELECT deflated FROM bodies").fetchall()
    return [zlib.decompress(deflated) for (deflated,) in rows]


def payloads_with(kind: str, text: str) -> Iterator[dict[str, Any]]:
    """The secret in every field that a payload has for what the model or a project made up."""
    code = f"{BODY_KEPT} = '{kind}'\n{text}\n"
    yield write_payload(code, path=f"/p/{kind}/new.txt")
    yield write_payload("nothing\n", before=code, path=f"/p/{kind}/before.txt")
    fragment = write_payload(code, path=f"/p/{kind}/fragment.txt")
    fragment["tool_name"] = "Edit"
    fragment["tool_response"] = {"newString": code}
    yield fragment
    notebook = write_payload(code)
    cell = json.dumps({"cells": [{"source": [code]}]})
    notebook["tool_name"] = "NotebookEdit"
    notebook["tool_input"] = {"notebook_path": f"/p/{kind}/n.ipynb", "new_source": code}
    notebook["tool_response"] = {"original_file": "{}", "updated_file": cell}
    yield notebook
    bash = write_payload(code) | {"tool_name": "Bash"}
    yield bash | {"tool_input": {"command": text}, "tool_response": {"stdout": text}}
    yield bash | {"hook_event_name": "PostToolUseFailure", "error": text, "cwd": f"/{text}"}
    if kind in BY_SHAPE:
        named = write_payload("named\n", path=f"/p/{text}/{text}.py")
        yield named | {"session_id": text, "agent_id": text, "agent_type": text}
        yield write_payload(code) | {"tool_name": f"mcp__{kind}__ {text}"}
        yield write_payload(code) | {"hook_event_name": f"Later {text}"}


def test_no_secret_is_left_anywhere_and_nobody_else_can_look(
    home: DaemonHome, secrets: dict[str, tuple[str, str]]
) -> None:
    count = 0
    for kind, (text, secret) in secrets.items():
        for payload in payloads_with(kind, text):
            assert secret in json.dumps(payload)
            run_hook(home, payload)
            count += 1
    # Raw, as quarantine holds it: nothing but its mode protects it.
    (home.state.spool / "large.json").write_bytes(b" " * (8 * 1024 * 1024 + 1))
    (home.state.spool / "large.json").chmod(0o600)
    assert home.run("start", umask=0).returncode == 0
    wait_until(
        lambda: not list(home.state.spool.iterdir()) and not home.summary().waiting,
        what="everything taken in and delivered",
    )

    shown = everything_said(home) + everything_kept(home)
    assert_private(home)
    assert home.run("stop").returncode == 0
    kept = b"".join(stored_code(home))
    shown += everything_kept(home) + kept

    assert [kind for kind, (_, secret) in secrets.items() if secret.encode() in shown] == []
    assert home.delivered() >= 4 * len(secrets)
    # The check is worth something: code is there, and so are the markers.
    assert [kind for kind in secrets if f"{BODY_KEPT} = '{kind}'".encode() not in kept] == []
    assert kept.count(b"[REDACTED:") >= len(secrets)
    captures = json.loads(run_command(home, "stats", "--json"))["captures"]
    assert (captures["total"], captures["quarantined"]) == (count + 1, 1)


def assert_private(home: DaemonHome) -> None:
    """Of all that a full run made, also of the parents of the state directory."""
    root = home.state.root
    assert {path.name for path in root.iterdir()} >= {
        "intelligence.sqlite3-wal",
        "intelligence.sock",
    }
    for path in (root.parent.parent, root.parent, root, *root.rglob("*")):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # of a database that was closed since
            continue
        wanted = 0o700 if stat.S_ISDIR(mode) else 0o600
        assert stat.S_IMODE(mode) == wanted, f"{path} has mode {stat.S_IMODE(mode):o}"


def test_flag_raised_by_a_hook_is_private_without_a_umask(home: DaemonHome) -> None:
    home.state.cap_file.write_text("0\n")
    run_hook(home, write_payload("x\n"), "turn_end.sh")
    wait_until(home.state.full_flag.exists, what="the flag")
    assert stat.S_IMODE(home.state.full_flag.stat().st_mode) == 0o600


async def test_names_in_a_payload_are_cut_to_what_is_worth_keeping(home: DaemonHome) -> None:
    long = "x" * 1_000_000
    settings = make_settings(home.state, "http://127.0.0.1:9")
    for tool in ("Write", long):
        names = {"session_id": long, "tool_name": tool, "agent_type": long}
        put(home.state, write_payload("x = 1\n") | names)
    await one_pass(settings, FakeClock())
    with closing(open_for_reading(home.state.ledger)) as ledger:
        rows = ledger.execute(
            "SELECT length(tool), length(s.session_id) FROM captures c JOIN sessions s"
            " ON s.id = c.session"
        ).fetchall()
        ((size,),) = ledger.execute("SELECT length(body) FROM events").fetchall()
    assert sorted(rows) == [(5, 255), (255, 255)]
    assert size < 4096


class _Server(ThreadingHTTPServer):
    """Echoes what it was sent, in words of refusal; counts who came."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Echo)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Echo(BaseHTTPRequestHandler):
    server: _Server

    def _answer(self) -> None:
        self.server.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        sent = self.headers.get("Authorization", "")
        # Beyond the length at which words are cut, and within it.
        body = json.dumps(
            {"error": f"{sent} \x9b2J\x1b]0;owned\x07 {'.' * 405} {sent.removeprefix('Bearer ')}"}
        ).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_CONNECT = _answer  # noqa: N815 - the base class's names

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def echoing_server() -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_token_is_taken_out_of_words_wherever_they_were_cut() -> None:
    token = "u7Fq" + "kZ3v" * 8
    destination = Destination(base_url="https://host", token=token)
    words = f"no: {token}, {token}"
    for length in range(len(words) + 1):
        assert token[:8] not in destination.without_token(words[:length])
    assert destination.without_token(f"{token} is wrong") == "[token] is wrong"


def test_token_is_nowhere_even_if_the_server_echoes_it(home: DaemonHome) -> None:
    token = "u7Fq" + "kZ3v" * 8
    run_hook(home, write_payload("x = 1\n"))
    with echoing_server() as server:
        home.configure(f'[service]\nurl = "{server.url}"\ntoken = "{token}"\n')
        record = home.start()
        wait_until(lambda: home.logged("not sending"), what="the refusal")
        lines = words_of(record.pid, "cmdline") + words_of(record.pid, "environ")
        said = everything_said(home, INTELLIGENCE_API_TOKEN=token)
        shown = said + everything_kept(home)
        home.run("stop")
    assert any("/lineage/track" in path for path in server.asked)
    for part in (token, token[:8], token[-12:]):
        assert part.encode() not in shown
        assert part not in "".join(lines)
    assert b"\x1b" not in said
    assert "\x9b".encode() not in said


def test_project_that_sets_every_variable_moves_neither_events_nor_daemon(
    home: DaemonHome, tmp_path: Path
) -> None:
    evil = tmp_path / "evil"
    (evil / "pattern-tracker").mkdir(parents=True)
    places = Places(data=tmp_path / "d", home=tmp_path, claude_settings=tmp_path / "s.json")
    home.state.launcher.write_text(launcher_text(places, home.state, home.config, {}))
    home.state.launcher.chmod(0o700)
    (evil / "sitecustomize.py").write_text(f"open({str(evil / 'ran')!r}, 'w')\n")
    with echoing_server() as server:
        (evil / "pattern-tracker" / "config.toml").write_text(f'[service]\nurl = "{server.url}"\n')
        variables = dict.fromkeys(
            ("INTELLIGENCE_SERVICE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"), server.url
        )
        directories = dict.fromkeys(
            (
                *("HOME", "TMPDIR", "PYTHONPATH", "PYTHONHOME", "PATTERN_CACHE_DIR"),
                *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"),
            ),
            str(evil),
        )
        others = {
            "INTELLIGENCE_API_TOKEN": "theirs-not-mine",
            "CIRCUIT_BREAKER_TIMEOUT": "86400",
            "CLAUDE_CODE_SESSION_ID": "../../../../tmp/x",
            "PATH": str(evil),
            "SSL_CERT_FILE": str(evil / "ca.pem"),
            "ENV": str(evil / "sitecustomize.py"),
            "BASH_ENV": str(evil / "sitecustomize.py"),
            "LANG": "../../evil",
        }
        hostile = {**variables, **directories, **others}
        run_hook(home, write_payload("x = 1\n") | {"tool_name": "Write"}, **hostile)
        run_hook(home, {"hook_event_name": "SessionStart"}, "session_start.sh", **hostile)
        wait_until(lambda: home.held() and home.delivered() == 1, what="the event delivered")
        record = home.wait_ready()
        environment = words_of(record.pid, "environ")

    assert server.asked == []
    assert set(home.summary().gates) == {"embedded"}
    assert not [line for line in environment if "evil" in line or "theirs" in line]
    assert not [line for line in environment if server.url in line]
    assert {path.name for path in evil.iterdir()} == {"pattern-tracker", "sitecustomize.py"}
