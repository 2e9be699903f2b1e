"""Answers to what fails: a status, words of ours, never SQL, and never what was sent.

A value that is echoed can break the answer itself: NaN is no JSON, half a surrogate no UTF-8.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from ..analytics import AnalyticsError
from ..error_handling import (
    BusyError,
    ConflictError,
    DeskError,
    ForbiddenError,
    InUseError,
    InvalidValueError,
    MissingReferenceError,
    NotFoundError,
    OutcomeUnknownError,
    ReadOnlyError,
    StaleError,
    TimedOutError,
    UnavailableError,
)
from ..pagination import CursorError
from ..search import SearchError
from .schemas import Problem

log = logging.getLogger(__name__)

STATUSES: dict[type[DeskError], HTTPStatus] = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    StaleError: HTTPStatus.PRECONDITION_FAILED,
    ConflictError: HTTPStatus.CONFLICT,
    InUseError: HTTPStatus.CONFLICT,
    InvalidValueError: HTTPStatus.UNPROCESSABLE_ENTITY,
    MissingReferenceError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    ReadOnlyError: HTTPStatus.SERVICE_UNAVAILABLE,
    TimedOutError: HTTPStatus.GATEWAY_TIMEOUT,
    # No Retry-After: who simply repeats it may store it twice.
    OutcomeUnknownError: HTTPStatus.BAD_GATEWAY,
    DeskError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
RETRY_SECONDS = 1
DETAILS = 20
"""Faults that are told of one request: an import may have thousands."""

ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": HTTPStatus(status).phrase}
    for status in (400, 403, 404, 409, 413, 422, 500, 502, 503, 504)
}
"""What the OpenAPI document says of failures, for every operation."""


def status_of(error: DeskError) -> HTTPStatus:
    """The status of the nearest class that has one."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def problem(
    request: Request,
    status: int,
    message: str,
    *,
    fields: Sequence[str] = (),
    incident: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An answer with a ``Problem``."""
    request_id = request.state.request_id
    shown = Problem(
        message=message, fields=list(fields), request_id=request_id, incident=incident
    ).model_dump()
    # json.dumps escapes what is not ASCII: no character can fail to be encoded.
    return Response(json.dumps(shown), status, headers, "application/json")


async def tell_desk_error(request: Request, error: Exception) -> Response:
    """A ``DeskError`` as it is: its text is ours.  The log has the rest under its incident."""
    assert isinstance(error, DeskError)
    status = status_of(error)
    retry = {"Retry-After": str(RETRY_SECONDS)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    log.info("request %s: %d, incident %s", request.state.request_id, status, error.incident)
    return problem(
        request, status, str(error), fields=error.fields, incident=error.incident, headers=retry
    )


async def tell_value_error(request: Request, error: Exception) -> Response:
    """A search, a cursor or a period that cannot be; the text says what was expected."""
    return problem(request, 422, str(error))


async def tell_invalid_request(request: Request, error: Exception) -> Response:
    """Which fields were refused and why, without their values."""
    assert isinstance(error, RequestValidationError)
    fields = [
        # A name may be the client's own: the one of a field that we do not know.
        "".join(c if c.isprintable() else "?" for c in ".".join(map(str, fault["loc"]))[:100])
        + f": {fault['msg']}"
        for fault in error.errors()[:DETAILS]
    ]
    return problem(request, 422, "Not a valid request", fields=fields)


async def tell_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: no such path or method, a body that cannot be read."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    return problem(request, error.status_code, str(error.detail), headers=headers)


async def tell_unexpected(request: Request, _error: Exception) -> Response:
    """A mistake of ours.  Starlette raises it again behind the answer, so that it is logged."""
    # Sent from outside of the middleware that names every other answer.
    headers = {"X-Request-ID": request.state.request_id}
    return problem(request, 500, "Something went wrong", headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Let *app* answer so."""
    app.add_exception_handler(DeskError, tell_desk_error)
    for kind in (SearchError, CursorError, AnalyticsError):
        app.add_exception_handler(kind, tell_value_error)
    app.add_exception_handler(RequestValidationError, tell_invalid_request)
    app.add_exception_handler(HTTPException, tell_http_error)
    app.add_exception_handler(Exception, tell_unexpected)
