"""Around every endpoint: who may ask, how often, and how a refusal is worded.

A refusal has one shape, whatever its status: `success` false, `error` for a reader,
`metadata.error_type` for a program, and `detail` (the same text) for clients of the
public service, which words some refusals that way.
"""

from __future__ import annotations

import hmac
import logging
import math
from typing import TYPE_CHECKING, Final

from aiohttp import web

from pattern_intelligence.contract import MAX_BODY_BYTES, SCHEMA_ERROR
from pattern_intelligence.errors import (
    EventRefusedError,
    RequestRefusedError,
    StoreUnavailableError,
)
from pattern_intelligence.handlers import PREFIX, json_response

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from pattern_intelligence.rate_limit import RateLimiter
    from pattern_tracker.clock import Clock

_log = logging.getLogger(__name__)

_STATUS_ERROR_TYPES: Final = {404: "no_such_endpoint", 405: "method_not_allowed"}


def refusal(error: str, *, error_type: str, status: int) -> web.Response:
    """The answer to what was not done."""
    return json_response(
        {
            "success": False,
            "error": error,
            "detail": error,
            "metadata": {"error_type": error_type},
        },
        status=status,
    )


@web.middleware
async def word_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every expected exception into an answer; outermost."""
    try:
        return await handler(request)
    except EventRefusedError as error:
        status = 422 if error.error_type == SCHEMA_ERROR else 400
        return refusal(error.error, error_type=error.error_type, status=status)
    except RequestRefusedError as error:
        return refusal(error.error, error_type=error.error_type, status=error.status)
    except StoreUnavailableError as error:
        _log.warning("%s %s: %s", request.method, request.path, error)
        return refusal(str(error), error_type=error.error_type, status=503)
    except web.HTTPRequestEntityTooLarge:
        return _too_large()
    except web.HTTPException as error:
        error_type = _STATUS_ERROR_TYPES.get(error.status, "http_error")
        answer = refusal(
            f"{request.path}: {error.reason}", error_type=error_type, status=error.status
        )
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer


@web.middleware
async def refuse_large_bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer an announced large body before it is sent."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        return _too_large()
    return await handler(request)


def _too_large() -> web.Response:
    return refusal(
        f"The body is over {MAX_BODY_BYTES} bytes. Send smaller batches.",
        error_type="body_too_large",
        status=413,
    )


def require_token(token: str) -> Middleware:
    """Admit only `Authorization: Bearer <token>`; the comparison takes constant time."""
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if hmac.compare_digest(given, expected):
            return await handler(request)
        answer = refusal(
            "Send the token of this service as `Authorization: Bearer <token>`.",
            error_type="unauthorized",
            status=401,
        )
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    return check_token


def limit_rate(limiter: RateLimiter, *, clock: Clock) -> Middleware:
    """Answer 429 with Retry-After (whole seconds) once the bucket is empty.

    Health is never limited: it is asked to find out whether to send less.
    """

    @web.middleware
    async def check_rate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(f"{PREFIX}/lineage"):
            return await handler(request)
        wait_seconds = limiter.admit(clock.monotonic())
        if not wait_seconds:
            return await handler(request)
        answer = refusal("Rate limit exceeded", error_type="rate_limited", status=429)
        answer.headers["Retry-After"] = str(math.ceil(wait_seconds))
        return answer

    return check_rate
