"""Who judges what, and in which order: seeded and balanced.

An item is a set of methods (a pair, or all of them) on one page. Items use every set and every page equally often;
each is judged by about equally many raters; and where a set is shown, its methods take turns in every place: the n-th
showing is a row of a Williams square, whose names are drawn anew for every square. With the paper's budget of 15
raters x 10 sets, 6 methods in pairs and 2 raters an item, every pair gets exactly 10 votes.
Source: Williams 1949 (squares in which, for an even number of methods, each follows each other equally often).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from diffsensei.config.schema import StudyConfig
from diffsensei.seeding import numpy_stream

LEAST_DISTANCE = 3
"""Trials between a set and its repetition, where there are so many."""

Kind = Literal["item", "repeat", "check"]


@dataclass(frozen=True)
class PlannedTrial:
    """What is shown at once. ``methods`` are in the order of their places; a check has none."""

    kind: Kind
    page: str
    methods: tuple[str, ...]


def plan_trials(
    config: StudyConfig, methods: Sequence[str], pages: Sequence[str], seed: int
) -> list[list[PlannedTrial]]:
    """The trials of each rater, in the order they are shown.

    Raises ValueError for fewer than two methods, repeated names, or too few pages for a rater's items.
    """
    if len(methods) < 2 or len(set(methods)) < len(methods):
        raise ValueError(f"expected at least two different methods, got {', '.join(methods) or 'none'}")
    sets: list[tuple[str, ...]] = [tuple(methods)] if config.form == "best_of_all" else [*combinations(methods, 2)]
    possible = len(sets) * len(set(pages))
    if possible < config.items_per_rater:
        raise ValueError(
            f"expected at least {config.items_per_rater} different sets to show a rater, {len(set(pages))} pages of "
            f"{len(sets)} give {possible}; lower study.items_per_rater or evaluate more pages"
        )
    rng = numpy_stream(seed, "study", "design")
    wanted = -(-config.num_raters * config.items_per_rater // config.raters_per_item)
    items = _items(sets, sorted(set(pages)), min(max(wanted, config.items_per_rater), possible), rng)
    judged: Counter[tuple[tuple[str, ...], str]] = Counter()
    shown: Counter[tuple[str, ...]] = Counter()
    squares: dict[tuple[tuple[str, ...], int], list[tuple[str, ...]]] = {}
    planned = []
    for _ in range(config.num_raters):
        trials = []
        for item in _choice(items, judged, config.items_per_rater, rng):
            members, page = item
            judged[item] += 1
            block, row = divmod(shown[members], len(members))
            shown[members] += 1
            if (members, block) not in squares:
                squares[members, block] = _square(members, rng)
            trials.append(PlannedTrial("item", page, squares[members, block][row]))
        planned.append(_with_controls(trials, config, sorted(set(pages)), rng))
    return planned


def _items(
    sets: list[tuple[str, ...]], pages: list[str], count: int, rng: np.random.Generator
) -> list[tuple[tuple[str, ...], str]]:
    """``count`` different items: sets in turn, each with the page least used, but never twice with the same."""
    used: Counter[str] = Counter()
    taken: dict[tuple[str, ...], set[str]] = {members: set() for members in sets}
    order = [sets[i] for i in rng.permutation(len(sets))]
    items: list[tuple[tuple[str, ...], str]] = []
    for number in range(count):
        members = order[number % len(order)]
        free = [page for page in pages if page not in taken[members]]
        page = min(free, key=lambda page: (used[page], rng.random()))
        used[page] += 1
        taken[members].add(page)
        items.append((members, page))
    return items


def _choice(
    items: list[tuple[tuple[str, ...], str]],
    judged: Counter[tuple[tuple[str, ...], str]],
    count: int,
    rng: np.random.Generator,
) -> list[tuple[tuple[str, ...], str]]:
    """``count`` different items for one rater: those judged least; among them pages and sets new to the rater."""
    pages: Counter[str] = Counter()
    sets: Counter[tuple[str, ...]] = Counter()
    free, chosen = list(items), []
    for _ in range(count):
        best = min(free, key=lambda item: (judged[item], pages[item[1]], sets[item[0]], rng.random()))
        free.remove(best)
        pages[best[1]] += 1
        sets[best[0]] += 1
        chosen.append(best)
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _square(members: tuple[str, ...], rng: np.random.Generator) -> list[tuple[str, ...]]:
    """A Williams square over ``members`` under random names: each once in every row and column."""
    size = len(members)
    first = [(step + 1) // 2 if step % 2 else (size - step // 2) % size for step in range(size)]
    names = [members[i] for i in rng.permutation(size)]
    rows = [tuple(names[(column + row) % size] for column in first) for row in range(size)]
    return [rows[i] for i in rng.permutation(size)]


def _with_controls(
    trials: list[PlannedTrial], config: StudyConfig, pages: list[str], rng: np.random.Generator
) -> list[PlannedTrial]:
    """``trials`` with repetitions (mirrored, towards the end) and checks (never first) put between."""
    full = list(trials)
    for original in trials[: config.repeats_per_rater]:
        repeated = PlannedTrial("repeat", original.page, original.methods[::-1])
        earliest = min(full.index(original) + 1 + LEAST_DISTANCE, len(full))
        full.insert(int(rng.integers(earliest, len(full) + 1)), repeated)
    for _ in range(config.checks_per_rater):
        check = PlannedTrial("check", pages[int(rng.integers(len(pages)))], ())
        full.insert(int(rng.integers(1, len(full) + 1)), check)
    return full
