"""The plan is balanced whatever is asked, and the same for the same seed."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsensei.config import load_preset
from diffsensei.study.design import plan_trials

BASE = load_preset("tiny").study
PAGES = [f"page-{number:02d}" for number in range(96)]
SIX = ("a", "b", "c", "d", "e", "f")


def test_the_paper_s_budget_gives_every_pair_ten_votes_five_each_way() -> None:
    trials = [trial for rater in plan_trials(BASE, SIX, PAGES, 0) for trial in rater if trial.kind == "item"]
    assert len(trials) == 150
    counts = Counter(frozenset(trial.methods) for trial in trials)
    assert counts == {frozenset(pair): 10 for pair in combinations(SIX, 2)}
    assert set(Counter(trial.methods for trial in trials).values()) == {5}
    items = Counter((frozenset(trial.methods), trial.page) for trial in trials)
    assert set(items.values()) == {2}, "two raters per item, so that agreement can be told"


def test_all_methods_at_once_take_turns_in_every_place() -> None:
    planned = plan_trials(BASE.replaced(form="best_of_all", num_raters=18), SIX, PAGES, 0)
    trials = [trial for rater in planned for trial in rater if trial.kind == "item"]
    for place in range(6):
        assert set(Counter(trial.methods[place] for trial in trials).values()) == {30}
    follows = Counter(pair for trial in trials for pair in zip(trial.methods, trial.methods[1:], strict=False))
    assert set(follows.values()) == {30}, "each follows each other equally often"
    assert len(follows) == 30


@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from(["pairs", "best_of_all"]),
    num_methods=st.integers(2, 7),
    num_pages=st.integers(1, 40),
    raters=st.integers(1, 20),
    items=st.integers(1, 12),
    overlap=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_balance(form: str, num_methods: int, num_pages: int, raters: int, items: int, overlap: int, seed: int) -> None:
    methods, pages = [f"m{i}" for i in range(num_methods)], [f"p{i}" for i in range(num_pages)]
    config = BASE.replaced(form=form, num_raters=raters, items_per_rater=items, raters_per_item=overlap)
    sets = 1 if form == "best_of_all" else num_methods * (num_methods - 1) // 2
    if sets * num_pages < items:
        with pytest.raises(ValueError, match=r"lower study\.items_per_rater"):
            plan_trials(config, methods, pages, seed)
        return
    planned = plan_trials(config, methods, pages, seed)
    assert planned == plan_trials(config, methods, pages, seed)
    judged: Counter[object] = Counter()
    for trials in planned:
        own = [(frozenset(t.methods), t.page) for t in trials if t.kind == "item"]
        assert len(own) == len(set(own)) == items, "nobody judges an item twice"
        assert len(trials) == items + config.checks_per_rater + min(config.repeats_per_rater, items)
        assert trials[0].kind == "item"
        judged.update(own)
    assert max(judged.values()) - min(judged.values()) <= 1
    places: dict[object, Counter[str]] = {}
    for trials in planned:
        for trial in trials:
            if trial.kind == "item":
                for place, method in enumerate(trial.methods):
                    places.setdefault((frozenset(trial.methods), place), Counter())[method] += 1
    for (members, _), counts in places.items():  # type: ignore[misc]
        assert max(counts.values()) - min(counts[m] for m in members) <= 1


def test_a_repetition_is_mirrored_and_comes_later() -> None:
    for trials in plan_trials(BASE, SIX, PAGES, 3):
        (again,) = [i for i, trial in enumerate(trials) if trial.kind == "repeat"]
        first = [(t.kind, t.page, t.methods) for t in trials].index(
            ("item", trials[again].page, trials[again].methods[::-1])
        )
        assert first + 3 < again


@pytest.mark.parametrize("methods", [(), ("a",), ("a", "a")])
def test_methods_must_differ(methods: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least two different methods"):
        plan_trials(BASE, methods, PAGES, 0)
