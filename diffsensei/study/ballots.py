"""Votes and key together: who preferred which method, and which raters are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from diffsensei.config.schema import StudyConfig
from diffsensei.study.packets import StudyKey
from diffsensei.study.results import RaterRow
from diffsensei.study.votes import StoredVote

CHECKED_ASPECTS = ("image_quality", "overall")
"""Of a check, these must be answered with the true page; what a ruin says of style or text is open."""
TRUE_PAGE = "truth"


@dataclass(frozen=True)
class Ballot:
    """One answered set."""

    rater: str
    kind: Literal["item", "repeat", "check"]
    page: str
    methods: tuple[str, ...]
    """By place."""
    choices: Mapping[str, int | None]
    """By aspect the place chosen, or None for no difference."""
    duration_s: float

    def chosen(self, aspect: str) -> str | None:
        """The method preferred in ``aspect``."""
        place = self.choices[aspect]
        return None if place is None else self.methods[place]


def unblind(votes: Sequence[StoredVote], key: StudyKey) -> list[Ballot]:
    """In order of arrival. Raises ValueError for a vote on what the key does not know."""
    trials = {(rater.packet, trial.trial): (rater.rater, trial) for rater in key.raters for trial in rater.trials}
    ballots = []
    for stored in votes:
        found = trials.get((stored.packet, stored.vote.trial))
        if found is None:
            raise ValueError(f"a vote on trial {stored.vote.trial}, which this key does not know; votes and key differ")
        rater, trial = found
        seconds = stored.vote.duration_ms / 1000
        ballots.append(Ballot(rater, trial.kind, trial.page_id, trial.methods, stored.vote.choices, seconds))
    return ballots


def rater_rows(ballots: Sequence[Ballot], raters: Mapping[str, int], config: StudyConfig) -> list[RaterRow]:
    """One row for each of ``raters`` (name to number of trials), with the verdict of the rule."""
    return [
        _row(rater, trials, [ballot for ballot in ballots if ballot.rater == rater], config)
        for rater, trials in raters.items()
    ]


def rule_in_words(config: StudyConfig) -> str:
    """Who is left out."""
    return (
        f"A rater is left out who fails more than {config.max_failed_checks} of {config.checks_per_rater} attention "
        f"checks (a true page beside its ruin, not chosen in image quality and overall), or whose median time per set "
        f"is below {config.min_median_s:g} s."
    )


def _row(rater: str, trials: int, ballots: Sequence[Ballot], config: StudyConfig) -> RaterRow:
    checks = [ballot for ballot in ballots if ballot.kind == "check"]
    failed = sum(any(check.chosen(aspect) != TRUE_PAGE for aspect in CHECKED_ASPECTS) for check in checks)
    pairs = [
        (first.chosen(aspect), again.chosen(aspect))
        for again in ballots
        if again.kind == "repeat"
        for first in ballots
        if first.kind == "item" and first.page == again.page and sorted(first.methods) == sorted(again.methods)
        for aspect in first.choices
    ]
    typical = median(ballot.duration_s for ballot in ballots) if ballots else None
    excluded = ""
    if failed > config.max_failed_checks:
        excluded = f"failed {failed} of {len(checks)} attention checks"
    elif typical is not None and typical < config.min_median_s:
        excluded = f"median time {typical:.1f} s per set"
    return RaterRow(
        rater=rater,
        answered=len(ballots),
        trials=trials,
        checks_answered=len(checks),
        checks_failed=failed,
        repeats_answered=len(pairs),
        repeats_same=sum(first == again for first, again in pairs),
        median_s=typical,
        excluded=excluded,
    )
