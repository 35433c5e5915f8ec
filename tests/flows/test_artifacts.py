"""What a run shows on a real server: its plan, its progress, its figures and the way to its report."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.runtime import flow_run

from infra.jobs.local import LocalBackend
from infra.stage import Stage
from infra.store import Store
from tasks import run_stage
from tasks.artifacts import show_lines, show_metrics, show_report
from tasks.pipeline import run_stages

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

STEPS = """
import json, os, time

def climb(*, workspace, output) -> None:
    for done in range(1, 5):
        (workspace / "new.json").write_text(json.dumps({"stage": "climb", "done": done, "total": 4, "unit": "steps"}))
        os.replace(workspace / "new.json", workspace / "progress.json")
        time.sleep(0.5)
    (output / "top.txt").write_text("there")
"""


def test_every_kind_of_artifact_is_on_the_server(
    tmp_path: Path, trivial_stages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "climbing.py").write_text(STEPS)
    monkeypatch.setattr(run_stage, "ARTIFACT_EVERY_S", 0.2)
    cell = {"method": "ours", "metric": "clip", "value": 0.3, "low": 0.25, "high": 0.35, "n_used": 40}
    metric = {"name": "clip", "label": "CLIP", "group": "headline"}
    (tmp_path / "summary.json").write_text(json.dumps({"metrics": [metric], "results": [cell]}))
    backend = LocalBackend()
    backend.poll_s = 0.1

    @flow(name="shown", persist_result=False)
    async def shown() -> str:
        stage = Stage(name="climb_up", version=1, entry="climbing:climb")
        await run_stages([stage], {}, Store(tmp_path / "store"), backend)
        await show_metrics(tmp_path)
        await show_report(tmp_path / "index.html")
        await show_lines(["<b>passed</b>"], "release", "What became of it")
        return str(flow_run.id)

    found = asyncio.run(_artifacts(asyncio.run(shown())))
    assert {key: artifact["type"] for key, artifact in found.items()} == {
        "plan": "markdown",
        "climb-up": "progress",
        "metrics": "table",
        "report": "markdown",
        "release": "markdown",
    }
    assert "| climb_up | run |" in found["plan"]["data"]
    assert found["climb-up"]["data"] == 100.0
    assert json.loads(found["metrics"]["data"]) == [{"method": "ours", "CLIP": "0.3 [0.25, 0.35] (n=40)"}]
    assert (tmp_path / "index.html").as_uri() in found["report"]["data"]
    assert found["release"]["data"].startswith("    "), "what is said must not be read as markup"


async def _artifacts(run_id: str) -> dict[str, dict[str, Any]]:
    async with get_client() as client:
        asked = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        return {found.key or "": found.model_dump() for found in await client.read_artifacts(artifact_filter=asked)}
