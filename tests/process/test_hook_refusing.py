"""When a hook keeps nothing: it says nothing, ends at once with 0, and counts what it can count."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.hook_runner import SHELLS, Hook, assert_harmless, make_hook


@pytest.fixture(params=SHELLS)
def hook(request: pytest.FixtureRequest, tmp_path: Path) -> Hook:
    made = make_hook(request.param, tmp_path)
    return made or pytest.skip(f"{request.param} is not installed")


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    return path


def test_disabled_file_makes_the_hook_store_and_count_nothing(hook: Hook) -> None:
    (hook.state / "disabled").touch()

    assert_harmless(hook.run(b"{}\n"))

    assert hook.files() == []
    assert hook.turned_away() == 0


@pytest.mark.parametrize(
    "value", ["false", "False", "FALSE", "0", "no", "No", "NO", "off", "Off", "OFF", "oFf"]
)
def test_tracking_switched_off_by_variable_stores_nothing(hook: Hook, value: str) -> None:
    assert_harmless(hook.with_env(PATTERN_TRACKING_ENABLED=value).run(b"{}\n"))

    assert hook.files() == []
    assert hook.turned_away() == 0


@pytest.mark.parametrize("value", ["", "true", "1", "yes", "on", "00", "nope", "*", "$(exit 2)"])
def test_any_other_value_of_the_variable_stores(hook: Hook, value: str) -> None:
    assert_harmless(hook.with_env(PATTERN_TRACKING_ENABLED=value).run(b"{}\n"))

    assert hook.stored() == [b"{}\n"]


def test_disabled_hook_ends_without_reading(hook: Hook) -> None:
    (hook.state / "disabled").touch()
    process = hook.start()

    with process:
        assert process.wait(30) == 0
        assert process.stdout.read() == b""


def test_full_flag_makes_the_hook_count_only(hook: Hook) -> None:
    (hook.state / "full").touch()

    for _ in range(3):
        assert_harmless(hook.run(b"{}\n"))

    assert hook.files() == []
    assert hook.turned_away() == 3


@pytest.mark.parametrize("state", ["", "relative", "./here", "../up", "~/state", "~", "~root", "-"])
def test_state_directory_that_is_not_absolute_records_nothing(
    hook: Hook, empty: Path, state: str
) -> None:
    for name in ("relative/spool", "here/spool", "~/state/spool", "-/spool"):
        (empty / name).mkdir(parents=True)
    before = sorted(empty.rglob("*"))

    assert_harmless(hook.run(b"{}\n", cwd=empty, state=state))
    assert_harmless(hook.run(b"{}\n", "session_start.sh", cwd=empty, state=state))

    assert sorted(empty.rglob("*")) == before
    assert list(Path(os.environ["HOME"]).iterdir()) == []


def test_missing_argument_records_nothing(hook: Hook, empty: Path) -> None:
    for script in ("capture.sh", "session_start.sh"):
        command = [str(hook.shell), str(hook.scripts / script)]
        done = subprocess.run(command, input=b"{}", capture_output=True, cwd=empty, check=False)
        assert_harmless(done)
    assert list(empty.iterdir()) == []


def test_missing_state_directory_is_not_made(hook: Hook, tmp_path: Path) -> None:
    missing = tmp_path / "gone" / "state"

    assert_harmless(hook.run(b"{}\n", state=str(missing)))

    assert not missing.parent.exists()


def test_state_directory_that_is_a_file_records_nothing(hook: Hook, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"mine")

    assert_harmless(hook.run(b"{}\n", state=str(tmp_path / "plain")))

    assert (tmp_path / "plain").read_bytes() == b"mine"


def test_spool_that_is_a_file_counts(hook: Hook) -> None:
    (hook.state / "spool").write_bytes(b"mine")

    assert_harmless(hook.run(b"{}\n"))

    assert (hook.state / "spool").read_bytes() == b"mine"
    assert hook.turned_away() == 1


def test_counter_that_does_not_exist_is_not_made(hook: Hook) -> None:
    (hook.state / "turned-away").unlink()
    (hook.state / "full").touch()

    assert_harmless(hook.run(b"{}\n"))

    assert [path.name for path in hook.state.iterdir()] == ["full"]


def test_empty_stdin_counts_and_leaves_no_file(hook: Hook) -> None:
    assert_harmless(hook.run(b""))

    assert hook.files() == []
    assert hook.turned_away() == 1


def test_closed_stdin_counts_and_leaves_no_file(hook: Hook) -> None:
    command = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *hook.command()]

    done = subprocess.run(command, capture_output=True, env=dict(hook.env), check=False)

    assert_harmless(done)
    assert hook.files() == []
    assert hook.turned_away() == 1


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_outputs_do_not_keep_the_payload_from_being_stored(hook: Hook, closing: str) -> None:
    command = ["/bin/sh", "-c", f'exec "$@" {closing}', "sh", *hook.command()]

    done = subprocess.run(
        command, input=b"{}\n", capture_output=True, env=dict(hook.env), check=False
    )

    assert_harmless(done)
    assert hook.stored() == [b"{}\n"]


def test_directory_as_stdin_counts_and_leaves_no_file(hook: Hook, empty: Path) -> None:
    descriptor = os.open(empty, os.O_RDONLY)

    assert_harmless(hook.run(stdin=descriptor))

    os.close(descriptor)
    assert hook.files() == []
    assert hook.turned_away() == 1


def test_terminal_as_stdin_ends_at_once(hook: Hook) -> None:
    leader, follower = os.openpty()

    assert_harmless(hook.run(stdin=follower))

    os.close(leader)
    os.close(follower)
    assert hook.files() == []


def test_empty_environment_stores(hook: Hook) -> None:
    assert_harmless(hook.run(b"{}\n", env={}))

    assert hook.stored() == [b"{}\n"]


@pytest.mark.parametrize("path", ["", "/nonexistent", ":"])
def test_useless_path_stores_and_makes_the_spool(hook: Hook, path: str) -> None:
    assert_harmless(hook.with_env(PATH=path).run(b"{}\n"))

    assert hook.stored() == [b"{}\n"]


def test_deleted_working_directory_does_not_matter(hook: Hook, empty: Path) -> None:
    command = ["/bin/sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *hook.command()]

    done = subprocess.run(
        command, input=b"{}\n", stdout=subprocess.PIPE, env=dict(hook.env), cwd=empty, check=False
    )

    assert (done.returncode, done.stdout) == (0, b"")
    assert hook.stored() == [b"{}\n"]


@pytest.mark.parametrize("script", ["capture.sh", "session_start.sh"])
def test_deleted_script_is_silent(hook: Hook, script: str) -> None:
    shutil.rmtree(hook.scripts)

    assert_harmless(hook.run(b"{}\n", script))


def test_deleted_capture_leaves_session_start_silent(hook: Hook) -> None:
    (hook.scripts / "capture.sh").unlink()

    assert_harmless(hook.run(b"{}\n", "session_start.sh"))


@pytest.mark.parametrize("script", ["capture.sh", "session_start.sh"])
def test_script_that_lost_its_run_bit_is_silent(hook: Hook, script: str) -> None:
    (hook.scripts / script).chmod(0o644)

    assert_harmless(hook.run(b"{}\n", script))


def test_hostile_variables_run_nothing_and_the_payload_is_stored(
    hook: Hook, tmp_path: Path, empty: Path
) -> None:
    tools = tmp_path / "evil"
    tools.mkdir()
    for name in ("cat", "mkdir", "rm", "env", "printf", "test", "[", "sh"):
        (tools / name).write_text(f"#!/bin/sh\n/bin/touch '{empty}/pwned'\n")
        (tools / name).chmod(0o755)
    hostile = hook.with_env(
        PATH=str(tools),
        IFS="/.abcdefghijklmnopqrstuvwxyz",
        CDPATH="/tmp:/usr",
        ENV=str(tools / "cat"),
        PYTHONPATH=str(tools),
        PYTHONSTARTUP=str(tools / "cat"),
        LC_ALL="xx_XX.nonsense",
        bin=f"{tools}/",
        file="/etc/passwd",
        opened="yes",
        retried="yes",
        count="a[$(touch pwned)]",
        rc="200",
        **{"BASH_FUNC_cat%%": f"() {{ /bin/touch '{empty}/pwned'; }}"},
    )

    result = hostile.run(b"{}\n", cwd=empty)

    assert (result.returncode, result.stdout) == (0, b"")  # bash complains of the locale by itself
    assert hook.stored() == [b"{}\n"]
    assert list(empty.iterdir()) == []


def without_cat(hook: Hook, path: str, empty: Path) -> subprocess.CompletedProcess[bytes]:
    """Runs the hook where neither /bin/cat nor /usr/bin/cat can be executed, as on NixOS."""
    hide = 'for f in /bin/cat /usr/bin/cat; do mount --bind "$1" "$f" || exit 9; done; shift; '
    plain = empty / "not-executable"
    plain.touch(mode=0o644)
    namespace = ["unshare", "--mount", "--map-root-user"]
    script = [*namespace, "/bin/sh", "-c", hide + 'PATH=$1; shift; exec "$@"', "sh", str(plain)]
    if not can_hide_cat(script):
        pytest.skip("needs the right to make mount namespaces")
    return subprocess.run(
        [*script, path, *hook.command()],
        input=b"{}\n",
        capture_output=True,
        env=dict(hook.env),
        check=False,
    )


def can_hide_cat(script: list[str]) -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run([*script, "", "/bin/true"], capture_output=True, check=False).returncode == 0
    )


def test_cat_that_only_path_knows_is_found(hook: Hook, tmp_path: Path, empty: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cat", "mkdir"):
        shutil.copy(shutil.which(name) or name, tools / name)

    assert_harmless(without_cat(hook, str(tools), empty))

    assert hook.stored() == [b"{}\n"]


def test_cat_that_is_nowhere_counts_and_leaves_no_file(hook: Hook, empty: Path) -> None:
    (hook.state / "spool").mkdir()

    assert_harmless(without_cat(hook, "/nonexistent", empty))

    assert hook.files() == []
    assert hook.turned_away() == 1
