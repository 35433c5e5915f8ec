"""The study's server: one page, each rater's own packet and images, and votes that are on the disk before it says so.

Invitations are personal; whoever has none sees nothing but an empty page. On this machine only unless a host is named
(docs/study.md); then the public address must be named too, and only requests to it are answered.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from diffsensei.data.download.addresses import is_loopback
from diffsensei.study.admission import Admission, Limiter, server_secret
from diffsensei.study.ledger import Ledger, open_ledger
from diffsensei.study.packets import NAME, Packet, read_invitations, read_packets
from diffsensei.study.votes import StoredVote, Vote, check_vote, parse_vote
from diffsensei.web_guard import POLICY, Guard, page_files, read_body, refusal

HOST = "127.0.0.1"
MAX_BODY_BYTES = 16 * 1024
COOKIE = "study"
MONTH_S = 31 * 86_400
PAGE = Path(__file__).with_name("page")
FILES = {"/": (PAGE / "study.html", "text/html"), "/study.css": (PAGE / "study.css", "text/css"),
         "/study.js": (PAGE / "study.js", "text/javascript")}  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": POLICY.format(images="img-src 'self' data:"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Limits:
    """How much is answered: (at once, per second in the long run)."""

    wrong_tokens: tuple[float, float] = (10, 1 / 6)
    """Of one address."""
    requests: tuple[float, float] = (300, 20)
    """Of one rater, images included."""


class Counter:
    """Takes votes in and writes all that wait at once, so that many raters share one flush of the disk."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: dict[tuple[str, str], tuple[StoredVote, asyncio.Future[None]]] = {}
        self._writing: dict[tuple[str, str], tuple[StoredVote, asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def keep(self, packet: str, vote: Vote) -> bool:
        """True once ``vote`` is on the disk, perhaps since before; False if its trial was answered otherwise.

        Raises OSError where the disk refuses.
        """
        key = (packet, vote.trial)
        kept = self._ledger.votes.get(key)
        if kept is not None:
            return kept.vote == vote
        under_way = self._waiting.get(key) or self._writing.get(key)
        if under_way is None:
            stored = StoredVote(packet=packet, vote=vote, source="server", received=datetime.now(UTC))
            under_way = self._waiting[key] = (stored, asyncio.get_running_loop().create_future())
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._write())
        elif under_way[0].vote != vote:
            return False
        await asyncio.shield(under_way[1])
        return True

    async def _write(self) -> None:
        while self._waiting:
            self._writing, self._waiting = self._waiting, {}
            try:
                await run_in_threadpool(self._ledger.append, [stored for stored, _ in self._writing.values()])
            except OSError as error:
                for _, done in self._writing.values():
                    done.set_exception(error)
                    done.exception()
            else:
                for _, done in self._writing.values():
                    done.set_result(None)
            self._writing = {}


def build_app(study: Path, ledger: Ledger, address: str, limits: Limits | None = None) -> Starlette:
    """The application for the prepared ``study``, reached at ``address`` (scheme and host, as browsers send it)."""
    limits = limits or Limits()
    packets = read_packets(study)
    admission = Admission(read_invitations(study), server_secret(study))
    counter = Counter(ledger)
    images = {name: packet.images() for name, packet in packets.items()}
    wrong, busy = Limiter(*limits.wrong_tokens), Limiter(*limits.requests)
    own = address.rstrip("/")
    secure = address.startswith("https://")

    def admitted(request: Request) -> str | Response:
        """The packet of whoever asks, or why there is no answer."""
        packet = admission.packet_of(request.cookies.get(COOKIE))
        if packet is None or packet not in packets:
            return refusal("open your personal link first", 401)
        if not busy.spend(packet):
            return refusal("too many requests; wait a minute", 429)
        return packet

    async def session(request: Request) -> Response:
        caller = request.client.host if request.client else ""
        if not wrong.allows(caller):
            return refusal("too many wrong links from here; wait a minute", 429)
        body = await read_body(request, MAX_BODY_BYTES)
        if isinstance(body, Response):
            return body
        packet = admission.admitted(body.decode("ascii", "replace").strip())
        if packet is None or packet not in packets:
            wrong.spend(caller)
            return refusal("this link is not valid; ask for yours", 403)
        response = Response(status_code=204)
        response.set_cookie(
            COOKIE, admission.cookie(packet), max_age=MONTH_S, httponly=True, samesite="strict", secure=secure
        )
        return response

    async def packet(request: Request) -> Response:
        name = admitted(request)
        if isinstance(name, Response):
            return name
        answered = [trial.trial for trial in packets[name].trials if (name, trial.trial) in ledger.votes]
        return JSONResponse(
            {
                "packet": packets[name].model_dump(mode="json"),
                "answered": answered,
                "form_token": admission.form_token(name),
            }
        )

    async def picture(request: Request) -> Response:
        name, image = admitted(request), request.path_params["image"]
        if isinstance(name, Response):
            return name
        if not re.fullmatch(NAME, image) or image not in images[name]:
            return refusal("no such image", 404)
        path = study / "packets" / name / "images" / f"{image}.png"
        return Response(await run_in_threadpool(path.read_bytes), media_type="image/png")

    async def votes(request: Request) -> Response:
        name = admitted(request)
        if isinstance(name, Response):
            return name
        if not admission.is_form_token(name, request.headers.get("x-form-token", "")):
            return refusal("this page is out of date; load it again", 403)
        body = await read_body(request, MAX_BODY_BYTES)
        return body if isinstance(body, Response) else await _counted(counter, packets, name, body)

    routes = [
        *page_files(FILES),
        Route("/session", session, methods=["POST"]),
        Route("/packet", packet),
        Route("/images/{image:path}", picture),
        Route("/votes", votes, methods=["POST"]),
    ]
    guard = Middleware(Guard, headers=_HEADERS, is_own=lambda origin, _: origin == own, max_body_bytes=MAX_BODY_BYTES)
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[str(urlsplit(address).hostname)])
    return Starlette(routes=routes, middleware=[hosts, guard])


async def _counted(counter: Counter, packets: Mapping[str, Packet], name: str, body: bytes) -> Response:
    try:
        vote = parse_vote(body)
        check_vote(packets[name], vote)
    except ValueError as error:
        return refusal(str(error), 400)
    try:
        if not await counter.keep(name, vote):
            return refusal("this set was answered before; an answer is final", 409)
    except OSError:
        return refusal("the answer could not be stored; it will be tried again", 503)
    return JSONResponse({"stored": vote.trial})


def serve(study: Path, host: str, port: int, address: str, announce: Callable[[str], None]) -> None:
    """Serve ``study`` until interrupted; ``announce`` gets the address once it is bound.

    ``address`` is what raters' browsers call it, needed for a ``host`` other than a loopback address. Raises ValueError
    if the study is not prepared or being served, the port is taken, or the address is missing.
    """
    if not address and not is_loopback(host):
        raise ValueError(
            f"--host {host} lets others in: expected --address with the address raters open, for example "
            "https://study.example.org"
        )
    if address and (urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname):
        raise ValueError(f"--address: expected a web address like https://study.example.org, got {address!r}")
    with open_ledger(study) as ledger, _listener(host, port) as listener:
        bound = f"http://{host}:{listener.getsockname()[1]}"
        app = build_app(study, ledger, _origin(address or bound))
        announce(_origin(address or bound))
        with suppress(KeyboardInterrupt):
            server = uvicorn.Server(
                uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, backlog=2048)
            )
            server.run(sockets=[listener])


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise ValueError(f"{host} port {port} cannot be used ({error.strerror}); choose another with --port") from error
