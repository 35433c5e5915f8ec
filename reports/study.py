"""The human study as a page shows it: preferences with intervals, who beat whom, and how far raters agree."""

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from diffsensei.study.results import (
    AgreementRow,
    Aspect,
    ContrastRow,
    PowerResult,
    RaterRow,
    ShareRow,
    StudyResult,
    Tables,
    read_study,
)
from reports.charts import Dot, dot_chart
from reports.results_table import ABSENT, figure_text, interval_text

NO_VOTES = "no votes"
COLOURS = 5
"""Of methods, repeated where there are more."""
LONGEST_IN_CHART = 28
PER_CENT = (-3.0, 103.0)
"""Ends of every chart's scale, so that they can be read beside each other and dots at 0 and 100 are whole."""
OVERALL = "overall"
"""The aspect that the page begins with."""


@dataclass(frozen=True)
class MethodLine:
    """One method under one aspect."""

    method: str
    share: str
    interval: str
    wins: int
    no_difference: int
    shown: int
    strength: str
    strength_interval: str
    share_of_everyone: str
    """The share with the raters who are left out."""


@dataclass(frozen=True)
class WinCell:
    """How often the row's method was chosen while the column's was shown."""

    text: str
    hint: str
    share: float
    """Per cent of the decided votes, for the shade."""


@dataclass(frozen=True)
class AspectView:
    """One question and its answers."""

    aspect: Aspect
    lines: tuple[MethodLine, ...]
    chart: Markup
    matrix: tuple[tuple[str, tuple[WinCell | None, ...]], ...]
    """Rows by method; None on the diagonal and where a pair was never shown."""
    contrasts: tuple[tuple[ContrastRow, str, str], ...]
    """Pairs with their difference and its interval as text."""
    agreement: str
    agreement_hint: str


@dataclass(frozen=True)
class Headline:
    """The method that was preferred most, all in all."""

    aspect: str
    method: str
    share: str
    interval: str
    apart: tuple[str, ...]
    """Methods that it is told apart from, and those that it is not."""
    level: tuple[str, ...]


@dataclass(frozen=True)
class StudyView:
    """The page; ``aspects`` is empty where nobody has voted."""

    result: StudyResult
    partial: str
    headline: Headline | None
    aspects: tuple[AspectView, ...]
    excluded: tuple[RaterRow, ...]
    checks: tuple[int, int]
    """Attention checks failed, and answered."""
    repeats: tuple[int, int]
    """Answers to repeated sets that were as the first time, and all of them."""
    positions: tuple[str, ...]
    position_p: str
    percent: str
    chance: str
    """The share of a method that is like all others."""
    power: PowerResult | None


def study_view(folder: Path) -> StudyView:
    """What a page shows of ``folder/study.json`` and, where it is there, ``folder/power.json``.

    Raises ValueError where there is no study.
    """
    result = read_study(folder)
    power = folder / "power.json"
    voted = result.state != NO_VOTES and result.kept.votes > 0
    position = result.kept.position
    return StudyView(
        result=result,
        partial=result.state.removeprefix("partial: ") if result.state.startswith("partial") else "",
        headline=_headline(result) if voted else None,
        aspects=tuple(_aspect(aspect, result, place) for place, aspect in enumerate(result.aspects)) if voted else (),
        excluded=tuple(row for row in result.raters if row.excluded),
        checks=(sum(row.checks_failed for row in result.raters), sum(row.checks_answered for row in result.raters)),
        repeats=(sum(row.repeats_same for row in result.raters), sum(row.repeats_answered for row in result.raters)),
        positions=tuple(_percent(share) for share in position.shares),
        position_p=ABSENT if position.p_value is None else f"{position.p_value:.3f}",
        percent=f"{100 * result.confidence:g}",
        chance=_percent(_chance(result)),
        power=PowerResult.model_validate_json(power.read_text()) if power.is_file() else None,
    )


def _chance(result: StudyResult) -> float:
    return 0.5 if result.form == "pairs" else 1 / len(result.methods)


def _headline(result: StudyResult) -> Headline | None:
    aspect = next((aspect for aspect in result.aspects if aspect.name == OVERALL), None)
    shares = [row for row in result.kept.shares if row.aspect == OVERALL]
    if aspect is None or not shares:
        return None
    first = max(shares, key=lambda row: row.share)
    others = {
        row.other if row.method == first.method else row.method: row.told_apart
        for row in result.kept.contrasts
        if row.aspect == OVERALL and first.method in (row.method, row.other)
    }
    return Headline(
        aspect=aspect.label,
        method=first.method,
        share=_percent(first.share),
        interval=_percents(first.low, first.high),
        apart=tuple(other for other, apart in others.items() if apart),
        level=tuple(other for other, apart in others.items() if not apart),
    )


def _aspect(aspect: Aspect, result: StudyResult, place: int) -> AspectView:
    kept, name = result.kept, aspect.name
    shares = {row.method: row for row in kept.shares if row.aspect == name}
    agreement = next((row for row in kept.agreement if row.aspect == name), None)
    dots = [
        Dot(
            _short(method),
            100 * row.share,
            _times_100(row.low),
            _times_100(row.high),
            1 + index % COLOURS,
            anchor=False,
        )
        for index, method in enumerate(result.methods)
        if (row := shares.get(method)) is not None
    ]
    return AspectView(
        aspect=aspect,
        lines=tuple(_line(shares[method], result) for method in result.methods if method in shares),
        chart=dot_chart(
            dots,
            name=f"study-{place}",
            title=f"{aspect.label}: per cent preferred, with intervals; dashed: a method like all others",
            limits=PER_CENT,
            reference=100 * _chance(result),
        ),
        matrix=tuple(
            (method, tuple(_cell(kept, name, method, other) for other in result.methods)) for method in result.methods
        ),
        contrasts=tuple(
            (row, _signed(row.difference), interval_text(row.low, row.high, signed=True))
            for row in kept.contrasts
            if row.aspect == name
        ),
        agreement=ABSENT if agreement is None or agreement.alpha is None else figure_text(agreement.alpha),
        agreement_hint=_agreement(agreement),
    )


def _line(share: ShareRow, result: StudyResult) -> MethodLine:
    def mine(row: ShareRow) -> bool:
        return (row.aspect, row.method) == (share.aspect, share.method)

    strength = next(
        (row for row in result.kept.strengths if (row.aspect, row.method) == (share.aspect, share.method)), None
    )
    everyone = next((row for row in result.everyone.shares if mine(row)), None)
    return MethodLine(
        method=share.method,
        share=_percent(share.share),
        interval=_percents(share.low, share.high),
        wins=share.wins,
        no_difference=share.no_difference,
        shown=share.shown,
        strength=ABSENT if strength is None else _signed(strength.log_strength),
        strength_interval="" if strength is None else interval_text(strength.low, strength.high, signed=True),
        share_of_everyone=ABSENT if everyone is None else _percent(everyone.share),
    )


def _cell(tables: Tables, aspect: str, method: str, other: str) -> WinCell | None:
    if method == other:
        return None
    wins = {(row.method, row.other): row for row in tables.wins if row.aspect == aspect}
    ours, theirs = wins.get((method, other)), wins.get((other, method))
    if ours is None:
        return None
    lost = theirs.wins if theirs is not None else 0
    decided = ours.wins + lost
    if not decided + ours.no_difference:
        return None
    hint = f"{method} chosen {ours.wins} times, {other} {lost} times, no difference {ours.no_difference} times"
    return WinCell(str(ours.wins), hint, 100 * ours.wins / decided if decided else 50.0)


def _agreement(row: AgreementRow | None) -> str:
    if row is None or row.alpha is None:
        return "no set was judged by two raters"
    return f"{interval_text(row.low, row.high, signed=True)}, {row.units} sets judged by two raters or more"


def _short(method: str) -> str:
    """A name that leaves room for the chart beside it."""
    return method if len(method) <= LONGEST_IN_CHART else f"{method[: LONGEST_IN_CHART - 1]}\N{HORIZONTAL ELLIPSIS}"


def _times_100(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _percents(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{100 * low:.0f}{ABSENT}{100 * high:.0f} %"


def _signed(value: float) -> str:
    return figure_text(value) if value < 0 else f"+{figure_text(value)}"
