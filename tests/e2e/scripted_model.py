"""A model that says what a test wrote down: the part of the Messages API that Claude Code needs.

A script is a tree. A `Turn` is one assistant message, text and tool calls; a call made with
`delegate` carries the turns that its subagent plays. The answer to a request follows from the
request alone: the first user message names the conversation, and the number of assistant messages
in it names the turn. A request that is sent again is therefore answered the same, ids included.

Requests without tools (titles, quota checks) get one word. A request beyond the end of the script
is answered in words as well, and counted in `unscripted`: the test decides what that means.
"""

from __future__ import annotations

import json
import sys
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

MODEL = "claude-opus-4-8"
IDLE_CONNECTION_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class ToolUse:
    """One tool call; `subagent` is what the conversation that it starts will say."""

    name: str
    input: dict[str, Any]
    subagent: tuple[Turn, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One assistant message. It ends the conversation if it calls no tool."""

    text: str = ""
    tools: tuple[ToolUse, ...] = ()


def call(tool: str, **tool_input: Any) -> Turn:
    """A turn that calls one tool and says nothing."""
    return Turn(tools=(ToolUse(name=tool, input=tool_input),))


def say(text: str) -> Turn:
    """A turn that only talks, and so ends its conversation."""
    return Turn(text=text)


def delegate(prompt: str, *, turns: Sequence[Turn]) -> Turn:
    """A turn that starts a subagent. `prompt` must be unique in the script: it tells who asks."""
    started = {"description": "side job", "prompt": prompt, "subagent_type": "general-purpose"}
    return Turn(tools=(ToolUse(name="Agent", input=started, subagent=tuple(turns)),))


@dataclass
class Conversation:
    """The turns of one agent, and how many assistant messages it brought from an earlier run."""

    name: str
    turns: tuple[Turn, ...]
    said_before: int | None = None
    played: set[int] = field(default_factory=set)


class ScriptedModel:
    """Plays one script; safe to ask from several threads.

    State: which turns were played, and every request body seen, in order of arrival.
    """

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.unscripted: list[dict[str, Any]] = []
        self._main = Conversation(name="main", turns=tuple(turns))
        self._subagents = {c.name: c for c in _subagent_conversations(turns)}
        self._session = uuid.uuid4().hex[:12]
        self._lock = threading.Lock()

    @property
    def played_out(self) -> bool:
        """Every turn was asked for, and nothing beyond."""
        conversations = [self._main, *self._subagents.values()]
        whole = all(len(c.played) == len(c.turns) for c in conversations)
        return whole and not self.unscripted

    @property
    def main_requests(self) -> list[dict[str, Any]]:
        """Requests of the main conversation that carry tools."""
        return [r for r in self.requests if r.get("tools") and self._asked_by(r) is self._main]

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The assistant message for one request, in the form of the Messages API."""
        with self._lock:
            self.requests.append(request)
            if not request.get("tools"):
                return _message([_text("ok")])
            conversation = self._asked_by(request)
            turn, index = self._next_turn(conversation, request)
        return _message(self._blocks(turn, f"{conversation.name}/{index}"))

    def _asked_by(self, request: dict[str, Any]) -> Conversation:
        opening = _plain_text(request["messages"][0]["content"])
        return next((c for p, c in self._subagents.items() if p in opening), self._main)

    def _next_turn(self, conversation: Conversation, request: dict[str, Any]) -> tuple[Turn, int]:
        said = sum(message["role"] == "assistant" for message in request["messages"])
        if conversation.said_before is None:
            conversation.said_before = said  # a resumed session brings its past along
        index = said - conversation.said_before
        if index >= len(conversation.turns):
            self.unscripted.append(request)
            return say("The script has ended."), index
        conversation.played.add(index)
        return conversation.turns[index], index

    def _blocks(self, turn: Turn, place: str) -> list[dict[str, Any]]:
        spoken = [_text(turn.text)] if turn.text else []
        return spoken + [
            {
                "type": "tool_use",
                "id": self._tool_use_id(f"{place}/{number}"),
                "name": tool.name,
                "input": tool.input,
            }
            for number, tool in enumerate(turn.tools)
        ]

    def _tool_use_id(self, place: str) -> str:
        return f"toolu_01{uuid.uuid5(uuid.NAMESPACE_OID, self._session + place).hex[:22]}"


def _subagent_conversations(turns: Sequence[Turn]) -> Iterator[Conversation]:
    for turn in turns:
        for tool in turn.tools:
            if tool.subagent:
                yield Conversation(name=tool.input["prompt"], turns=tool.subagent)
                yield from _subagent_conversations(tool.subagent)


def _plain_text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text", "") for block in content)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _message(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    calls_a_tool = any(block["type"] == "tool_use" for block in blocks)
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": blocks,
        "stop_reason": "tool_use" if calls_a_tool else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 10},
    }


def event_stream(message: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`message` as the (event name, data) pairs of a streamed answer."""
    opening = message | {"content": [], "stop_reason": None}
    yield "message_start", {"message": opening}
    for index, block in enumerate(message["content"]):
        empty, delta = _as_delta(block)
        yield "content_block_start", {"index": index, "content_block": empty}
        yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": ending, "usage": {"output_tokens": 10}}
    yield "message_stop", {}


def _as_delta(block: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if block["type"] == "text":
        return block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
    spelled_out = json.dumps(block["input"])
    return block | {"input": {}}, {"type": "input_json_delta", "partial_json": spelled_out}


@contextmanager
def serving(model: ScriptedModel, listener: socket.socket) -> Iterator[None]:
    """Answer on `listener`, which this takes over, while the block runs; leaves no thread.

    Raises at the end of the block what the first request that could not be answered raised.
    """
    server = _ModelServer(model, listener)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="scripted-model")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for fault in server.faults:
            raise fault


class _ModelServer(ThreadingHTTPServer):
    daemon_threads = False  # server_close then waits for them: no thread outlives its test

    def __init__(self, model: ScriptedModel, listener: socket.socket) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.model = model
        self.faults: list[BaseException] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what went wrong, but for a client that hung up: Claude Code does when it ends."""
        fault = sys.exception()
        if fault is not None and not isinstance(fault, OSError):
            self.faults.append(fault)


class _Handler(BaseHTTPRequestHandler):
    # HTTP/1.0: every answer ends its connection, so none is left open for teardown to wait on.
    server: _ModelServer
    timeout = IDLE_CONNECTION_SECONDS

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.partition("?")[0] != "/v1/messages":
            self.send_error(404)
            return
        message = self.server.model.answer(body)
        if body.get("stream"):
            self._send_stream(message)
        else:
            self._send("application/json", json.dumps(message).encode())

    def _send_stream(self, message: dict[str, Any]) -> None:
        lines = [
            f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n"
            for name, data in event_stream(message)
        ]
        self._send("text/event-stream", "".join(lines).encode())

    def _send(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Requests are kept by the model; standard error belongs to the test."""
