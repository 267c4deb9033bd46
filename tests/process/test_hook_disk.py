"""Disks that take no more: the hook leaves nothing torn behind and counts where it can.

The small disks are mounted in a mount namespace that only a waiting process has, and are reached
through its /proc/PID/root: nothing is mounted where other programs could see it.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hook_runner import SHELLS, Hook, assert_harmless, make_hook

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = 'mount -t tmpfs -o "$1" tmpfs "$2" && mkdir "$2/spool" && printf . >"$2/turned-away" && '
HOLD += '{ [ -z "$3" ] || mount -o "remount,$3" "$2"; } && echo ready && read -r _'


@pytest.fixture(params=SHELLS)
def hook(request: pytest.FixtureRequest, tmp_path: Path) -> Hook:
    made = make_hook(request.param, tmp_path)
    return made or pytest.skip(f"{request.param} is not installed")


@contextmanager
def small_disk(hook: Hook, options: str, *, remount: str = "") -> Iterator[Hook]:
    """The hook with its state directory on a tmpfs made with `options`."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("needs Linux mount namespaces")
    holder = ["unshare", "--mount", "--map-root-user", "/bin/sh", "-c", HOLD, "sh"]
    with subprocess.Popen(
        [*holder, options, str(hook.state), remount],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            if process.stdout.readline() != b"ready\n":
                pytest.skip("not permitted to mount a tmpfs")
            # unshare and the shell are one process: both replace themselves.
            yield hook.at(Path(f"/proc/{process.pid}/root{hook.state}"))
        finally:
            process.stdin.close()


def test_full_disk_leaves_no_torn_file_and_counts(hook: Hook) -> None:
    with small_disk(hook, "size=64k") as on_disk:
        for _ in range(3):
            assert_harmless(on_disk.run(b"x" * 100_000))

        assert on_disk.files() == []
        assert on_disk.turned_away() == 3


def test_disk_without_one_free_block_counts_and_recovers(hook: Hook) -> None:
    with small_disk(hook, "size=64k") as on_disk:
        filler = on_disk.state / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        for _ in range(3):
            assert_harmless(on_disk.run(b"{}\n"))
        assert on_disk.files() == []
        assert on_disk.turned_away() == 3

        filler.unlink()
        assert_harmless(on_disk.run(b"{}\n"))
        assert on_disk.stored() == [b"{}\n"]


def test_disk_out_of_inodes_counts_and_keeps_what_was_stored(hook: Hook) -> None:
    with small_disk(hook, "size=1m,nr_inodes=8") as on_disk:
        for _ in range(10):
            assert_harmless(on_disk.run(b"{}\n"))

        assert 0 < len(on_disk.files()) < 8
        assert set(on_disk.stored()) == {b"{}\n"}
        assert len(on_disk.files()) + on_disk.turned_away() == 10


def test_read_only_disk_stores_and_counts_nothing(hook: Hook) -> None:
    with small_disk(hook, "size=64k", remount="ro") as on_disk:
        assert_harmless(on_disk.run(b"{}\n"))
        assert_harmless(on_disk.run(b"{}\n", "session_start.sh"))

        assert on_disk.files() == []
        assert on_disk.turned_away() == 0


def test_file_size_limit_never_leaves_more_than_a_torn_file(hook: Hook) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    assert_harmless(hook.run(b'{"x": "' + b"x" * 100_000 + b'"}', preexec_fn=limit))
    assert_harmless(hook.run(b"{}\n"))

    # The signal kills cat: a torn file is left to the drainer, which counts it as quarantined.
    assert sorted(len(content) for content in hook.stored()) == [3, 4096]
    assert hook.turned_away() == 0
