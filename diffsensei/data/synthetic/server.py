"""A small static file server on the loopback interface, so that the real downloader runs on the synthetic world."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

IDLE_S = 30.0
"""A connection without a request for so long is closed."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve the files under ``folder`` at 127.0.0.1 on a free port for as long as the context lasts.

    Yields the base url, ``http://127.0.0.1:<port>``. Only GET and HEAD of regular files inside ``folder`` are answered;
    there are no listings. Raises ValueError if ``folder`` is not a folder.
    """
    if not folder.is_dir():
        raise ValueError(f"folder to serve {folder} does not exist; run the annotations stage of a synthetic source")
    server = _Server(("127.0.0.1", 0), partial(_Handler, folder.resolve()))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def __init__(self, root: Path, *args: Any) -> None:
        self._root = root
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer with the file, or 404."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer as GET does, without the body."""
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        found = self._find()
        data = b"not found\n" if found is None else found.read_bytes()
        self.send_response(HTTPStatus.NOT_FOUND if found is None else HTTPStatus.OK)
        kind = "text/plain" if found is None else guess_type(found.name)[0] or "application/octet-stream"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _find(self) -> Path | None:
        try:
            path = (self._root / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
            return path if path.is_relative_to(self._root) and path.is_file() else None
        except (OSError, ValueError):
            return None

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged; the downloader keeps its own journal."""
