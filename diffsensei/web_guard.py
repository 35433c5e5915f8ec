"""What the project's small servers share: who is answered, how much is read, and what every answer carries.

Plain ASGI, since a wrapper around requests and answers costs more than the answers themselves.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; {images}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A page's own files and nothing else; ``{images}`` says where pictures may come from."""


class Guard:
    """Adds ``headers`` to every answer; refuses other sites' pages (403) and bodies that say they are too large (413).

    ``is_own`` tells from the origin and the host of a request whether its page is ours. A body that does not say how
    large it is, `read_body` refuses.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        headers: Mapping[str, str],
        is_own: Callable[[str, str], bool],
        max_body_bytes: int,
        hint: str = "",
    ) -> None:
        self._app, self._headers, self._is_own = app, headers, is_own
        self._max_body_bytes, self._hint = max_body_bytes, hint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        given = Headers(scope=scope)
        origin, length = given.get("origin"), given.get("content-length") or "0"
        answer: ASGIApp = self._app
        if origin is not None and not self._is_own(origin, given.get("host", "")):
            answer = refusal("requests from other sites are not answered", 403)
        elif not length.isdigit() or int(length) > self._max_body_bytes:
            answer = too_large(self._max_body_bytes, self._hint)
        await answer(scope, receive, send_with_headers)


def page_files(files: Mapping[str, tuple[Path, str]]) -> list[Route]:
    """Routes that send files: path to (file, media type)."""
    return [Route(path, _sender(file, kind)) for path, (file, kind) in files.items()]


async def read_body(request: Request, max_bytes: int, hint: str = "") -> bytes | Response:
    """The whole body, or a refusal as soon as it is longer than ``max_bytes``."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_bytes:
            return too_large(max_bytes, hint)
    return bytes(body)


def too_large(max_bytes: int, hint: str = "") -> JSONResponse:
    """The answer to a body of more than ``max_bytes``; ``hint`` says what to do."""
    return refusal(f"expected at most {max_bytes} bytes{f'; {hint}' if hint else ''}", 413)


def refusal(line: str, status: int) -> JSONResponse:
    """One line for whoever asked."""
    return JSONResponse({"error": line}, status_code=status)


def _sender(path: Path, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(_: Request) -> Response:
        return Response(path.read_bytes(), media_type=kind)

    return send
