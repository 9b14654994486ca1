"""Who may ask the studio's server, and what the browser may load.

The server listens on this machine alone, but any page in the visitor's browser can send requests
there. So a request must name this machine (a foreign name that was pointed here does not), and one
that a page has sent must come from the studio's own. And the studio's page loads nothing from
anywhere else.
"""

from __future__ import annotations

import errno
import traceback
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffusion.studio.sentences import sentence

NAMES = ("127.0.0.1", "localhost")
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
ELSEWHERE = ("/gradio_api/proxy=", "/gradio_api/file=http")
"""What Gradio would fetch from other machines."""


class Guard:
    """An ASGI app around another."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        failed = False

        async def answer(message: Message) -> None:
            nonlocal failed
            if message["type"] == "http.response.start":
                failed = message["status"] == 500  # which says nothing to a visitor
            if not failed:
                await observed(message)

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        reason = refusal(scope["path"], Headers(scope=scope))
        app = self._app if reason is None else PlainTextResponse(reason, 403)
        why: Exception | None = None
        try:
            await app(scope, receive, answer)
        except Exception as error:
            why = error
            if not failed:
                raise
        if failed:
            if not isinstance(why, OSError):
                traceback.print_exception(why)
            full = isinstance(why, OSError) and why.errno == errno.ENOSPC
            text = sentence(why) if why else "Something went wrong; the terminal says what."
            await PlainTextResponse(text, 507 if full else 500)(scope, receive, observed)


def refusal(path: str, headers: Headers) -> str | None:
    """Why a request is not answered; None if it is."""
    host = headers.get("host", "")
    if urlsplit(f"//{host}").hostname not in NAMES:
        return "This server answers to 127.0.0.1 only."
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return "This server answers to its own page only."
    if path.startswith(ELSEWHERE):
        return "This server fetches nothing from elsewhere."
    return None
