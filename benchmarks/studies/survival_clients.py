"""A hundred clients of one server, of whom a third read slowly or die in the middle."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from benchmarks.studies.serving import OVER, Asker, Server

EVIL = ("slow reader", "dies while it follows", "dies in its upload", "dies while it waits")
ROUNDING = 1
"""Levels of 255 by which a picture may differ: calls of the network of other sizes round differently."""


@dataclass
class Account:
    """What became of all requests.

    Args:
        accepted, refused: answered with 202, and with 429 or 503.
        lost: accepted, and not done in the end.
        wrong: pictures farther from the same request's alone than rounding.
        exact: pictures that are that request's bit for bit.
        seen: restorations that another client's token could see.
        died: clients that died in the middle, in all rounds; slow: that read slowly.
        nearest: levels by which the two most similar pictures of two clients differ: what tells them apart.
    """

    accepted: int = 0
    refused: int = 0
    lost: int = 0
    wrong: int = 0
    exact: int = 0
    seen: int = 0
    died: int = 0
    slow: int = 0
    nearest: int = 0
    ids: list[tuple[int, str]] = field(default_factory=list)


async def crowd(
    server: Server, tokens: list[str], images: list[bytes], rounds: int, options: dict[str, Any]
) -> Account:
    """Let as many clients as there are tokens ask for so many restorations each, all at the same time."""
    askers = [Asker(server.address, token) for token in tokens]
    alone = []
    for i, asker in enumerate(askers):
        alone.append(await _restored(asker, images[i], i, options))
    told = Account(nearest=min(_levels(a, b) for i, a in enumerate(alone) for b in alone[:i]))
    clients = [_Client(server, askers[i], tokens[i], i, images[i]) for i in range(len(askers))]
    await asyncio.gather(*(client.ask(rounds, options, told) for client in clients))
    for i, id in told.ids:
        known = await _ended(askers[i], id)
        if known["state"] != "done":
            told.lost += 1
            continue
        levels = _levels(await askers[i].image(id), alone[i])
        told.wrong += levels > ROUNDING
        told.exact += levels == 0
        stranger = askers[(i + 1) % len(askers)]
        told.seen += (await stranger.http.get(f"/v1/restorations/{id}")).status_code != 404
    for asker in askers:
        await asker.close()
    return told


async def _restored(asker: Asker, image: bytes, seed: int, options: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The same request alone."""
    id = await asker.submit(image, seed=seed, **options)
    assert id is not None
    await _ended(asker, id)
    return await asker.image(id)


async def _ended(asker: Asker, id: str) -> dict[str, Any]:
    await asker.follow(id)
    known = await asker.known(id)
    assert known is not None
    assert known["state"] in OVER
    return known


@dataclass
class _Client:
    server: Server
    asker: Asker
    token: str
    number: int
    image: bytes

    @property
    def evil(self) -> str | None:
        """What it does to the server; every third does something."""
        return EVIL[self.number // 3 % len(EVIL)] if self.number % 3 == 0 else None

    async def ask(self, rounds: int, options: dict[str, Any], told: Account) -> None:
        """Ask for so many restorations, one after another."""
        for turn in range(rounds):
            await asyncio.sleep(0.05 * (self.number % 10))
            if self.evil in EVIL[2:]:
                told.died += 1
                whole = self.evil == EVIL[3]
                await asyncio.to_thread(_upload_and_die, self.server.port, self.token, self.image, whole=whole)
                continue
            while (id := await self.asker.submit(self.image, seed=self.number, **options)) is None:
                told.refused += 1
                await asyncio.sleep(0.2)
            told.accepted += 1
            told.ids.append((self.number, id))
            if self.evil is None:
                with suppress(httpx.TransportError):
                    await self.asker.follow(id, "?pictures=png" if turn % 2 else "")
            else:
                told.died += self.evil == EVIL[1]
                told.slow += self.evil == EVIL[0]
                await asyncio.to_thread(_read, self.server.port, self.token, id, slowly=self.evil == EVIL[0])


def _connected(port: int, small: bool = False) -> socket.socket:
    connection = socket.socket()
    if small:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    connection.connect(("127.0.0.1", port))
    connection.settimeout(600)
    return connection


def _die(connection: socket.socket) -> None:
    """As a machine that loses power looks from the other end, once it is there again: a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _read(port: int, token: str, id: str, *, slowly: bool) -> None:
    """Follow events with pictures, some bytes at a time; or die after the first ones."""
    connection = _connected(port, small=True)
    head = f"GET /v1/restorations/{id}/events?pictures=png HTTP/1.1\r\nHost: localhost\r\n"
    connection.sendall(f"{head}Authorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode())
    while connection.recv(256) and slowly:
        time.sleep(0.002)
    _die(connection)


def _upload_and_die(port: int, token: str, image: bytes, *, whole: bool) -> None:
    """Send half of a request, or all of one that waits for its answer, and die."""
    connection = _connected(port)
    asked = {"image": base64.b64encode(image).decode(), "task": "denoise", "sigma": 0.1, "outer": 1, "inner": 50}
    body = json.dumps(asked).encode()
    head = f"POST /v1/restorations?wait=60 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + (body if whole else body[: len(body) // 2]))
    time.sleep(0.3)
    _die(connection)


def _levels(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> int:
    return int(np.abs(one - other).max())
