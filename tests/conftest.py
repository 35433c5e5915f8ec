"""A browser for tests of pages, a Slurm for tests of jobs; where there is none they skip and say so."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.slurm_cluster import SlurmCluster, missing_programs, slurm_cluster

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium under playwright; of a module, as its event loop is in the way of other modules' own."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; apt-get install chromium")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed; pip install playwright"
    )
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A private Slurm of two nodes, reached by every command while tests that ask for it run."""
    missing = missing_programs()
    if missing or os.geteuid() != 0:
        why = f"no {', '.join(missing)} on PATH; apt-get install slurm-wlm munge" if missing else "needs root"
        pytest.skip(f"no Slurm of one's own: {why}")
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.conf))
        yield cluster
