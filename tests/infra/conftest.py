import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.jobs.local import LocalBackend
from infra.jobs.process import processes_of, signal_all
from infra.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store whose jobs do not outlive the test, however it ends."""
    store = Store(tmp_path / "store")
    yield store
    for folder in store.stage_folders():
        for attempt in folder.attempts():
            signal_all(processes_of(attempt.intent().token), signal.SIGKILL)


@pytest.fixture
def backend() -> LocalBackend:
    backend = LocalBackend()
    backend.poll_s = 0.1
    return backend


@pytest.fixture(autouse=True)
def _import_stage_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
