"""The studio's server: three static files, where things go, and drawings. It connects to nothing.

Only this machine may reach it: it listens on 127.0.0.1, and answers neither other host names (a site whose name was
pointed at 127.0.0.1) nor requests that another site's page sends.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from diffsensei.studio.exchange import Drawer, draw, place
from diffsensei.web_guard import POLICY, Guard, page_files, read_body, refusal

HOST = "127.0.0.1"
MAX_BODY_BYTES = 64 * 2**20
PAGE = Path(__file__).with_name("page")
_HINT = "scale the character images down"
_FILES = {"/": (PAGE / "index.html", "text/html"), "/studio.css": (PAGE / "studio.css", "text/css"),
          "/studio.js": (PAGE / "studio.js", "text/javascript")}  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": POLICY.format(images="img-src 'self' data: blob:"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def build_app(drawer: Drawer) -> Starlette:
    """The application around ``drawer``, which draws one story at a time."""

    async def place_story(request: Request) -> Response:
        return await _answer(request, place)

    async def draw_story(request: Request) -> Response:
        return await _answer(request, lambda body: draw(body, drawer))

    routes = [
        *page_files(_FILES),
        Route("/place", place_story, methods=["POST"]),
        Route("/draw", draw_story, methods=["POST"]),
    ]
    guard = Middleware(
        Guard,
        headers=_HEADERS,
        is_own=lambda origin, host: origin == f"http://{host}",
        max_body_bytes=MAX_BODY_BYTES,
        hint=_HINT,
    )
    return Starlette(
        routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]), guard]
    )


def serve(drawer: Drawer, port: int, announce: Callable[[str], None]) -> None:
    """Serve until interrupted; ``announce`` gets the address once it is bound.

    Raises ValueError if the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise ValueError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from error
    with listener:
        announce(f"http://{HOST}:{listener.getsockname()[1]}")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(build_app(drawer), log_level="warning")).run(sockets=[listener])


async def _answer(request: Request, work: Callable[[bytes], object]) -> Response:
    """What ``work`` makes of the body, as JSON; a ValueError is an answer of one line."""
    body = await read_body(request, MAX_BODY_BYTES, _HINT)
    if isinstance(body, Response):
        return body
    try:
        return JSONResponse(await run_in_threadpool(work, body))
    except ValueError as error:
        return refusal(" ".join(str(error).split()), 400)
