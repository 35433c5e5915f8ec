"""Do two namings of the characters of a page agree? Pairs of characters, same person or different.

Pairwise F1 of "same person" and the adjusted Rand index (Hubert and Arabie 1985), which corrects for chance. Ids mean
nothing beyond their page, so only who is with whom counts.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from diffsensei.data.annotation.boxes import AnnotatedBox
from diffsensei.data.annotation.edits import Edit
from diffsensei.data.annotation.layers import RefinedPage, refine_page
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.seeding import numpy_stream

NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class PageAgreement:
    """Two namings of one page's ``num_characters`` common boxes."""

    page_key: str
    num_characters: int
    same_both: int
    """Pairs of boxes that are one person in both namings."""
    same_first: int
    same_second: int
    ari: float | None
    """None with fewer than two boxes."""

    @property
    def f1(self) -> float | None:
        """None where neither naming has two boxes of one person."""
        return _f1(self.same_both, self.same_first + self.same_second)


def _f1(both: float, sum_of_sames: float) -> float | None:
    return 2 * both / sum_of_sames if sum_of_sames else None


def _num_pairs(counts: Iterable[int]) -> int:
    return sum(n * (n - 1) // 2 for n in counts)


def compare_namings(page_key: str, first: Mapping[str, Hashable], second: Mapping[str, Hashable]) -> PageAgreement:
    """Agreement on the boxes that both name; the namings are box name -> person."""
    common = [name for name in first if name in second]
    a, b = [str(first[name]) for name in common], [str(second[name]) for name in common]
    same_both = _num_pairs(Counter(zip(a, b, strict=True)).values())
    same_first, same_second = _num_pairs(Counter(a).values()), _num_pairs(Counter(b).values())
    return PageAgreement(
        page_key, len(common), same_both, same_first, same_second, _ari(same_both, same_first, same_second, len(common))
    )


def _ari(both: int, first: int, second: int, n: int) -> float | None:
    if n < 2:
        return None
    expected = first * second / (n * (n - 1) / 2)
    most = (first + second) / 2
    # Both namings are "all one person" or both "all different": they agree fully, and chance cannot do otherwise.
    return 1.0 if most == expected else (both - expected) / (most - expected)


def summarise(pages: Sequence[PageAgreement], seed: int = 0) -> dict[str, Any]:
    """Micro F1 over all pairs of boxes and mean ARI over pages, with 95 % intervals by resampling pages."""
    counts = np.array([[p.same_both, p.same_first + p.same_second] for p in pages], dtype=np.float64).reshape(-1, 2)
    aris = np.array([p.ari for p in pages if p.ari is not None], dtype=np.float64)
    rng = numpy_stream(seed, "annotation agreement")
    f1s: list[float | None] = []
    means: list[float | None] = []
    for _ in range(NUM_RESAMPLES if len(pages) > 1 else 0):
        both, sames = counts[rng.integers(len(counts), size=len(counts))].sum(axis=0)
        f1s.append(_f1(both, sames))
        means.append(float(aris[rng.integers(len(aris), size=len(aris))].mean()) if len(aris) > 1 else None)
    both, sames = counts.sum(axis=0)
    return {
        "pages": len(pages),
        "characters": sum(page.num_characters for page in pages),
        "f1": _f1(both, sames),
        "f1_interval": _interval(f1s),
        "ari": float(aris.mean()) if len(aris) else None,
        "ari_interval": _interval(means),
    }


def _interval(resampled: Sequence[float | None]) -> list[float | None]:
    values = [value for value in resampled if value is not None]
    return [float(bound) for bound in np.quantile(values, (0.025, 0.975))] if values else [None, None]


def naming_of(boxes: Iterable[AnnotatedBox]) -> dict[str, int | str]:
    """Who each character box of a page is."""
    return {box.box_id: box.character_id for box in boxes if box.kind == "character"}


def agreement_report(machine: MachineLayer, edits: Iterable[Edit], refined: Iterable[RefinedPage]) -> dict[str, Any]:
    """Machine against final on the pages that people went over, and each pair of annotators on the pages of both."""
    by_page: dict[str, list[Edit]] = defaultdict(list)
    for edit in edits:
        by_page[edit.page_key].append(edit)
    with_final = [
        compare_namings(page.page_key, naming_of(machine.boxes(page.page_key).values()), naming_of(page.final))
        for page in refined
        if page.annotators
    ]
    between: dict[tuple[str, str], list[PageAgreement]] = defaultdict(list)
    for key, of_page in by_page.items():
        names = sorted({edit.annotator for edit in of_page})
        versions = {name: _naming_by(key, machine, of_page, name) for name in names} if len(names) > 1 else {}
        for a, b in combinations(versions, 2):
            between[a, b].append(compare_namings(key, versions[a], versions[b]))
    return {
        "machine_and_final": summarise(with_final),
        "annotators": [{"between": list(pair), **summarise(pages)} for pair, pages in sorted(between.items())],
        "pages": [
            {"page_key": page.page_key, "characters": page.num_characters, "f1": page.f1, "ari": page.ari}
            for page in with_final
        ],
    }


def _naming_by(key: str, machine: MachineLayer, edits: Iterable[Edit], annotator: str) -> dict[str, int | str]:
    """How one annotator names a page: what they left alone is as the machine has it."""
    own = [edit for edit in edits if edit.annotator == annotator]
    boxes = machine.boxes(key)
    added = {edit.box_id for edit in own if edit.action == "add"}
    known = [edit for edit in own if edit.action == "review" or edit.box_id in boxes or edit.box_id in added]
    return naming_of(refine_page(key, boxes, known).final)
