"""A loopback HTTP server that answers each path with whatever a test wants, however rude."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler, int], None]


class HostileServer:
    """Answers by path. An answer is called with the request and how many requests for its path came before."""

    host = "pages.test.invalid"

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.hits: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.posted: list[tuple[str, bytes]] = []
        self.arrivals: list[float] = []
        """Monotonic seconds of every request, GET or POST."""
        self.base = ""
        """Where it really is."""
        self.routes: dict[str, str] = {}

    def url(self, path: str) -> str:
        return f"https://{self.host}{path}"

    @staticmethod
    def body(data: bytes, *, status: int = 200, **headers: str) -> Answer:
        """``data`` with an honest length unless ``headers`` (underscores for hyphens) say otherwise."""

        def answer(request: BaseHTTPRequestHandler, _: int) -> None:
            request.send_response(status)
            fields = {"Content-Length": str(len(data))}
            fields |= {name.replace("_", "-"): text for name, text in headers.items()}
            for name, text in fields.items():
                request.send_header(name, text)
            request.end_headers()
            request.wfile.write(data)

        return answer

    @staticmethod
    def in_turn(*answers: Answer) -> Answer:
        """The first answer to the first request, and so on; the last one for ever."""
        return lambda request, before: answers[min(before, len(answers) - 1)](request, before)


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


@contextmanager
def hostile_server() -> Iterator[HostileServer]:
    """The server, for as long as the context lasts."""
    hostile = HostileServer()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            hostile.posted.append((self.path, self.rfile.read(int(self.headers.get("Content-Length", "0")))))
            self._answer()

        def _answer(self) -> None:
            with lock:
                before = hostile.hits[self.path]
                hostile.hits[self.path] += 1
                hostile.arrivals.append(time.monotonic())
                hostile.headers.append(dict(self.headers))
            try:
                hostile.answers.get(self.path, hostile.body(b"", status=404))(self, before)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    http = _Server(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hostile.base = f"http://127.0.0.1:{http.server_port}"
    hostile.routes = {hostile.host: hostile.base}
    yield hostile
    http.shutdown()
    http.server_close()
    thread.join()
