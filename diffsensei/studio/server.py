"""The studio's server: three static files, where things go, and drawings. It connects to nothing.

Only this machine may reach it: it listens on 127.0.0.1, and answers neither other host names (a site whose name was
pointed at 127.0.0.1) nor requests that another site's page sends.
"""

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from diffsensei.studio.exchange import Drawer, draw, place

HOST = "127.0.0.1"
MAX_BODY_BYTES = 64 * 2**20
PAGE = Path(__file__).with_name("page")
_FILES = {"/": ("index.html", "text/html"), "/studio.css": ("studio.css", "text/css"),
          "/studio.js": ("studio.js", "text/javascript")}  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def build_app(drawer: Drawer) -> FastAPI:
    """The application around ``drawer``, which draws one story at a time."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{request.headers.get('host')}":
            response: Response = _refusal("requests from other sites are not answered", 403)
        elif int(request.headers.get("content-length") or 0) > MAX_BODY_BYTES:
            response = _refusal(f"expected at most {MAX_BODY_BYTES} bytes; scale the character images down", 413)
        else:
            response = await answer(request)
        response.headers.update(_HEADERS)
        return response

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    for path, (name, kind) in _FILES.items():
        app.add_api_route(path, _file(PAGE / name, kind), methods=["GET"])

    @app.post("/place")
    async def place_story(request: Request) -> Response:
        return await _answer(request, place)

    @app.post("/draw")
    async def draw_story(request: Request) -> Response:
        return await _answer(request, lambda body: draw(body, drawer))

    return app


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


def _file(path: Path, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(path.read_bytes(), media_type=kind)

    return send


async def _answer(request: Request, work: Callable[[bytes], object]) -> Response:
    """What ``work`` makes of the body, as JSON; a ValueError is an answer of one line."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return _refusal(f"expected at most {MAX_BODY_BYTES} bytes; scale the character images down", 413)
    try:
        return JSONResponse(await run_in_threadpool(work, bytes(body)))
    except ValueError as error:
        return _refusal(" ".join(str(error).split()), 400)


def _refusal(line: str, status: int) -> JSONResponse:
    return JSONResponse({"error": line}, status_code=status)
