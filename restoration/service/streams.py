"""Events over the wire, server-sent or over a WebSocket: no buffer a client, so that none can be filled."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from restoration.service.job import Job, Told
from restoration.service.problems import ProblemError
from restoration.service.showing import Showing

ALIVE_EVERY_S = 15.0
"""Seconds of silence after which a comment is sent, so that nothing between takes the connection for dead."""
SLOWEST_S = 60.0
"""Seconds that a client may take to receive what was sent, until it is let go: it can resume."""


async def told(
    job: Job, after: int, media_type: str | None = None, showing: Showing | None = None
) -> AsyncIterator[Told | None]:
    """The events of a job as they come, from the one after a number on; None where nothing has come for a while.

    A client that is slow is told what is newest when it listens again: previews in between are left out, complete
    ones and results never are.

    Args:
        job: that is followed.
        after: the number of the last event that the client has had; 0 for none.
        media_type: of pictures that come with previews and results, in base64; None: only where they are.
        showing: what makes them.
    """
    seen: Told | None = None
    while True:
        since = job.version
        found = job.after(after, seen)
        for event in found:
            if event.seq is None:
                seen = event
            else:
                after = event.seq
            yield (
                event
                if media_type is None or showing is None or event is not found[-1]
                else await _with_picture(job, event, media_type, showing)
            )
        if job.removed or (job.over and not job.after(after, seen)):
            return
        if not found:
            yield None
        await job.changed(ALIVE_EVERY_S, since)


async def _with_picture(job: Job, event: Told, media_type: str, showing: Showing) -> Told:
    if event.kind not in ("preview", "result"):
        return event
    told = json.loads(event.data)
    with suppress(KeyError, OSError, ProblemError):
        content = await showing.picture(job, told["href"].rpartition("=")[2], media_type)
        told |= {"media_type": media_type, "picture": base64.b64encode(content).decode()}
    return Told(event.seq, event.kind, json.dumps(told))


class EventStream(StreamingResponse):
    """Server-sent events of a job.

    Args:
        events: of :func:`told`.
        gone: called once nobody follows any more.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[Told | None], gone: Callable[[], object]) -> None:
        self._gone = gone
        super().__init__(_lines(events), headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # also where the client has left before the first line
            self._gone()

    async def stream_response(self, send: Send) -> None:
        async def in_time(message: object) -> None:
            async with asyncio.timeout(SLOWEST_S):
                await send(message)  # type: ignore[arg-type]

        with suppress(TimeoutError):  # the connection is closed, and the client comes again
            await super().stream_response(in_time)


async def _lines(events: AsyncIterator[Told | None]) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    async for event in events:
        if event is None:
            yield ": waiting\n\n"
            continue
        id = "" if event.seq is None else f"id: {event.seq}\n"
        yield f"{id}event: {event.kind}\ndata: {event.data}\n\n"


async def over_websocket(socket: WebSocket, events: AsyncIterator[Told | None]) -> None:
    """Send events as JSON texts, {"id": …, "event": …, "data": …}, and close; what is sent here is left unread."""
    await socket.accept()

    async def send() -> None:
        async for event in events:
            if event is not None:
                message = f'{{"id": {json.dumps(event.seq)}, "event": "{event.kind}", "data": {event.data}}}'
                async with asyncio.timeout(SLOWEST_S):
                    await socket.send_text(message)
        await socket.close()

    async def listen() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    tasks = [asyncio.ensure_future(send()), asyncio.ensure_future(listen())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            with suppress(WebSocketDisconnect, TimeoutError, RuntimeError):
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
