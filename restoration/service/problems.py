"""Errors as problem details (RFC 9457), with the sentences that the command says."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from restoration.commands.console import mendable

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger("restoration.service")


class Problem(BaseModel):
    """What went wrong, for programs and for people."""

    type: str = Field(
        "about:blank", description="A URI of the kind of problem; about:blank where the status says it."
    )
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="One sentence that says what to mend, as the command `restore` says it.")


class ProblemError(Exception):
    """A request that cannot be answered as it was meant.

    Args:
        status: of HTTP.
        detail: one sentence that says what to mend.
        headers: more of the answer, such as Retry-After.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=" ".join(detail.split()))
    return JSONResponse(problem.model_dump(), status, dict(headers or {}), MEDIA_TYPE)


def from_error(error: Exception, status: int = 422) -> ProblemError:
    """The problem that an error of the user's is; the error itself, raised again, where it is ours."""
    message = mendable("restore-serve", error)
    if message is None or isinstance(error, OSError):
        raise error
    return ProblemError(status, message)


def on_problem(request: Request, error: Exception) -> Response:
    """How an app answers a :class:`ProblemError`."""
    assert isinstance(error, ProblemError)
    return response(error.status, error.detail, error.headers)


def on_http(request: Request, error: Exception) -> Response:
    """How an app answers what the framework refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    said = f"{request.method} {request.url.path}: {error.detail}"
    return response(
        error.status_code, said if error.status_code in (404, 405) else str(error.detail), error.headers
    )


def on_bug(request: Request, error: Exception) -> Response:
    """How an app answers what should not have happened; what it was stays in the log."""
    _log.error("%s %s", request.method, request.url.path, exc_info=error)
    return response(500, "something went wrong here, not in what was asked; the server's log tells what")
