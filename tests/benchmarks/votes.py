"""How long raters wait for a stored vote while two hundred of them vote: ten times as often as people do, and at once.

A time, not a ratio, of this machine; server and raters share its processors.
"""

import asyncio
import tempfile
from pathlib import Path

import numpy as np

from diffsensei.config import load_preset
from diffsensei.study.prepare import prepare_study
from tests.study.conftest import draw_benchmark, draw_methods
from tests.study.crowd import Crowd, served, vote_all

RATERS, GOAL_MS = 200, 300
PACES_S = {"a vote each 2 s on average": 4.0, "the next vote as soon as one is stored": 0.0}
"""What raters do -> how long they think at most before a vote."""


def measured() -> list[str]:
    """A line for each pace; raises AssertionError if a vote was not stored."""
    return [f"{RATERS} raters, {what}: {_at_pace(thinking_s)}" for what, thinking_s in PACES_S.items()]


def _at_pace(thinking_s: float) -> str:
    config = load_preset("tiny").study.replaced(
        num_raters=RATERS, items_per_rater=5, checks_per_rater=0, repeats_per_rater=0, page_width=240
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "benchmark").mkdir()
        (folder / "drawings").mkdir()
        drawings = draw_methods(draw_benchmark(folder / "benchmark"), folder / "drawings")
        study = folder / "study"
        prepare_study(study=config, seed=0, benchmark=folder / "benchmark", drawings=drawings, output=study)
        crowd = Crowd()
        with served(study) as (address, _):
            asyncio.run(vote_all(address, study, crowd, thinking_s=thinking_s))
    assert (len(crowd.acknowledged), crowd.refused) == (RATERS * 5, [])
    median, p99 = 1e3 * np.quantile(crowd.waits_s, [0.5, 0.99])
    return f"on disk after a median of {median:.0f} ms, p99 {p99:.0f} ms (goal {GOAL_MS})"


if __name__ == "__main__":
    print(*measured(), sep="\n")
