"""Runs the embedded intelligence API as a child process, for as long as it is needed.

The child ends by itself when its standard input reaches end of file, which is
what happens when this process dies, however it dies: no orphan is left.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from pattern_tracker.errors import EmbeddedApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pattern_tracker.state_dir import StateDir

# How the child begins its first line once it serves.
READY: Final = "listening on "

START_TIMEOUT_SECONDS: Final = 20.0
START_ATTEMPTS: Final = 3
STOP_TIMEOUT_SECONDS: Final = 5.0
OUTPUT_KEPT_BYTES: Final = 4096


class EmbeddedApi:
    """One run of the embedded API; use as an async context manager or start and stop it."""

    def __init__(self, state_dir: StateDir, *, log: Callable[[str], None] = lambda _: None) -> None:
        """`log` is given each line that the child prints once it serves."""
        self._state_dir = state_dir
        self._log = log
        # The child, from `start` until it has been waited for.
        self._process: asyncio.subprocess.Process | None = None
        # Reads what the child prints, so that it never blocks on a full pipe.
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def start(self) -> Self:
        """Start the child and wait until it serves.

        Raises:
            EmbeddedApiError: it ended or did not say that it is ready; with what it printed.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "pattern_intelligence",
            "serve",
            "--socket",
            str(self._state_dir.intelligence_socket),
            "--database",
            str(self._state_dir.intelligence_database),
            "--until-stdin-closes",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Its own session: a Ctrl-C for this process must not reach it before its work is done.
            start_new_session=True,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(self._state_dir.root)},
        )
        try:
            said = await asyncio.wait_for(self._first_line(), START_TIMEOUT_SECONDS)
        except TimeoutError:
            said = f"not ready after {START_TIMEOUT_SECONDS:.0f} s"
        except BaseException:
            await self.stop()
            raise
        if said.startswith(READY):
            self._reader = asyncio.create_task(self._pass_on_output(self._process))
            return self
        await self.stop()
        raise EmbeddedApiError(
            f"the embedded intelligence API did not start: {said or 'it said nothing'}."
            " Run `pattern-intelligence serve` to see for yourself."
        )

    async def wait(self) -> int:
        """Wait until the child ends; returns its exit status."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """End the child: by closing its standard input, then politely, then for certain."""
        process = self._process
        if process is None:
            return
        if process.stdin:
            process.stdin.close()  # which is what tells it to finish
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_SECONDS)
                break
            except TimeoutError:
                process.send_signal(signal_number)
        await process.wait()
        self._process = None
        if self._reader:
            await self._reader  # the pipe is closed: it ends by itself
            self._reader = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _first_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        text = line.decode(errors="replace").strip()
        if text.startswith(READY):
            return text
        rest = await self._process.stdout.read(OUTPUT_KEPT_BYTES)
        return f"{text} {rest.decode(errors='replace')}".strip()

    async def _pass_on_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the stream's buffer, which is dropped by then
                line = b"(a line too long to show)\n"
            if not line:
                return
            self._log(line.decode(errors="replace").rstrip())


@asynccontextmanager
async def serving(state_dir: StateDir) -> AsyncIterator[None]:
    """The embedded API inside the block: the one that serves already, or a child for as long.

    Raises:
        EmbeddedApiError: none serves, and none could be started.
    """
    async with AsyncExitStack() as stack:
        for attempt in itertools.count(1):
            if await is_serving(state_dir):
                break
            try:
                await stack.enter_async_context(EmbeddedApi(state_dir))
            except EmbeddedApiError:
                # Started at the same moment, others were faster; and perhaps are gone again.
                if attempt == START_ATTEMPTS:
                    raise
            else:
                break
        yield


async def is_serving(state_dir: StateDir) -> bool:
    """Whether something answers on the embedded API's socket."""
    try:
        _, writer = await asyncio.open_unix_connection(str(state_dir.intelligence_socket))
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
