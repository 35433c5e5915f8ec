"""Known answers: by hand, from the literature, and from raters whose tastes are known."""

from itertools import combinations

import evalica
import numpy as np
import pandas as pd
import pytest

from diffsensei.config import load_preset
from diffsensei.study.ballots import Ballot, rater_rows
from diffsensei.study.preference import PRIOR_WINS, fit_many, krippendorff_alpha, pair_cells, strength_draws, tabulate
from diffsensei.study.simulate import simulate_ballots, simulate_power

BASE = load_preset("tiny").study
NAN = float("nan")
WORKED_EXAMPLE = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3),
    (NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN),
)
"""Krippendorff, Computing Krippendorff's alpha-reliability (2011), section C: alpha is 0.743."""


def ballot(
    rater: str, page: str, methods: tuple[str, ...], choice: int | None, kind: str = "item", seconds: float = 10
) -> Ballot:
    choices = {"overall": choice, "image_quality": choice}
    return Ballot(rater, kind, page, methods, choices, seconds)  # type: ignore[arg-type]


def test_alpha_of_the_worked_example() -> None:
    table = np.array(WORKED_EXAMPLE)
    counts = np.stack([(table == value).sum(axis=0) for value in range(1, 6)], axis=1).astype(float)
    assert float(krippendorff_alpha(counts)) == pytest.approx(0.743, abs=5e-4)
    assert float(krippendorff_alpha(counts)) == pytest.approx(evalica.alpha(pd.DataFrame(table)).alpha)


def test_alpha_of_agreement_and_of_nothing_to_disagree_on() -> None:
    assert float(krippendorff_alpha(np.array([[2.0, 0], [0, 3]]))) == 1
    assert np.isnan(krippendorff_alpha(np.array([[2.0, 0], [3, 0]])))
    assert np.isnan(krippendorff_alpha(np.array([[1.0, 0], [0, 1]])))


def test_two_methods_by_hand() -> None:
    votes = [ballot(f"r{i % 4}", f"p{i % 5}", ("a", "b"), 0 if i < 15 else 1) for i in range(20)]
    tables = tabulate(votes, ("a", "b"), ("overall",), resamples=300, confidence=0.95, seed=0)
    a, b = tables.shares
    assert (a.share, a.wins, a.shown, b.share) == (0.75, 15, 20, 0.25)
    assert a.low is not None
    assert a.high is not None
    assert a.low < 0.75 < a.high
    difference = np.log((15 + PRIOR_WINS) / (5 + PRIOR_WINS))
    assert tables.contrasts[0].difference == pytest.approx(difference, abs=1e-4)
    assert [(row.method, row.wins) for row in tables.wins] == [("a", 15), ("b", 5)]
    assert tables.position.shares == (0.75, 0.25)
    assert tables.position.p_value == pytest.approx(0.0253, abs=1e-4)


def test_no_difference_is_shared() -> None:
    votes = [ballot("r", "p", ("a", "b"), None), ballot("r", "q", ("b", "a"), 1)]
    a, b = tabulate(votes, ("a", "b"), ("overall",), resamples=10, confidence=0.95, seed=0).shares
    assert (a.share, a.no_difference, a.wins) == (0.75, 1, 1)
    assert (b.share, b.low) == (0.25, None), "one rater has no interval"


def test_sets_of_all_give_luce_s_strengths() -> None:
    counts = {0: 30, 1: 20, 2: 10}
    votes = [ballot(f"r{i}", f"p{i}", ("a", "b", "c"), c) for c, n in counts.items() for i in range(n)]
    fitted, _ = strength_draws(pair_cells(votes, ("a", "b", "c"), "overall"), ("a", "b", "c"), np.zeros((0, 60)))
    shares = np.exp(fitted) / np.exp(fitted).sum()
    np.testing.assert_allclose(shares, [0.5, 1 / 3, 1 / 6], atol=0.003)


def test_all_at_once_is_as_evalica_one_by_one() -> None:
    rng = np.random.default_rng(0)
    tables = rng.integers(0, 12, (30, 45)).astype(float)
    methods = tuple("abcdef")
    one_vote = np.zeros((1, 15, 3))
    singly = []
    for table in tables:
        one_vote[0] = table.reshape(15, 3)
        singly.append(strength_draws(one_vote, methods, np.zeros((0, 1)))[0])
    np.testing.assert_allclose(fit_many(tables, 6), singly, atol=1e-4)


def test_a_method_that_never_won_stays_finite() -> None:
    votes = [ballot(f"r{i % 3}", f"p{i % 3}", ("a", "b"), 0) for i in range(9)]
    tables = tabulate(votes, ("a", "b"), ("overall",), resamples=50, confidence=0.95, seed=0)
    assert all(np.isfinite(row.log_strength) for row in tables.strengths)
    assert tables.contrasts[0].told_apart


def test_nothing_voted_is_no_error() -> None:
    tables = tabulate([], ("a", "b"), ("overall",), resamples=10, confidence=0.95, seed=0)
    assert (tables.votes, tables.shares, tables.position.p_value) == (0, (), None)


def test_the_rule_leaves_out_who_fails_or_hurries_and_no_other() -> None:
    check = ("truth", "ruin")
    ballots = [
        *(ballot("careless", "p", check, 1, "check") for _ in range(2)),
        ballot("once", "p", check, 1, "check"),
        ballot("once", "p", check, 0, "check"),
        ballot("hasty", "p", ("a", "b"), 0, seconds=2.9),
        ballot("steady", "p", ("a", "b"), 0),
        ballot("steady", "p", ("b", "a"), 1, "repeat"),
    ]
    rows = {
        row.rater: row
        for row in rater_rows(ballots, dict.fromkeys(("careless", "once", "hasty", "steady", "idle"), 9), BASE)
    }
    assert rows["careless"].excluded == "failed 2 of 2 attention checks"
    assert rows["hasty"].excluded == "median time 2.9 s per set"
    assert [rows[name].excluded for name in ("once", "steady", "idle")] == ["", "", ""]
    assert (rows["steady"].repeats_same, rows["steady"].repeats_answered) == (2, 2)


@pytest.mark.parametrize("form", ["pairs", "best_of_all"])
def test_known_tastes_are_recovered(form: str) -> None:
    config = BASE.replaced(form=form, num_raters=60, items_per_rater=20)
    strengths = {"worst": -1.0, "fair": -0.3, "good": 0.3, "best": 1.0}
    ballots = simulate_ballots(config, strengths, [f"p{i}" for i in range(60)], seed=1, spread=0.2)
    tables = tabulate(ballots, list(strengths), ("overall",), resamples=200, confidence=0.95, seed=0)
    found = {row.method: row for row in tables.strengths}
    assert sorted(found, key=lambda name: found[name].log_strength) == list(strengths)
    for name, true in strengths.items():
        low, high = found[name].low, found[name].high
        assert low is not None
        assert high is not None
        assert low - 0.1 < true < high + 0.1
    assert all(row.told_apart for row in tables.contrasts)
    assert len(tables.contrasts) == len(list(combinations(strengths, 2)))


def test_equal_methods_are_rarely_told_apart_and_more_raters_tell_more() -> None:
    full = simulate_power(BASE, num_methods=2, num_pages=40, preferences=(0.501, 0.7), studies=20, seed=0)
    fewer = simulate_power(
        BASE.replaced(num_raters=2), num_methods=2, num_pages=40, preferences=(0.7,), studies=20, seed=0
    )
    assert full.rows[0].told_apart <= 0.15
    assert full.rows[1].told_apart > fewer.rows[0].told_apart
    with pytest.raises(ValueError, match=r"above 0\.5"):
        simulate_power(BASE, num_methods=2, num_pages=40, preferences=(0.5,), studies=1, seed=0)
