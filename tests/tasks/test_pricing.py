from pathlib import Path

import pytest

from diffsensei.config import load_preset
from diffsensei.costs.gpus import GPUS
from infra.store import Store
from tasks.planning import plan_targets
from tasks.pricing import price


@pytest.mark.slow
def test_the_papers_plan_is_priced_without_its_weights_being_there(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text("[]")
    config = load_preset("paper", [f"data.source.annotations={tmp_path / 'annotations.json'}"])
    plan = plan_targets(config, ("report",), Store(tmp_path / "store"))
    found = price(config, plan, GPUS["h200"], 0.3)
    hours = {row["stage"]: float(row["GPU-hours"]) for row in found.rows}
    assert set(hours) == {
        "features", "pretrain", "stage1", "stage2", "generate_sdxl_t2i", "generate_stage1", "generate_diffsensei"
    }  # fmt: skip
    assert 20 < hours["stage1"] < 30
    assert any("427,147 panels" in note for note in found.notes)
    assert any(note.startswith("not counted: ") and "ar_ldm" in note for note in found.notes)
    small = price(config, plan, GPUS["rtx4090"], 0.3)
    assert any("does not fit" in row[""] for row in small.rows)


def test_data_that_is_neither_cut_nor_known_is_not_guessed(tmp_path: Path) -> None:
    config = load_preset("tiny")
    plan = plan_targets(config, ("report",), Store(tmp_path / "store"))
    with pytest.raises(ValueError, match="none are cut yet"):
        price(config, plan, GPUS["h200"], 0.3)
