"""The automations that are shipped, on a real server: created as docs/prefect.md says, and a failure told of."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.console import ANSWER_S, REPOSITORY, Console, wait_for

pytestmark = pytest.mark.long

NOBODY = "00000000-0000-0000-0000-000000000000"
SAVE = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock

body = {"subject": "{{subject}}", "body": "{{body}}"}
print(CustomWebhookNotificationBlock(name="alerts", url=sys.argv[1], json_data=body).save("diffsensei-alerts"))
"""


@pytest.fixture
def listener() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A service that people are told through: its address, and what it was sent."""
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", heard
        server.shutdown()


def test_people_are_told_of_a_run_that_failed(
    console: Console, listener: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    address, heard = listener
    done = subprocess.run(
        [sys.executable, "-c", SAVE, address], cwd=REPOSITORY, env=console.env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    notify = (REPOSITORY / "infra" / "prefect" / "notify.yaml").read_text()
    (tmp_path / "notify.yaml").write_text(notify.replace(NOBODY, done.stdout.split()[-1]))
    console.run("--no-prompt", "deploy", "--all")
    console.run("automation", "create", "--from-file", str(REPOSITORY / "infra" / "prefect" / "automations.yaml"))
    console.run("automation", "create", "--from-file", str(tmp_path / "notify.yaml"))
    created = httpx.post(f"{console.api}/automations/filter", json={}, timeout=ANSWER_S).json()
    assert {item["name"] for item in created} == {
        *("runs that lost their process", "a run ended badly", "evaluate published checkpoints"),
    }
    assert all(item["enabled"] for item in created)

    said = console.run("deployment", "run", "ingest", "-p", f"overrides={json.dumps(['data.source.num_series=0'])}")
    (run_id,) = re.findall(r"UUID: (\S+)", said)
    wait_for("the end of the run", lambda: console.state_of(run_id) == "FAILED")
    wait_for("the notification", lambda: bool(heard))
    (told,) = heard
    assert told["subject"] == "ingest Failed"
    assert "num_series: Input should be greater than or equal to 1, got 0" in told["body"]
    assert run_id in told["body"]
