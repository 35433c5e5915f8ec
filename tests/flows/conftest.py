"""One Prefect server for the session, in a home of its own; trivial stages that jobs can import."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.console import POOL, Console, stop, wait_for

_HOME = tempfile.TemporaryDirectory(prefix="prefect-home-")
# Prefect reads its home when it is imported, which is before any fixture runs.
os.environ.update(PREFECT_HOME=_HOME.name, PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1")

STAGE_MODULE = """
import json, time
from pathlib import Path

def number(*, seed: int, workspace: Path, output: Path) -> None:
    (output / "number.txt").write_text(str(seed))

def double(*, number: Path, workspace: Path, output: Path) -> None:
    value = int((number / "number.txt").read_text())
    (output / "number.txt").write_text(str(2 * value))

def refuse(*, number: Path, workspace: Path, output: Path) -> None:
    raise ValueError("expected an even number")

def busy(*, seconds: float, number: Path, workspace: Path, output: Path) -> None:
    began = time.time()
    time.sleep(seconds)
    (output / "span.json").write_text(json.dumps([began, time.time()]))

def forever(*, workspace: Path, output: Path) -> None:
    while True:
        time.sleep(0.1)
"""


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=300):
        yield


@pytest.fixture
def trivial_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module with trivial stage functions; jobs find it through PYTHONPATH."""
    (tmp_path / "trivial_stage_functions.py").write_text(STAGE_MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    return "trivial_stage_functions"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A running server and a worker."""
    console = Console(tmp_path)
    started = [console.start("server", "start", "--port", str(console.port))]
    try:
        wait_for("the server's start", lambda: console.answers("health"))
        started.append(console.start("worker", "start", "--pool", POOL, "--type", "process"))
        wait_for("the worker's start", lambda: console.answers(f"work_pools/{POOL}"))
        yield console
    finally:
        for process in reversed(started):
            stop(process)
