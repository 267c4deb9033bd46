"""Waiting for requests in hand."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from pattern_intelligence.in_hand import RequestsInHand


async def test_finish_without_requests_returns_at_once() -> None:
    await RequestsInHand().finish(timeout_seconds=60)


async def test_finish_waits_for_the_answer_and_closes_its_connection() -> None:
    in_hand = RequestsInHand()
    go_on = asyncio.Event()

    async def handler(_request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.Response()

    request = make_mocked_request("GET", "/")
    answering = asyncio.create_task(in_hand.watch(request, handler))
    await asyncio.sleep(0)
    finishing = asyncio.create_task(in_hand.finish(timeout_seconds=60))
    await asyncio.sleep(0)
    assert not finishing.done()
    go_on.set()
    await finishing
    assert (await answering).keep_alive is False


async def test_finish_gives_up_on_a_client_that_stopped_sending() -> None:
    in_hand = RequestsInHand()

    async def handler(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    answering = asyncio.create_task(in_hand.watch(make_mocked_request("GET", "/"), handler))
    await asyncio.sleep(0)
    await in_hand.finish(timeout_seconds=0)
    answering.cancel()
