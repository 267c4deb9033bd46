"""Hooks killed at random instants: what lies in the spool is whole or does not parse."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hook_runner import SHELLS, Hook, make_hook, poll

ROUNDS = 60


@pytest.fixture(params=SHELLS)
def hook(request: pytest.FixtureRequest, tmp_path: Path) -> Hook:
    made = make_hook(request.param, tmp_path)
    return made or pytest.skip(f"{request.param} is not installed")


def payload_of(number: int, size: int) -> bytes:
    return json.dumps({"n": number, "body": "y" * size}).encode() + b"\n"


def is_whole(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents first."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [found for child in children for found in (int(child), *descendants(int(child)))]


def test_group_killed_at_random_instants_leaves_whole_or_unparsable_files(hook: Hook) -> None:
    random_ = random.Random(20)
    sent = [payload_of(number, random_.choice([10, 3000, 300_000])) for number in range(ROUNDS)]
    finished = set()
    for number, payload in enumerate(sent):
        with hook.start() as process:
            # A real instant in the life of a real process: the one reason here for a sleep.
            instant = random_.uniform(0, 0.006)
            killer = os.fork()
            if killer == 0:
                time.sleep(instant)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                os._exit(0)
            with suppress(BrokenPipeError):
                process.stdin.write(payload)
                process.stdin.flush()
            with suppress(BrokenPipeError):
                process.stdin.close()
            os.waitpid(killer, 0)
            assert process.stdout.read() == b""
            if process.wait(30) == 0:
                finished.add(number)

    stored = hook.stored()
    whole = [content for content in stored if is_whole(content)]
    assert set(whole) <= set(sent)
    assert {sent[number] for number in finished} <= set(whole)
    assert hook.turned_away() == 0
    for torn in set(stored) - set(whole):
        assert any(payload.startswith(torn) for payload in sent)


def test_hook_killed_after_its_last_byte_has_stored_the_payload(hook: Hook) -> None:
    payload = payload_of(1, 5000)
    process = hook.start()
    with process:
        process.stdin.write(payload)
        process.stdin.flush()
        assert poll(lambda: hook.stored() == [payload])
        os.killpg(process.pid, signal.SIGKILL)

    assert hook.stored() == [payload]


@pytest.mark.skipif(sys.platform != "linux", reason="finds cat through /proc")
def test_cat_killed_alone_leaves_its_file_to_the_drainer(hook: Hook) -> None:
    payload = payload_of(1, 5000)
    process = hook.start()
    with process:
        process.stdin.write(payload)
        process.stdin.flush()
        assert poll(lambda: hook.stored() == [payload])
        os.kill(descendants(process.pid)[-1], signal.SIGKILL)
        assert process.wait(30) == 0
        assert process.stdout.read() == b""

    assert hook.stored() == [payload]
    assert hook.turned_away() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="finds cat through /proc")
def test_cat_killed_before_its_first_byte_counts_and_leaves_no_file(hook: Hook) -> None:
    process = hook.start()
    with process:
        assert poll(lambda: hook.stored() == [b""])
        assert poll(lambda: len(descendants(process.pid)) == 2)
        os.kill(descendants(process.pid)[-1], signal.SIGKILL)
        assert process.wait(30) == 0
        assert process.stdout.read() == b""

    assert hook.files() == []
    assert hook.turned_away() == 1


def test_file_drained_before_the_hook_looks_back_is_not_counted(hook: Hook) -> None:
    process = hook.start()
    with process:
        process.stdin.write(b"{}\n")
        process.stdin.flush()
        assert poll(lambda: hook.stored() == [b"{}\n"])
        hook.files()[0].unlink()
        process.stdin.close()
        assert process.wait(30) == 0

    assert hook.files() == []
    assert hook.turned_away() == 0
