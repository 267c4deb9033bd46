"""What a hook keeps: every byte, in a private file of its own, under a name that nobody chooses."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.hook_runner import SESSION, SHELLS, Hook, assert_harmless, make_hook, make_state_dir

PAYLOADS = Path(__file__).resolve().parent.parent / "payloads"


@pytest.fixture(params=SHELLS)
def hook(request: pytest.FixtureRequest, tmp_path: Path) -> Hook:
    made = make_hook(request.param, tmp_path)
    return made or pytest.skip(f"{request.param} is not installed")


def test_payload_is_stored_as_it_came_in_a_private_file(hook: Hook) -> None:
    payload = (PAYLOADS / "PostToolUse-Write.json").read_bytes()

    assert_harmless(hook.run(payload))

    [path] = hook.files()
    assert path.read_bytes() == payload
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert re.fullmatch(rf"{SESSION}\.\d+\.json", path.name)


def test_file_in_another_directory_than_ours_is_never_made(hook: Hook, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()

    assert_harmless(hook.run(b"{}\n", cwd=project))

    assert list(project.iterdir()) == []
    assert {path.name for path in hook.state.iterdir()} == {"spool", "turned-away"}


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": "it\'s \\" quoted"}',
        b"'''\n\"\"\"\n'; touch pwned; '",
        b"$(touch pwned) `touch pwned` ${IFS} $((1/0)) !!",
        b"; touch pwned\n& touch pwned\n| touch pwned\n",
        b"\\n\\t\\0 %s%n%d \\c \\x41\r\n\r",
        b"../../../etc/passwd\n-n\n--help\n-",
        b"NUL \0 in \0 the middle\0",
        b"\xff\xfe\xed\xa0\x80 not UTF-8 \x1b[31m",
        b" ",
        b"\n",
        bytes(range(256)) * 300,
    ],
)
def test_hostile_payload_is_stored_byte_for_byte_and_never_run(
    hook: Hook, tmp_path: Path, text: bytes
) -> None:
    project = tmp_path / "project"
    project.mkdir()

    assert_harmless(hook.run(text, cwd=project))

    assert hook.stored() == [text]
    assert list(project.iterdir()) == []


def test_payload_of_50_mb_is_stored_whole(hook: Hook) -> None:
    payload = b'{"x": "' + b"0123456789abcdef" * (50 * 2**20 // 16) + b'"}\n'

    assert_harmless(hook.run(payload))

    assert hook.stored() == [payload]


@pytest.mark.parametrize(
    "session",
    [
        "",
        "../../x",
        "/etc/passwd",
        "x" * 5000,
        "a b",
        "-rf",
        ".hidden",
        "a\nb",
        "$(touch pwned)",
        "'\"",
        "*",
        "é",
        "a;b",
    ],
)
def test_hostile_session_id_is_replaced_in_the_name(hook: Hook, session: str) -> None:
    assert_harmless(hook.with_env(CLAUDE_CODE_SESSION_ID=session).run(b"{}\n"))

    [path] = hook.files()
    assert re.fullmatch(r"nosession\.\d+\.json", path.name)


def test_missing_session_id_is_replaced_in_the_name(hook: Hook) -> None:
    env = {key: value for key, value in hook.env.items() if key != "CLAUDE_CODE_SESSION_ID"}

    assert_harmless(hook.run(b"{}\n", env=env))

    [path] = hook.files()
    assert path.name.startswith("nosession.")


@pytest.mark.parametrize("session", ["abc_DEF-123", "_", "0", "x" * 64])
def test_plain_session_id_is_kept_in_the_name(hook: Hook, session: str) -> None:
    assert_harmless(hook.with_env(CLAUDE_CODE_SESSION_ID=session).run(b"{}\n"))

    [path] = hook.files()
    assert path.name.startswith(f"{session}.")


@pytest.mark.parametrize("taken", [1, 2, 12])
def test_name_taken_by_a_reused_pid_gets_a_counter(hook: Hook, taken: int) -> None:
    spool = hook.state / "spool"
    spool.mkdir()
    # The line that `read` waits for arrives when the names of this very pid are taken.
    waiting = ["-c", 'read -r _; exec "$0" "$1"', str(hook.scripts / "capture.sh")]
    with subprocess.Popen(
        [str(hook.shell), *waiting, str(hook.state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(hook.env),
    ) as process:
        stem = f"{SESSION}.{process.pid}"
        names = [f"{stem}.json"] + [f"{stem}.{number}.json" for number in range(1, taken)]
        for name in names:
            (spool / name).write_bytes(b"earlier")
        out, _ = process.communicate(b"\n" + b"new", timeout=30)

    assert (process.returncode, out) == (0, b"")
    assert (spool / f"{stem}.{taken}.json").read_bytes() == b"new"
    assert {(spool / name).read_bytes() for name in names} == {b"earlier"}
    assert hook.turned_away() == 0


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        " leading and trailing ",
        "ünï-コード-🦆",
        "it's",
        "'; touch pwned; '",
        "~",
        "new\nline",
        "$HOME",
        'double"quote',
        "back\\slash",
        "-dash",
        "*",
        "a=b",
    ],
)
@pytest.mark.parametrize("label", SHELLS)
def test_directory_with_any_name_holds_scripts_and_spool(
    label: str, name: str, tmp_path: Path
) -> None:
    hook = make_hook(label, tmp_path, scripts_in=f"{name}/hooks")
    if hook is None:
        pytest.skip(f"{label} is not installed")
    hook = hook.at(make_state_dir(tmp_path / "states" / name / "state"))
    project = tmp_path / "project"
    project.mkdir()

    assert_harmless(hook.run(b"{}\n", cwd=project))
    assert_harmless(hook.run(b"{}\n", "session_start.sh", cwd=project))

    assert hook.stored() == [b"{}\n", b"{}\n"]
    assert list(project.iterdir()) == []


def run_together(hook: Hook, payloads: list[bytes]) -> None:
    processes = [hook.start() for _ in payloads]
    for process, payload in zip(processes, payloads, strict=True):
        process.stdin.write(payload)
        process.stdin.close()
    for process in processes:
        with process:
            assert process.stdout.read() == b""
        assert process.returncode == 0


def numbered(count: int) -> list[bytes]:
    body = "x" * 3000
    return [json.dumps({"n": number, "body": body}).encode() + b"\n" for number in range(count)]


def test_twenty_hooks_at_once_fifty_times_store_everything(hook: Hook) -> None:
    payloads = numbered(1000)

    for first in range(0, 1000, 20):
        run_together(hook, payloads[first : first + 20])

    assert sorted(hook.stored()) == sorted(payloads)
    assert hook.turned_away() == 0


def test_two_hundred_hooks_at_once_store_everything(hook: Hook) -> None:
    payloads = numbered(200)

    run_together(hook, payloads)

    assert sorted(hook.stored()) == sorted(payloads)
    assert hook.turned_away() == 0
