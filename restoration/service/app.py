"""The service as an ASGI app: its routes, its page, and what it tells of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from restoration.service import problems
from restoration.service.documentation import described, refusals
from restoration.service.jobs import Jobs
from restoration.service.problems import ProblemError
from restoration.service.restorations import router_of
from restoration.service.schema import Health, PriorFacts, TaskFacts, sentence_of
from restoration.service.security import Access, Guard
from restoration.tasks import KINDS
from restoration.tasks.published import Published
from restoration.version import own_version

PAGE = Path(__file__).parent / "page"


def create_app(jobs: Jobs, access: Access) -> FastAPI:
    """The service.

    Args:
        jobs: the restorations, not started yet.
        access: who is let in.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await jobs.start()
        yield
        await jobs.close()

    version = own_version()
    app = FastAPI(
        title="Nested Restoration",
        version=version if version[0].isdigit() else "0",
        summary="Anytime image restoration: a usable picture by your deadline, better ones until you say stop.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_exception_handler(ProblemError, problems.on_problem)
    app.add_exception_handler(HTTPException, problems.on_http)
    app.add_exception_handler(RequestValidationError, _on_parameters)
    app.add_exception_handler(Exception, problems.on_bug)
    app.add_middleware(Guard, access=access)
    app.include_router(router_of(jobs))
    _lists(app, jobs)
    _health(app, jobs)
    app.mount("/", StaticFiles(directory=PAGE, html=True), "page")
    app.openapi = lambda: described(app, bool(access.tokens))  # type: ignore[method-assign]
    return app


def _lists(app: FastAPI, jobs: Jobs) -> None:
    @app.get("/v1/tasks", tags=["lists"], summary="What can be restored")
    async def tasks() -> list[TaskFacts]:
        return TASKS

    @app.get("/v1/priors", tags=["lists"], summary="What clean pictures are known of")
    async def priors() -> list[PriorFacts]:
        return jobs.known_priors()


def _health(app: FastAPI, jobs: Jobs) -> None:
    @app.get("/healthz", tags=["server"], summary="Whether it lives")
    async def healthz() -> Health:
        return Health(status="alive", version=own_version())

    @app.get("/readyz", tags=["server"], summary="Whether it takes restorations", responses=refusals(503))
    async def readyz() -> Health:
        if jobs.draining or not jobs.ready:
            raise ProblemError(503, "about to stop" if jobs.draining else "starting", {"Retry-After": "1"})
        return Health(status="ready", version=own_version())

    @app.get(
        "/metrics",
        tags=["server"],
        summary="For Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def metrics() -> Response:
        return Response(jobs.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


TASKS = [
    TaskFacts(
        name=name,
        help=kind.help,
        takes_mask=kind.takes_mask or "inpaint" in name,
        takes_strokes=kind.takes_strokes,
        needs_sigma=kind.needs_sigma,
        takes_sigma=kind.takes_sigma,
        options=list(kind.options),
        needs=dict(kind.needs),
        simulated_only=kind is Published,
    )
    for kind in KINDS
    for name in kind.names
]


def _on_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = dict(error.errors()[0])
    kind = str(first.get("type"))
    if kind == "json_invalid":
        return problems.response(400, "the body is not JSON")
    return problems.response(422, sentence_of({**first, "loc": tuple(first["loc"])[1:] or ("the body",)}))
