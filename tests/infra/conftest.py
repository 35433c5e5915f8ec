import os
from pathlib import Path

import pytest

from infra.jobs.local import LocalBackend
from infra.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def backend() -> LocalBackend:
    backend = LocalBackend()
    backend.poll_s = 0.1
    return backend


@pytest.fixture(autouse=True)
def _import_stage_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
