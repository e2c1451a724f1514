"""The routes of restorations: asked for, looked at, followed, stopped, gone on with, forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request, Response, WebSocket
from fastapi.responses import JSONResponse

from restoration.service.documentation import IMAGES, SUBMIT, refusals
from restoration.service.formats import asked_type
from restoration.service.job import Job
from restoration.service.jobs import Jobs
from restoration.service.problems import ProblemError
from restoration.service.schema import More, Restoration, State
from restoration.service.steering import add_steering
from restoration.service.streams import EventStream, over_websocket, told
from restoration.service.uploads import received

GRACE_S = 1.0
"""Seconds beyond ``wait`` for which its answer may be waited for."""
MOST_WAIT_S = 600.0
_OWN = ("wait", "format", "output_quality")

Wait = Annotated[
    float | None,
    Query(gt=0, le=MOST_WAIT_S, description="Answer with the best picture by then, in seconds, and not with 202."),
]
Format = Annotated[str | None, Query(max_length=10, description="png, jpg, webp or tif; goes before Accept.")]
Quality = Annotated[
    int | None, Query(ge=1, le=100, description="Of JPEG, else 95, and of lossy WebP, else lossless.")
]
Accept = Annotated[str | None, Header(description="image/png, image/jpeg, image/webp or image/tiff.")]


def router_of(jobs: Jobs) -> APIRouter:
    """Routes to the restorations of a server."""
    router = APIRouter(prefix="/v1/restorations", tags=["restorations"])

    async def found(request: Request | WebSocket, id: str) -> Job:
        return await jobs.find(id, request.scope["owner"])

    @router.post(
        "",
        status_code=202,
        response_model=Restoration,
        summary="Ask for a restoration",
        responses={
            200: {"description": "With `wait`: the best picture by then.", "content": IMAGES},
            **refusals(400, 406, 408, 413, 415, 422, 429, 503, 504, 507),
        },
        openapi_extra=SUBMIT,
    )
    async def submit(
        request: Request,
        wait: Wait = None,
        format: Format = None,
        output_quality: Quality = None,
        accept: Accept = None,
    ) -> Response:
        media_type = asked_type(accept, format) if wait is not None else ""
        asker = request.scope["asker"]
        query = {name: value for name, value in request.query_params.items() if name not in _OWN}
        with jobs.room(asker):
            upload = await received(request, query)
            if wait is not None:
                asked = upload.options.deadline
                deadline = max(0.9 * wait, wait - 0.1)  # what is left is for the way back
                upload.options.deadline = deadline if asked is None else min(asked, deadline)
            job = await jobs.accept(upload, request.scope["owner"], asker)
        if wait is None:
            return _answer(job, 202)
        job.waited = True
        if not await _reached(request, job, wait + GRACE_S):
            await jobs.remove(job)  # the client has left
            return Response(status_code=204)
        if job.facts.error is not None:
            raise ProblemError(422, job.facts.error)
        if not job.has_picture:
            raise ProblemError(
                504, f"there is no picture yet after {wait:g} s; it goes on: GET /v1/restorations/{job.id}"
            )
        return await _picture(jobs, job, "best", media_type, output_quality, asker)

    @router.get("/{id}", response_model=Restoration, summary="What is known of it", responses=refusals(404))
    async def look(request: Request, id: str) -> Restoration:
        return (await found(request, id)).view()

    @router.delete("/{id}", status_code=204, summary="End and forget it", responses=refusals(403, 404))
    async def forget(request: Request, id: str) -> Response:
        await jobs.remove(await found(request, id))
        return Response(status_code=204)

    @router.post(
        "/{id}/stop",
        status_code=202,
        response_model=Restoration,
        summary="Keep the best so far",
        responses=refusals(403, 404),
    )
    async def stop(request: Request, id: str) -> Response:
        job = await found(request, id)
        jobs.stop(job)
        return _answer(job, 202)

    @router.post(
        "/{id}/more",
        status_code=202,
        response_model=Restoration,
        summary="Do more for it",
        description="A run that was stopped goes on from where it stood, a finished one from half its last level.",
        responses=refusals(400, 403, 404, 409, 413, 422, 429, 503),
    )
    async def more(request: Request, id: str, asked: Annotated[More | None, Body()] = None) -> Response:
        before = await found(request, id)
        job = await jobs.more(before, None if asked is None else asked.nfe, request.scope["asker"])
        return _answer(job, 202)

    add_steering(router, jobs, found, _answer)

    @router.get(
        "/{id}/image",
        summary="A picture of it: the best so far",
        response_class=Response,
        responses={
            200: {"description": "The picture, with its record in its metadata.", "content": IMAGES},
            **refusals(404, 406, 422, 429),
        },
    )
    async def image(
        request: Request,
        id: str,
        show: Annotated[
            str,
            Query(max_length=40, description="best, live (of the newest evaluation), or a name in `pictures`."),
        ] = "best",
        format: Format = None,
        output_quality: Quality = None,
        accept: Accept = None,
    ) -> Response:
        media_type = asked_type(accept, format)
        job = await found(request, id)
        return await _picture(jobs, job, show, media_type, output_quality, request.scope["asker"])

    @router.get(
        "/{id}/events",
        summary="What happens to it, as server-sent events",
        description="Events are queued, planned, preview, candidates, result and error; data is JSON. Previews "
        'with `"complete": false` have no id and are not repeated. The stream ends with candidates, result or '
        "error. The same "
        'address takes a WebSocket: texts {"id": …, "event": …, "data": …}.',
        response_class=Response,
        status_code=200,
        responses={
            200: {"description": "The events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **refusals(404, 422, 429),
        },
    )
    async def events(
        request: Request,
        id: str,
        pictures: Annotated[
            str | None,
            Query(max_length=10, description="png, jpg or webp: pictures come with the events, in base64."),
        ] = None,
        last_event_id: Annotated[str | None, Header(description="Go on after this one.")] = None,
    ) -> EventStream:
        media_type = None if pictures is None else asked_type(None, pictures)
        stream = told(await found(request, id), _number(last_event_id), media_type, jobs.showing)
        return EventStream(stream, _watching(jobs, request))

    @router.websocket("/{id}/events")
    async def socket(socket: WebSocket, id: str, pictures: str | None = None, after: str | None = None) -> None:
        try:
            media_type = None if pictures is None else asked_type(None, pictures)
            job = await found(socket, id)
            gone = _watching(jobs, socket)
        except ProblemError as error:
            await socket.close(1008, error.detail[:120])
            return
        try:
            await over_websocket(socket, told(job, _number(after), media_type, jobs.showing))
        finally:
            gone()

    return router


def _watching(jobs: Jobs, request: Request | WebSocket) -> Callable[[], None]:
    """Count one who follows events, until what is returned is called."""
    asker = request.scope["asker"]
    jobs.showing.watch(asker)
    jobs.metrics.watchers.inc()

    def gone() -> None:
        jobs.showing.gone(asker)
        jobs.metrics.watchers.dec()

    return gone


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 12 else 0


def _answer(job: Job, status: int) -> Response:
    view = job.view()
    return JSONResponse(view.model_dump(mode="json"), status, {"Location": view.links["self"]})


async def _reached(request: Request, job: Job, seconds: float) -> bool:
    """Whether the client is still there once the job has ended, or time is over."""
    end = time.monotonic() + seconds
    while (since := job.version) >= 0 and not job.over and not job.removed and time.monotonic() < end:
        await job.changed(min(0.25, max(end - time.monotonic(), 0.001)), since)
        if await request.is_disconnected():
            return False
    return True


async def _picture(jobs: Jobs, job: Job, name: str, media_type: str, quality: int | None, asker: str) -> Response:
    try:
        content = await jobs.showing.picture(job, name, media_type, quality, asker)
    except (KeyError, ValueError):
        there = ", ".join(["best", "live", *(shown.name for shown in job.facts.pictures)])
        detail = f"there is no picture {name!r} of it: there are {there}"
        if name == "best":
            detail = (
                "there is no picture of it yet" if job.facts.state is not State.FAILED else f"{job.facts.error}"
            )
        raise ProblemError(404, detail) from None
    facts = job.facts
    headers: dict[str, Any] = {
        "Content-Location": f"/v1/restorations/{job.id}/image?show={name}",
        "Restoration-Id": job.id,
        "Restoration-NFE": f"{facts.nfe}/{facts.total_nfe}",
        "Restoration-Stopped-By": facts.stopped_by or "",
        "Vary": "Accept",
    }
    return Response(content, media_type=media_type, headers=headers)
