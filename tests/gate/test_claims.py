"""The rules against scores with known differences."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import binom

from diffsensei.evaluation.comparability import benchmark_digest
from diffsensei.gate.certificate import RuleOutcome
from diffsensei.gate.claims import Scores, check_rule
from tests.gate.conftest import CONFIG, PAGES, Candidate, make_candidate, rule, write_scores


def _check(candidate: Candidate, **changes: Any) -> RuleOutcome:
    return check_rule(rule(**changes), Scores.read(candidate.score), None, CONFIG.evaluation)


def test_a_true_difference_passes_with_its_size_and_an_absent_one_fails(candidate: Candidate) -> None:
    better = _check(candidate)
    assert (better.state, better.num_pages) == ("passed", PAGES)
    assert better.estimate == pytest.approx(0.1, abs=0.03)
    assert better.low is not None
    assert better.high is not None
    assert 0 < better.low < better.estimate < better.high
    assert better.p_value == pytest.approx(1 / (CONFIG.evaluation.bootstrap_resamples + 1))
    swapped = _check(candidate, method="sdxl_t2i", against={"kind": "method", "method": "diffsensei"})
    assert swapped.state == "failed"
    assert swapped.estimate == pytest.approx(-better.estimate)
    assert "needed more than +0.000" in swapped.detail


@pytest.mark.parametrize(
    ("claim", "margin", "state"),
    [("superior", 0.05, "passed"), ("superior", 0.15, "failed"), ("not_inferior", 0.01, "passed")],
)
def test_margins_move_the_threshold(candidate: Candidate, claim: str, margin: float, state: str) -> None:
    outcome = _check(candidate, claim=claim, margin=margin)
    assert outcome.state == state
    assert outcome.threshold == (margin if claim == "superior" else -margin)


def test_a_slightly_worse_method_is_not_inferior_within_the_margin_only(candidates: Callable[..., Candidate]) -> None:
    worse = candidates("worse", gains={"diffsensei": -0.05, "sdxl_t2i": 0.0})
    assert _check(worse, claim="not_inferior", margin=0.1).state == "passed"
    assert _check(worse, claim="not_inferior", margin=0.02).state == "failed"


def test_lower_is_better_for_fid_and_the_sign_says_so(candidate: Candidate) -> None:
    outcome = _check(candidate, metric="fid", direction="lower")
    assert outcome.estimate == pytest.approx(2.0)  # 28 against 30
    assert outcome.state == "failed"  # two intervals of +-2: not told apart
    assert _check(candidate, metric="fid", direction="lower", claim="not_inferior", margin=3.0).state == "passed"
    # 2 / (sqrt(2) * 2 / 1.96) = 1.386 standard errors
    assert outcome.p_value == pytest.approx(0.0829, abs=1e-3)


def test_a_fixed_value_and_counts(candidate: Candidate) -> None:
    assert _check(candidate, against={"kind": "value", "value": 0.4}).state == "passed"
    assert _check(candidate, against={"kind": "value", "value": 0.6}).state == "failed"
    dialogs = _check(candidate, metric="dialog_f1", against={"kind": "value", "value": 0.4})
    assert dialogs.state == "passed"
    assert dialogs.how.startswith("page bootstrap")


def test_what_was_not_drawn_or_is_too_little_fails_in_words(candidates: Callable[..., Candidate]) -> None:
    assert "diffsensei lacks 3 of 80 measurements" in _check(candidates("few", absent=3)).detail
    whole = candidates("whole")
    assert "ms_diffusion was not drawn" in _check(whole, against={"kind": "method", "method": "ms_diffusion"}).detail
    assert "the rule asks for 21" in _check(whole, min_pages=21).detail


def test_a_rule_that_no_benchmark_can_answer_is_a_fault_of_the_configuration(candidate: Candidate) -> None:
    with pytest.raises(ValueError, match="no metric 'dino_x'; known: dino_c"):
        _check(candidate, metric="dino_x")
    with pytest.raises(ValueError, match="dino_c is better higher, the rule says lower"):
        _check(candidate, direction="lower")
    with pytest.raises(ValidationError, match="needs a margin above 0"):
        rule(claim="not_inferior")
    with pytest.raises(ValidationError, match="compared with itself"):
        rule(against={"kind": "method", "method": "diffsensei"})


def test_the_previous_release_is_compared_on_the_same_panels(candidate: Candidate, tmp_path: Path) -> None:
    scores = Scores.read(candidate.score)
    digest = benchmark_digest(candidate.benchmark)
    keeps = rule(against={"kind": "previous"}, claim="not_inferior", margin=0.03)
    assert check_rule(keeps, scores, None, CONFIG.evaluation).state == "no_baseline"
    for name, gain, state in (("alike", 0.1, "passed"), ("better", 0.3, "failed")):
        previous = Scores.read(write_scores(tmp_path / name, {"diffsensei": gain}, digest))
        assert check_rule(keeps, scores, previous, CONFIG.evaluation).state == state
    other = Scores.read(write_scores(tmp_path / "other", {"diffsensei": 0.1}, "b" * 64))
    outcome = check_rule(keeps, scores, other, CONFIG.evaluation)
    assert outcome.state == "failed"
    assert "benchmarks differ" in outcome.detail


@pytest.mark.slow
def test_a_candidate_on_the_margin_passes_as_rarely_as_alpha_says(tmp_path: Path) -> None:
    """200 pairs of methods without a true difference: a rule at alpha 0.1 may pass about one in ten."""
    passed = 0
    evaluation = CONFIG.evaluation.replaced(bootstrap_resamples=400)
    scores = Scores.read(make_candidate(tmp_path, gains={"diffsensei": 0.0, "sdxl_t2i": 0.0}).score)
    rng = np.random.default_rng(7)
    measured = (scores.items["metric"] == "dino_c").to_numpy()
    page = scores.items["page_id"].str.removeprefix("page").astype(int).to_numpy()
    ours = (scores.items["method"] == "diffsensei").to_numpy()
    for number in range(200):
        scores.items.loc[measured, "value"] = rng.normal(0, 0.1, (2, PAGES))[ours.astype(int), page][measured]
        outcome = check_rule(rule(alpha=0.1, name=f"identity{number}"), scores, None, evaluation)
        passed += outcome.state == "passed"
    assert binom.ppf(1e-4, 200, 0.08) <= passed <= binom.ppf(1 - 1e-4, 200, 0.14)
