from dataclasses import replace

import pytest

from diffsensei.config import load_preset
from diffsensei.costs.data_size import Panels
from diffsensei.evaluation.costs import COSTS, count_scoring
from tests.costs.workloads import few, workload

TINY = load_preset("tiny")


def test_each_picture_is_paid_for_once_a_judge() -> None:
    """Sets of pictures beside what is seen once: two of true panels, and one for each method and seed."""
    work = workload(TINY, few({4: 5}))
    none, one, two = (count_scoring(work, methods).teraflop for methods in (0, 1, 2))
    seeds = len(TINY.evaluation.seeds)
    assert two - one == pytest.approx(one - none)
    passes, judges = work.passes, TINY.evaluation.judges
    panels = 15
    once = panels * (passes.caption(judges.clip) + 1.5 * passes.image(judges.dino)) / 1e12
    assert none - once == pytest.approx(2 / seeds * (one - none))
    assert COSTS["score"](work).teraflop > two


def test_the_papers_judges_are_all_counted() -> None:
    """ViT-L/14 and ViT-B/32, DINOv2 base, Conditional DETR at 800 pixels and Inception: 0.16, 0.009, 0.057 (2.5 times,
    as crops are seen as well), 0.127 and 0.0115 TFLOP a picture."""
    config = load_preset("paper")
    work = workload(config, replace(few({2: 1}), held_out=Panels({2: 1}, (1.0, 0.0, 0.0))))
    picture = (count_scoring(work, 1).teraflop - count_scoring(work, 0).teraflop) / len(config.evaluation.seeds)
    expected = 0.162 + 0.0087 + 2.5 * 0.0457 + 0.1274 + 0.0115
    assert picture == pytest.approx(expected, rel=0.1)
