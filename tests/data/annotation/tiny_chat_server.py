"""A loopback server of OpenAI's chat API that answers from the picture it is sent, or as a script says."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from diffsensei.data.images import decode_own_png

Reply = tuple[int, dict[str, str], Any]
"""Status, headers, JSON body (or bytes)."""


def completion(text: str | None, finish: str = "stop", **message: Any) -> Reply:
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return 200, {}, {"choices": [choice], "usage": {"completion_tokens": len((text or "").split())}}


@dataclass
class Log:
    url: str = ""
    script: list[Reply] = field(default_factory=list)
    """Replies to the first requests; later ones get a caption that names the picture's digest."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)


@contextmanager
def serve_chat(*script: Reply) -> Iterator[Log]:
    log, lock = Log(script=list(script)), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.path == "/v1/chat/completions"
            url = request["messages"][0]["content"][0]["image_url"]["url"]
            png = base64.b64decode(url.removeprefix("data:image/png;base64,"), validate=True)
            digest = hashlib.sha256(png).hexdigest()
            with lock:
                log.requests.append(request)
                log.keys.append(self.headers["authorization"])
                log.pictures.append(digest)
                log.shapes.append(decode_own_png(png).shape)
                reply = log.script.pop(0) if log.script else completion(f"A panel,\n  called {digest[:8]}.")
            status, headers, body = reply
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    log.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield log
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
