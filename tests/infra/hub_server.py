"""A stand-in for the hub on this machine: the few calls that pushing a model makes, with their checks and their state.

Its answers have the form that huggingface_hub's client reads; large files come over the LFS protocol. It is no hub: it
knows no rights beyond "some token", and no history beyond the last commit and its tags.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 1000
"""Bytes from which a file goes over LFS."""


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commits: int = 0


@dataclass
class Hub:
    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    """Every authorization that came."""


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: Hub

    def do_GET(self) -> None:
        self._authorise()
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/api/models/(.+)/refs", path):
            tags = self.state.repositories[found[1]].tags
            listed = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": "a" * 40} for tag in tags]
            self._answer({"branches": [], "converts": [], "tags": listed})
        elif found := re.fullmatch(r"/api/models/(.+)/tree/main", path):
            files = self.state.repositories[found[1]].files
            self._answer(
                [{"type": "file", "path": name, "size": len(data), "oid": "b" * 40} for name, data in files.items()]
            )
        elif found := re.fullmatch(r"/api/models/(.+?)(?:/revision/(.+))?", path):
            repository = self.state.repositories[found[1]]
            files = repository.tags.get(found[2], repository.files)
            siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
            self._answer({"id": found[1], "sha": "a" * 40, "siblings": siblings})
        else:
            self._answer({"error": f"unknown {path}"}, 404)

    def do_POST(self) -> None:
        self._authorise()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            licensed = re.search(r"^license: \S", json.loads(body)["content"], re.M)
            errors = [] if licensed else [{"message": '"license" is missing'}]
            self._answer({"errors": errors, "warnings": []}, 400 if errors else 200)
        elif re.fullmatch(r"/api/models/.+/preupload/main", path):
            modes = [
                {"path": each["path"], "uploadMode": _mode(each["size"]), "shouldIgnore": False}
                for each in json.loads(body)["files"]
            ]
            self._answer({"files": modes})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                each | {"actions": {"upload": {"href": f"{self.state.address}/lfs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._answer({"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            self._commit(found[1], body)
        elif found := re.fullmatch(r"/api/models/(.+)/tag/.+", path):
            repository = self.state.repositories[found[1]]
            repository.tags[json.loads(body)["tag"]] = dict(repository.files)
            self._answer({})
        else:
            self._answer({"error": f"unknown {path}"}, 404)

    def do_PUT(self) -> None:
        """A file of the LFS protocol: taken only if its bytes are those that its name says."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(data).hexdigest() != oid:
            self._answer({"error": "other bytes"}, 400)
            return
        self.state.blobs[oid] = data
        self._answer({})

    def _create(self, asked: dict[str, Any]) -> None:
        name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        known = name in self.state.repositories
        if not known:
            private = asked.get("private") or asked.get("visibility") == "private"
            self.state.repositories[name] = Repository(private=bool(private))
        self._answer({"url": f"{self.state.address}/{name}", "name": name}, 409 if known else 200)

    def _commit(self, name: str, body: bytes) -> None:
        repository = self.state.repositories[name]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.state.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del repository.files[value["path"]]
        repository.commits += 1
        self._answer({"commitUrl": f"{self.state.address}/{name}/commit/{'a' * 40}", "commitOid": "a" * 40})

    def _authorise(self) -> None:
        self.state.tokens.add(self.headers.get("Authorization") or "")

    def _answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _mode(size: int) -> str:
    return "lfs" if size >= LARGE else "regular"
