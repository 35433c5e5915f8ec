from dataclasses import replace
from pathlib import Path

import pytest

from diffsensei.config import load_preset
from diffsensei.costs.data_size import DataSize
from diffsensei.costs.gpus import GPUS
from diffsensei.costs.passes import Passes
from diffsensei.costs.workload import Workload
from infra.plan import Plan
from infra.store import Store
from tasks.ablation_prices import price_ablations
from tasks.planning import plan_targets
from tasks.pricing import COSTS, NOT_PRICED, count_work, price, total_row
from tasks.stages import pipeline_stages
from tasks.stages.data import EVALUATION

PAPER = load_preset("paper")
MANGA109 = 'data.evaluation_source={"kind":"manga109","root":"%s","accept_terms":true}'


def paper_plan(tmp_path: Path, *overrides: str) -> Plan:
    (tmp_path / "annotations.json").write_text("[]")
    config = load_preset("paper", [f"data.source.annotations={tmp_path / 'annotations.json'}", *overrides])
    return plan_targets(config, ("report",), Store(tmp_path / "store"))


def test_every_stage_of_networks_has_a_price(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text("[]")
    (tmp_path / "books.txt").write_text("")
    overrides = [f"data.source.annotations={tmp_path / 'annotations.json'}", MANGA109 % tmp_path]
    stages = pipeline_stages(load_preset("paper", overrides))
    on_gpus = {stage.name.removeprefix(EVALUATION) for stage in stages if stage.resources.gpus}
    assert on_gpus <= COSTS.keys()
    assert {"caption", "ar_ldm", "generate_seed_story_given", "score"} <= on_gpus


@pytest.mark.slow
def test_the_papers_plan_is_priced_without_its_weights_being_there(tmp_path: Path) -> None:
    plan = paper_plan(tmp_path)
    found = price(PAPER, plan, GPUS["h200"], 0.3)
    *rows, total = found.rows
    hours = {row["stage"]: float(row["GPU-hours"]) for row in rows}
    on_gpus = {row.stage for row in plan.work if row.resources.gpus}
    assert set(hours) >= on_gpus
    assert 20 < hours["stage1"] < 30
    assert hours["ms_diffusion_dialogs"] > hours["ms_diffusion"]
    assert hours["generate_seed_story"] > hours["generate_seed_story_given"]
    assert float(total["GPU-hours"]) == pytest.approx(sum(hours.values()), rel=0.02)
    assert total["stage"] == "together"
    assert any("427,147 panels" in note for note in found.notes)


def test_what_cannot_be_counted_is_said_and_missing_from_the_sum(tmp_path: Path) -> None:
    (tmp_path / "books.txt").write_text("")
    plan = paper_plan(tmp_path, MANGA109 % tmp_path)
    data = DataSize.of_mangazero(PAPER.data.buckets)
    work = [row for row in plan.work if row.stage in (f"{EVALUATION}score", "score")]
    priced = count_work(work, plan, Workload(PAPER, data, Passes(PAPER)))
    known, unknown = sorted(priced, key=lambda found: found.cost is None)
    assert (known.stage, unknown.stage) == ("score", f"{EVALUATION}score")
    assert "not known yet" in unknown.reason
    total = total_row("together", priced, GPUS["h200"], 0.3)
    assert total[""] == f"without {EVALUATION}score"
    assert total["work"] == total_row("together", [known], GPUS["h200"], 0.3)["work"] != NOT_PRICED
    nothing = count_work([work[0].model_copy(update={"stage": "new"})], plan, Workload(PAPER, data, Passes(PAPER)))
    assert [found.reason for found in nothing] == ["nothing counts it"]


def test_a_stage_that_does_not_fit_says_so(tmp_path: Path) -> None:
    plan = paper_plan(tmp_path)
    tiny = replace(GPUS["h200"], memory_gib=0.1)
    features = Plan(rows=tuple(row for row in plan.rows if row.stage == "features"))
    row, _ = price(PAPER, features, tiny, 0.3).rows
    assert "does not fit" in row[""]


def test_data_that_is_neither_cut_nor_known_is_not_guessed(tmp_path: Path) -> None:
    config = load_preset("tiny")
    plan = plan_targets(config, ("report",), Store(tmp_path / "store"))
    with pytest.raises(ValueError, match="none are cut yet"):
        price(config, plan, GPUS["h200"], 0.3)


@pytest.mark.slow
def test_rows_of_the_ablations_pay_for_what_no_row_above_shares(tmp_path: Path) -> None:
    """At the sizes of the small preset, on the paper's amount of data."""
    (tmp_path / "annotations.json").write_text("[]")
    source = f'data.source={{"kind":"mangazero","annotations":"{tmp_path / "annotations.json"}"}}'
    found = price_ablations(load_preset("tiny", [source]), Store(tmp_path / "store"), GPUS["h200"], 0.3)
    *rows, total = found.rows
    stages = {row["stage"]: row["stages"].split(", ") for row in rows}
    assert stages["Table 3, no mask"][:2] == ["features", "pretrain"]
    others = [names for title, names in stages.items() if title != "Table 3, no mask"]
    assert not any("pretrain" in names for names in others)
    blends = [names for title, names in stages.items() if title.startswith("Table 4b")]
    assert len(blends) == 5, "the row that the others are compared with is Table 3's last"
    assert all(names == ["generate_diffsensei", "score_variant"] for names in blends)
    assert total["stage"] == "together"
