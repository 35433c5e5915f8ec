"""The flow of the ablations over trivial stages: equal rows once, a failed row beside the others, found by a report."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from prefect import flow

from diffsensei.config import ExperimentConfig, load_preset
from diffsensei.evaluation.ablations import VARIANTS, Ablations, Variant, read_ablations
from infra.stage import Stage
from infra.store import ObjectRef, Store
from tasks import ablations
from tasks.stages.reporting import found_ablations, reporting_stages

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

ROWS = """
import shutil
from pathlib import Path

def scored(*, blend: float, source: str, workspace: Path, output: Path) -> None:
    if blend == 1.0:
        raise ValueError("expected a smaller blend")
    shutil.copytree(source, output, dirs_exist_ok=True)
    (output / "blend.txt").write_text(str(blend))
"""


@pytest.fixture
def rows(tmp_path: Path, trivial_stages: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows that are one and the same, one that differs, and one that fails."""
    from tests.reports.conftest import build_score

    (tmp_path / "trivial_rows.py").write_text(ROWS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    panels = [{"page_id": f"page{i // 2}", "series": "s", "panel_id": f"panel{i}"} for i in range(4)]
    (tmp_path / "scores").mkdir()
    build_score(tmp_path / "scores", np.random.default_rng(0), panels)

    def stages(variant: Variant, config: ExperimentConfig) -> list[Stage]:
        return [
            Stage(
                name=ablations.SCORE,
                version=1,
                entry="trivial_rows:scored",
                config={"blend": "sampling.adapter_blend"},
                literals={"source": str(tmp_path / "scores")},
            )
        ]

    monkeypatch.setattr(ablations, "variant_stages", stages)
    keys = ("table_3_row_5", "table_4a_row_2", "table_4b_row_2", "table_4b_row_3", "table_4b_row_6")
    monkeypatch.setattr(ablations, "VARIANTS", tuple(variant for variant in VARIANTS if variant.key in keys))


def _run(config: ExperimentConfig) -> tuple[Store, ObjectRef]:
    @flow(name="ablations-small", persist_result=False)
    async def small() -> tuple[Store, ObjectRef]:
        return await ablations.run_ablations(config)

    return asyncio.run(small())


def _states(found: Ablations) -> dict[str, str]:
    return {row.variant.key: row.state for row in found.rows}


@pytest.mark.usefixtures("rows")
def test_rows_share_what_is_equal_and_a_report_finds_them(capsys: pytest.CaptureFixture[str]) -> None:
    config = load_preset("tiny")
    store, result = _run(config)
    states = _states(read_ablations(result.path))
    assert states["table_3_row_5"] == states["table_4a_row_2"] == states["table_4b_row_3"] == "computed"
    assert states["table_4b_row_6"] == "failed: stage score_variant: expected a smaller blend"
    assert states["table_4b_row_1"] == "failed: no result"
    assert len(store.stage_folders(ablations.SCORE)) == 3, "three rows are one"
    said = capsys.readouterr().err
    assert "Table 4b, 1.0: 1 of 1 stages to run" in said
    assert "Table 4a, 0.5: as a row above" in said

    assert found_ablations(config, store) == result
    faster = load_preset("tiny", ["runtime.num_threads=7", "release.version=9.9.9"])
    assert found_ablations(faster, store) == result
    assert found_ablations(load_preset("tiny", ["training.stage1.steps=5"]), store) is None
    report = reporting_stages(config, [])[-1]
    assert report.identity == {"ablations": result.digest}
    pace = json.loads(json.dumps(report.pace))
    assert (pace["ablations"], pace["study"]) == (str(result.path), None)
    _, again = _run(config)
    assert again == result
