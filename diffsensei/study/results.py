"""What a study says: ``study.json`` is a `StudyResult`, ``power.json`` a `PowerResult`."""

from pathlib import Path
from typing import Literal

from diffsensei.config.base import Config


class Aspect(Config):
    """One question about a set of pages."""

    name: str
    label: str
    question: str


ASPECTS = (
    Aspect(
        name="text_image_alignment",
        label="Text-image alignment",
        question="Which page shows best what the descriptions say?",
    ),
    Aspect(
        name="style_consistency",
        label="Style consistency",
        question="On which page do the panels look most as if one artist drew them?",
    ),
    Aspect(
        name="character_consistency",
        label="Character consistency",
        question="On which page do the characters look most like the given ones, in every panel?",
    ),
    Aspect(name="image_quality", label="Image quality", question="Which page is drawn best?"),
    Aspect(name="overall", label="Overall preference", question="Which page do you like best, all in all?"),
)
"""The paper's five, section 5.1; the wording is ours, the paper gives none. Overall comes last."""


class RaterRow(Config):
    """One rater, by the number of the packet."""

    rater: str
    answered: int
    trials: int
    checks_answered: int
    checks_failed: int
    repeats_answered: int
    repeats_same: int
    """Answers (one per aspect) to repeated sets, and how many of them were as the first time."""
    median_s: float | None
    excluded: str
    """Why the rater is left out of ``kept``; empty if not."""


class ShareRow(Config):
    """How often a method was preferred, of the times it was shown; "no difference" counts as one part of the set."""

    aspect: str
    method: str
    share: float
    low: float | None
    high: float | None
    wins: int
    no_difference: int
    shown: int


class StrengthRow(Config):
    """Log of a method's Bradley-Terry strength; those of an aspect add up to 0."""

    aspect: str
    method: str
    log_strength: float
    low: float | None
    high: float | None


class ContrastRow(Config):
    """Log strength of ``method`` minus that of ``other``: +0.41 is a preference of 60 to 40, an undecided vote
    counting half for each."""

    aspect: str
    method: str
    other: str
    difference: float
    low: float | None
    high: float | None
    told_apart: bool
    """The interval, which is not corrected for the number of pairs, leaves out 0."""


class WinRow(Config):
    """How often ``method`` was chosen while ``other`` was shown, and how often neither was."""

    aspect: str
    method: str
    other: str
    wins: int
    no_difference: int


class AgreementRow(Config):
    """Krippendorff's alpha (nominal): 1 all agree, 0 as by chance."""

    aspect: str
    alpha: float | None
    low: float | None
    high: float | None
    units: int
    """Sets that two raters or more judged."""
    ratings: int


class PositionRow(Config):
    """Whether a place on the screen draws votes (overall preference)."""

    shares: tuple[float, ...]
    """Of decided votes, by place from the left."""
    p_value: float | None
    """Chi-square against equal shares, as if votes were independent."""


class Tables(Config):
    """Everything computed from one selection of raters."""

    raters: int
    votes: int
    """Answered sets, checks and repeats not among them."""
    shares: tuple[ShareRow, ...]
    strengths: tuple[StrengthRow, ...]
    contrasts: tuple[ContrastRow, ...]
    wins: tuple[WinRow, ...]
    agreement: tuple[AgreementRow, ...]
    position: PositionRow


class StudyResult(Config):
    """The whole study."""

    study: str
    form: Literal["pairs", "best_of_all"]
    state: str
    """``complete``, ``partial: <how far>`` or ``no votes``."""
    rule: str
    """Who is left out, in words; fixed when the study was prepared."""
    aspects: tuple[Aspect, ...]
    methods: tuple[str, ...]
    num_page_sets: int
    confidence: float
    resamples: int
    raters: tuple[RaterRow, ...]
    kept: Tables
    """Without excluded raters: the result."""
    everyone: Tables
    """With them, to see what the rule did."""


class PowerRow(Config):
    """How often studies of one size told a better method from an equal rest."""

    preference: float
    """Share of decided votes that the better method truly gets against any other."""
    told_apart: float
    """Share of simulated studies whose interval of the difference to one given other method leaves out 0, the right
    way."""
    best_first: float
    """Share of simulated studies that rank the better method first."""


class PowerResult(Config):
    """Simulated studies: what a budget can show."""

    form: Literal["pairs", "best_of_all"]
    num_methods: int
    num_raters: int
    items_per_rater: int
    raters_per_item: int
    num_pages: int
    confidence: float
    studies: int
    assumptions: str
    rows: tuple[PowerRow, ...]


def read_study(folder: Path) -> StudyResult:
    """The result that `analyse_study` wrote into ``folder``. Raises ValueError where there is none."""
    path = folder / "study.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no study result: study.json is missing; run `diffsensei study analyse`")
    return StudyResult.model_validate_json(path.read_text())
