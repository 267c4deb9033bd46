"""At the end of a turn the spool's size is looked at, without anybody waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hook_runner import SHELLS, Hook, assert_harmless, make_hook, poll

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=SHELLS)
def hook(request: pytest.FixtureRequest, tmp_path: Path) -> Hook:
    made = make_hook(request.param, tmp_path)
    return made or pytest.skip(f"{request.param} is not installed")


@pytest.fixture(params=["turn_end.sh", "session_start.sh"])
def script(request: pytest.FixtureRequest) -> str:
    return request.param


def test_spool_under_the_cap_is_stored_and_raises_no_flag(hook: Hook) -> None:
    assert_harmless(hook.run(b'{"a":1}\n', "turn_end.sh"))
    check = hook.run(b"", "check_cap.sh")

    assert_harmless(check)
    assert hook.stored() == [b'{"a":1}\n']
    assert not (hook.state / "full").exists()


def test_spool_over_the_cap_raises_the_flag_and_hooks_only_count(hook: Hook, script: str) -> None:
    (hook.state / "cap-kib").write_text("8\n")
    (hook.state / "spool").mkdir(mode=0o700)
    (hook.state / "spool" / "old.json").write_bytes(b"x" * 20_000)

    assert_harmless(hook.run(b'{"a":1}\n', script))

    assert poll((hook.state / "full").exists)
    assert_harmless(hook.run(b'{"a":2}\n'))
    assert hook.turned_away() == 1
    assert b'{"a":1}\n' in hook.stored()


@pytest.mark.parametrize("cap", ["", "many", "-1", "1 2", "$(touch /tmp/never)"])
def test_cap_that_is_no_number_raises_no_flag(hook: Hook, cap: str) -> None:
    (hook.state / "cap-kib").write_text(cap)
    (hook.state / "spool").mkdir(mode=0o700)
    (hook.state / "spool" / "old.json").write_bytes(b"x" * 20_000)

    assert_harmless(hook.run(b"", "check_cap.sh"))

    assert not (hook.state / "full").exists()


@pytest.mark.parametrize("state", ["", "relative", "~/quoted", "/nonexistent/state"])
def test_unusable_state_directory_does_nothing(hook: Hook, state: str) -> None:
    assert_harmless(hook.run(b"{}", "turn_end.sh", state=state))
    assert_harmless(hook.run(b"", "check_cap.sh", state=state))
