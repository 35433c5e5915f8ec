"""A stand-in for a Kubernetes cluster: the part of its HTTP API that jobs need, and pods as processes of this machine.

Hand-built, not a cluster: there was none to test against. What is sent to it is read with the official client's own
models, and a field that they do not know is refused, as the real API server refuses it. A pod's command really runs.
"""

import json
import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from kubernetes import client

Json = dict[str, Any]
_MODELS = {"jobs": "V1Job", "services": "V1Service"}


class Cluster:
    """Jobs, services and pods of one namespace. ``away``: answers nothing but 503. ``held``: starts no pod."""

    def __init__(self) -> None:
        self.jobs: dict[str, Json] = {}
        self.services: dict[str, Json] = {}
        self.pods: dict[str, list[tuple[Json, subprocess.Popen[bytes]]]] = {}
        self.created = 0
        self.away = False
        self.held = False
        self._changing = threading.Lock()

    def create(self, kind: str, body: Json) -> tuple[int, Json]:
        """As POST does: 409 for a name that is taken, 422 for what the client's models do not know."""
        unknown = unknown_fields(body, _MODELS[kind])
        if unknown:
            return 422, _status(422, f"unknown field {unknown[0]}")
        with self._changing:
            held = self.jobs if kind == "jobs" else self.services
            name = body["metadata"]["name"]
            if name in held:
                return 409, _status(409, f"{kind} {name!r} already exists")
            body["metadata"]["uid"] = uuid.uuid4().hex
            body["status"] = {}
            held[name] = body
            if kind == "jobs":
                self.created += 1
        return 201, body

    def list(self, kind: str, selector: str) -> Json:
        """As GET with a label selector does."""
        self._advance()
        wanted = dict(term.split("=", 1) for term in selector.split(",") if term)
        found: list[Json] = list(self.jobs.values())
        if kind == "pods":
            found = [pod for pods in self.pods.values() for pod, _ in pods]
        return {"items": [item for item in found if wanted.items() <= item["metadata"]["labels"].items()]}

    def read(self, name: str) -> tuple[int, Json]:
        """As GET of one job does."""
        return (200, self.jobs[name]) if name in self.jobs else (404, _status(404, f"jobs {name!r} not found"))

    def delete(self, name: str) -> tuple[int, Json]:
        """The job is gone at once; its pods get SIGTERM."""
        if self.jobs.pop(name, None) is None:
            return 404, _status(404, f"jobs {name!r} not found")
        for _, process in self.pods.pop(name, []):
            _signal(process, signal.SIGTERM)
        return 200, _status(200, "")

    def fail(self, name: str, condition: Json, pod: Json) -> None:
        """Kill the job's pods, and say of job and first pod what a cluster would."""
        for described, process in self.pods[name]:
            _signal(process, signal.SIGKILL)
            process.wait()
            described["status"] |= pod
        self.jobs[name]["status"] = {"conditions": [{"type": "Failed", "status": "True", **condition}]}

    def close(self) -> None:
        """End every pod."""
        for pods in self.pods.values():
            for _, process in pods:
                _signal(process, signal.SIGKILL)

    def _advance(self) -> None:
        with self._changing:
            for name, job in self.jobs.items():
                if name not in self.pods and not self.held:
                    self.pods[name] = [_pod(job, index) for index in range(job["spec"]["completions"])]
                if name in self.pods and not job["status"].get("conditions"):
                    job["status"] = _job_status([process.poll() for _, process in self.pods[name]])


def _pod(job: Json, index: int) -> tuple[Json, "subprocess.Popen[bytes]"]:
    template = job["spec"]["template"]
    container = template["spec"]["containers"][0]
    env = {entry["name"]: entry["value"] for entry in container["env"]} | {"JOB_COMPLETION_INDEX": str(index)}
    if "PET_RDZV_ENDPOINT" in env:  # a cluster's name service leads there
        env["PET_RDZV_ENDPOINT"] = f"127.0.0.1:{env['PET_RDZV_ENDPOINT'].rpartition(':')[2]}"
    process = subprocess.Popen(
        container["command"], cwd=container["workingDir"], env=os.environ | env, start_new_session=True
    )
    return {"metadata": {"labels": template["metadata"]["labels"]}, "status": {}}, process


def _job_status(codes: list[int | None]) -> Json:
    if any(codes):
        return {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
    if all(code == 0 for code in codes):
        return {"conditions": [{"type": "Complete", "status": "True"}]}
    return {"active": len(codes), "ready": len(codes)}


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def unknown_fields(body: Any, model: str, path: str = "") -> list[str]:
    """Fields that the official client's model of that name does not have, at any depth."""
    if model.startswith("list["):
        return [found for item in body for found in unknown_fields(item, model[5:-1], path)]
    kind = getattr(client, model, None)
    if kind is None or not hasattr(kind, "openapi_types"):
        return []
    known = {kind.attribute_map[name]: type_ for name, type_ in kind.openapi_types.items()}
    unknown = [f"{path}{name}" for name in body if name not in known]
    for name, value in body.items():
        if name in known:
            unknown += unknown_fields(value, known[name], f"{path}{name}.")
    return unknown


def _status(code: int, message: str) -> Json:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self, code: int, body: Json) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _handle(self) -> None:
            url = urlparse(self.path)
            parts = url.path.strip("/").split("/")
            kind, name = parts[parts.index("namespaces") + 2], parts[-1]
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            if cluster.away:
                self._answer(503, _status(503, "the server is away"))
            elif self.command == "POST":
                self._answer(*cluster.create(kind, body))
            elif self.command == "DELETE":
                self._answer(*cluster.delete(name))
            elif name == kind:
                self._answer(200, cluster.list(kind, parse_qs(url.query).get("labelSelector", [""])[0]))
            else:
                self._answer(*cluster.read(name))

        do_GET = do_POST = do_DELETE = _handle

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


@contextmanager
def kubernetes_api(folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """A cluster and the kubeconfig that leads to it."""
    cluster = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    path = folder / "kubeconfig.json"
    context = {"name": "here", "context": {"cluster": "here", "user": "me"}}
    place = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    users = [{"name": "me", "user": {}}]
    value = {"apiVersion": "v1", "kind": "Config", "current-context": "here", "contexts": [context]}
    path.write_text(json.dumps(value | {"clusters": [place], "users": users}))
    try:
        yield cluster, path
    finally:
        cluster.close()
        server.shutdown()
        server.server_close()
        thread.join()
