"""The guide to a server that stays (docs/prefect.md), followed on a Postgres of the test's own, with a password."""

import json
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from tests.flows.console import ANSWER_S, POOL, Console, free_port, stop, wait_for
from tests.flows.test_nothing_leaves import INGEST

pytestmark = pytest.mark.long


def _unprivileged() -> dict[str, Any]:
    """Postgres will not run as root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name for entry in pwd.getpwall()}
    return {"user": "postgres" if "postgres" in known else "nobody"}


@pytest.fixture
def database() -> Iterator[str]:
    """Address of an empty database with a password."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        pytest.skip("no initdb and postgres on PATH; apt-get install postgresql")
    port, password, who = free_port(), secrets.token_hex(8), _unprivileged()
    with TemporaryDirectory(prefix="postgres-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "password").write_text(password)
        if who:
            for path in (folder, folder / "password"):
                shutil.chown(path, **who)
        new = ["initdb", "-D", folder / "data", "-U", "prefect", "--auth=scram-sha-256"]
        subprocess.run([*new, f"--pwfile={folder / 'password'}"], check=True, capture_output=True, cwd="/", **who)
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        server = subprocess.Popen(
            ["postgres", "-D", folder / "data", "-p", str(port), "-k", folder, *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **who,
        )
        env = os.environ | {"PGPASSWORD": password}
        reached = ["-h", "127.0.0.1", "-p", str(port), "-U", "prefect"]
        try:
            wait_for("Postgres", lambda: subprocess.run(["pg_isready", *reached], capture_output=True).returncode == 0)
            subprocess.run(["createdb", *reached, "prefect"], check=True, env=env, capture_output=True)
            yield f"postgresql+asyncpg://prefect:{password}@127.0.0.1:{port}/prefect"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def test_the_guide_leads_to_a_run(database: str, tmp_path: Path) -> None:
    console, login = Console(tmp_path), f"admin:{secrets.token_hex(8)}"
    console.env |= {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "true",
        "PREFECT_API_AUTH_STRING": login,
    }
    api = httpx.Client(base_url=f"{console.api}/", auth=tuple(login.split(":")), timeout=60)  # type: ignore[arg-type]

    def state_of(run_id: str) -> str:
        state: str = api.get(f"flow_runs/{run_id}").json()["state"]["type"]
        return state

    console.run("server", "database", "upgrade", "-y")
    started = [console.start("server", "start", "--port", str(console.port))]
    try:
        wait_for("the server's start", lambda: console.answers("health"))
        for path in ("flow_runs/filter", "deployments/filter", "work_pools/filter"):
            assert httpx.post(f"{console.api}/{path}", json={}, timeout=ANSWER_S).status_code == 401
        started.append(console.start("worker", "start", "--pool", POOL, "--type", "process"))
        wait_for("the worker's start", lambda: api.get(f"work_pools/{POOL}").is_success)
        console.run("--no-prompt", "deploy", "--name", "ingest")
        said = console.run("deployment", "run", "ingest/ingest", "-p", f"overrides={json.dumps(INGEST)}")
        (run_id,) = re.findall(r"UUID: (\S+)", said)
        wait_for("the end of the run", lambda: state_of(run_id) in ("COMPLETED", "FAILED", "CRASHED"))
        assert state_of(run_id) == "COMPLETED"
        assert not list(tmp_path.rglob("prefect.db")), "something went to SQLite"
    finally:
        for process in reversed(started):
            stop(process)
