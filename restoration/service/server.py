"""The server behind ``restore-serve``: its parts put together, run, and drained when it is told to stop."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from restoration.priors import EMBEDDED
from restoration.service.app import create_app
from restoration.service.deployment import OnRay, Scale
from restoration.service.jobs import Jobs, Limits
from restoration.service.opening import Bounds
from restoration.service.pool import Pool, Workforce, sources_of
from restoration.service.replica import Asked
from restoration.service.replicas import Replicas
from restoration.service.security import Access, hosts_of, read_tokens
from restoration.service.store import Store

LAST_S = 5
"""Seconds for connections to end once the restorations have."""


@dataclass(frozen=True)
class Settings:
    """What ``restore-serve`` was asked for; see its ``--help``.

    Args:
        keep_s, drain_s: seconds.
        max_store, max_body: bytes.
        batch: None measures which number pays.
        ray: engines are Ray's.
        replicas: how many of them; None is one a GPU, or one a CPU core.
        The rest as the options of their names.
    """

    host: str
    port: int
    priors: tuple[str, ...]
    store: Path
    keep_s: float
    max_store: int
    token_file: Path | None
    allow_hosts: tuple[str, ...]
    max_body: int
    max_pixels: int
    total_pixels: int
    max_nfe: int
    queue: int
    per_client: int
    connections: int
    batch: int | None
    most_priors: int
    device: str
    precision: str
    drain_s: float
    ray: bool = False
    replicas: Scale | None = None


class Server(uvicorn.Server):
    """A server that, told to stop, first keeps its promises.

    Args:
        config: uvicorn's.
        jobs: its restorations.
        drain_s: seconds for deadlines to be kept.
    """

    def __init__(self, config: uvicorn.Config, jobs: Jobs, drain_s: float) -> None:
        super().__init__(config)
        self._jobs, self._drain_s = jobs, drain_s
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, stop at once at the second; a drained process ends with exit code 0."""
        loop = self._jobs.loop
        if self._draining is not None or loop is None or not self.started:
            self.force_exit = self.should_exit
            self.should_exit = True
            return

        async def drain() -> None:
            await self._jobs.drain(self._drain_s)
            self._jobs.let_go()
            self.should_exit = True

        def begin() -> None:
            self._draining = loop.create_task(drain())

        loop.call_soon_threadsafe(begin)


def built(settings: Settings) -> tuple[FastAPI, Jobs]:
    """The app and its restorations.

    Raises:
        RestorationError, ValueError, OSError: what was asked for cannot be had; one line.
    """
    tokens = () if settings.token_file is None else read_tokens(settings.token_file)
    limits = Limits(
        runs=settings.queue,
        per_client=settings.per_client,
        pixels=settings.total_pixels,
        keep_s=settings.keep_s,
        one=Bounds(settings.max_pixels, settings.max_nfe),
    )
    store = Store(settings.store, settings.max_store)  # before engines are started, which takes seconds
    jobs = Jobs(store, _engines(settings), limits)
    access = Access(tokens, hosts_of(settings.host, settings.allow_hosts), settings.max_body)
    return create_app(jobs, access), jobs


def _engines(settings: Settings) -> Workforce:
    """What does the work, here or in a cluster."""
    priors, batch, most = settings.priors or EMBEDDED, settings.batch, settings.most_priors
    if not settings.ray:
        return Pool(priors, device=settings.device, precision=settings.precision, batch=batch, most=most)
    sources = sources_of(priors)
    place = f"{platform.node()} {settings.store.resolve()}"  # what one left in a cluster, its successor replaces
    name = f"restore-serve-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
    asked = Asked(tuple(priors), settings.device, settings.precision, batch, most)
    return Replicas(sources, settings.precision, OnRay(asked, settings.replicas, name))


def run(settings: Settings) -> int:
    """Serve until told to stop; the exit code."""
    app, jobs = built(settings)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((settings.host.strip("[]"), settings.port))
        except OSError as error:
            raise ValueError(f"{settings.host}:{settings.port} cannot be listened at: {error.strerror}") from None
        port = listening.getsockname()[1]
        sys.stderr.write(f"restore-serve: http://{settings.host}:{port}  (Ctrl-C stops)\n")
        sys.stderr.flush()
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            limit_concurrency=settings.connections,
            timeout_graceful_shutdown=LAST_S,
            server_header=False,
            ws="websockets-sansio",
            ws_max_size=1 << 16,
            h11_max_incomplete_event_size=64 << 10,
        )
        Server(config, jobs, settings.drain_s).run([listening])
    return 0
