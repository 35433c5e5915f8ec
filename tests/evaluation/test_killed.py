"""Scoring killed at many moments, then another attempt: the same scores, and pictures that were seen are not again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from diffsensei.config.schema import EvaluationConfig
from diffsensei.evaluation.score import score_methods
from tests.infra.faults import GONE, Disk, Operation, calls_of, in_child

NUM_KILLS = 6
RESULTS = ("items.parquet", "summary.json", "breakdowns.parquet")
Scoring = Callable[[Path, str], Operation]


@pytest.fixture
def scoring(evaluation: EvaluationConfig, benchmark: Path, generated: dict[str, Path]) -> Scoring:
    """An attempt by folder and its own name, in the shared folders of features and workspace."""

    def attempt(folder: Path, name: str) -> Operation:
        for place in ("work", "features", name):
            (folder / place).mkdir(parents=True, exist_ok=True)
        return lambda: score_methods(
            evaluation=evaluation,
            benchmark=benchmark,
            features=folder / "features",
            workspace=folder / "work",
            output=folder / name,
            **generated,
        )

    return attempt


@pytest.mark.slow
def test_killed_at_many_moments_it_ends_with_the_same_scores(scoring: Scoring, tmp_path: Path) -> None:
    calls = calls_of(scoring(tmp_path / "straight", "score"), tmp_path / "calls")
    straight = [(tmp_path / "straight" / "score" / name).read_bytes() for name in RESULTS]
    seen = {path.name for path in (tmp_path / "straight" / "features").glob("*/*.npz")}
    assert len(calls) > 10 * NUM_KILLS
    assert len(seen) > NUM_KILLS

    killed, kept = tmp_path / "killed", 0
    for number in range(NUM_KILLS):
        code = in_child(scoring(killed, f"attempt-{number}"), Disk(len(calls) // (2 * NUM_KILLS)))
        assert code == GONE
        stored = {path.name for path in (killed / "features").glob("*/*.npz")}
        assert len(stored) >= kept, "what a judge had seen was lost"
        kept = len(stored)
    assert 0 < kept < len(seen)
    before = {path: path.stat().st_ino for path in (killed / "features").glob("*/*.npz")}
    assert in_child(scoring(killed, "last"), Disk()) == 0
    assert [(killed / "last" / name).read_bytes() for name in RESULTS] == straight
    assert {path: path.stat().st_ino for path in before} == before, "a picture was seen again"
    assert {path.name for path in (killed / "features").glob("*/*.npz")} == seen
