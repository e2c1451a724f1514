"""Who may ask what: tokens, hosts and origins, bounded bodies, and headers that keep a browser strict."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nested.reading import require_regular
from restoration.service.problems import ProblemError, response

SHORTEST_TOKEN = 16
"""Characters of a token: fewer can be guessed."""
SMALL_BODY = 16 << 10
"""Bytes of a request that brings no picture."""
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_GUARDED = ("/v1/", "/metrics")


@dataclass(frozen=True)
class Access:
    """Who is let in.

    Args:
        tokens: one of them must be shown; empty lets everybody in.
        hosts: names that a request may ask for, without port; empty takes any. A page elsewhere whose name has
            been pointed at this machine asks for another.
        max_body: bytes of a request.
    """

    tokens: tuple[str, ...] = ()
    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    max_body: int = 32 << 20

    def owner(self, token: str | None) -> str | None:
        """The name under which a token's restorations are kept; "" without tokens, None for a wrong one."""
        if not self.tokens:
            return ""
        found = None
        for known in self.tokens:  # all of them: how long it takes tells nothing
            if hmac.compare_digest(known.encode(), (token or "").encode()):
                found = hashlib.sha256(known.encode()).hexdigest()[:16]
        return found


def read_tokens(path: Path) -> tuple[str, ...]:
    """The tokens in a file, one a line; lines that begin with # are left out.

    Raises:
        ValueError: none, one that could be guessed, or no regular file.
        OSError: it cannot be read.
    """
    require_regular(path, 1 << 20)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text") from None
    tokens = tuple(line for line in lines if line and not line.startswith("#"))
    if not tokens:
        raise ValueError(f"{path} holds no token: one a line")
    if any(len(token) < SHORTEST_TOKEN or not token.isascii() or " " in token for token in tokens):
        raise ValueError(
            f"a token in {path} is shorter than {SHORTEST_TOKEN} characters, or has others than ASCII"
        )
    return tokens


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Stands before an app: refuses who may not ask, bounds what is sent, and sets strict headers.

    The owner of what is asked for is in ``scope["owner"]``, and who asks in ``scope["asker"]``.

    Args:
        app: what is guarded.
        access: who is let in.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        owner = self.access.owner(_token(headers)) if path.startswith(_GUARDED) else ""
        status, why = self._refusal(scope, headers, owner)
        if status:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": why[:120]})
                return
            more = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
            await response(status, why, {**HEADERS, **more})(scope, receive, send)
            return
        scope["owner"] = owner
        scope["asker"] = owner or (scope.get("client") or ("",))[0]
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
        else:
            await self.app(scope, _bounded(receive, self._most(path)), _strict(send, path))

    def _refusal(self, scope: Scope, headers: Headers, owner: str | None) -> tuple[int, str]:
        host, hosts = headers.get("host", ""), self.access.hosts
        if hosts and _name(host) not in hosts:
            return 421, f"this server is not {host[:80]!r}: it answers as {', '.join(hosts)} (--allow-host)"
        origin = headers.get("origin")
        acts = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if acts and origin is not None and _host_of(origin) != host.lower():
            return 403, "a page of another origin may not ask for this"
        if owner is None:
            return 401, "this needs a token: Authorization: Bearer TOKEN (restore-serve --token-file)"
        length, most = headers.get("content-length", "0"), self._most(scope["path"])
        if not length.isdecimal():
            return 400, "Content-Length must be a whole number"
        if len(length) > 15 or int(length) > most:
            return 413, _too_large(most)
        return 0, ""

    def _most(self, path: str) -> int:
        """Bytes of a request's body: only what brings pictures may be large."""
        most = self.access.max_body
        return most if path == "/v1/restorations" else min(most, SMALL_BODY)


def _bounded(receive: Receive, most: int) -> Receive:
    come = 0

    async def bounded() -> Message:
        nonlocal come
        message = await receive()
        come += len(message.get("body", b""))
        if come > most:
            raise ProblemError(413, _too_large(most))
        return message

    return bounded


def _too_large(most: int) -> str:
    return (
        f"a request may have at most {most:,} bytes{'' if most == SMALL_BODY else ' (restore-serve --max-body)'}"
    )


def _token(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _host_of(origin: str) -> str | None:
    """The host and port of an Origin header; None where it names none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # "http://["
        return None


def _name(host: str) -> str:
    """A Host header without its port."""
    return (host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host).lower()


def _strict(send: Send, path: str) -> Send:
    async def strict(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            caching = "private, no-store" if path.startswith(_GUARDED) else "no-cache"
            headers.setdefault("Cache-Control", caching)
        await send(message)

    return strict


def hosts_of(host: str, more: Iterable[str]) -> tuple[str, ...]:
    """The names that a server on an address answers to: of this machine, and those named; else any."""
    named = tuple(name.lower() for name in more)
    if not is_loopback(host):
        return named
    own = host.lower() if ":" not in host or host.startswith("[") else f"[{host.lower()}]"
    return tuple(dict.fromkeys((*LOOPBACK_HOSTS, own, *named)))
