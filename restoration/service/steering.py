"""The routes by which a restoration is steered: candidates chosen, previews changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from restoration.service.documentation import EDIT, refusals
from restoration.service.job import Job
from restoration.service.jobs import Jobs
from restoration.service.schema import Choice, Restoration
from restoration.service.uploads import received_edit


def add_steering(
    router: APIRouter,
    jobs: Jobs,
    found: Callable[[Request, str], Awaitable[Job]],
    answer: Callable[[Job, int], Response],
) -> None:
    """Add them to the routes of restorations.

    Args:
        router: of restorations.
        jobs: of the server.
        found: the client's restoration of that id.
        answer: what is told of one, with that status.
    """

    @router.post(
        "/{id}/choose",
        status_code=202,
        response_model=Restoration,
        summary="Keep candidates",
        description="Of a restoration with `candidates` that waits: others are forked from those that are kept, "
        "and run to the next preview. The last preview's one is the result.",
        responses=refusals(400, 403, 404, 409, 413, 422, 429, 503, 507),
    )
    async def choose(request: Request, id: str, asked: Annotated[Choice, Body()]) -> Response:
        waiting = await found(request, id)
        return answer(await jobs.choose(waiting, asked.keep, asked.nfe, request.scope["asker"]), 202)

    @router.post(
        "/{id}/edit",
        status_code=202,
        response_model=Restoration,
        summary="Go on from a changed preview",
        description="Of a candidate, which is kept thereby, or of the result of a run that has ended.",
        responses=refusals(400, 403, 404, 408, 409, 413, 415, 422, 429, 503, 507),
        openapi_extra=EDIT,
    )
    async def edit(request: Request, id: str) -> Response:
        standing = await found(request, id)
        changed = await received_edit(request)
        return answer(await jobs.edit(standing, changed, request.scope["asker"]), 202)
