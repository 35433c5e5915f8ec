"""``certificate.json``: what was asked of a candidate, what came out, who waived what, and what all of it rests on."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from diffsensei.config.base import Config
from diffsensei.config.gate import GateConfig, GateRule, StudyRule, Waiver
from diffsensei.config.schema import EvaluationConfig

CERTIFICATE = "certificate.json"
EVIDENCE = "evidence"
"""Folder beside the certificate: the files that its figures are computed from."""

State = Literal["passed", "failed", "waived", "no_baseline"]


class Outcome(Config):
    """What became of one requirement."""

    state: State
    """``no_baseline``: no other version is released yet, so there is nothing to be worse than."""
    detail: str = ""
    """Why it failed, in words."""
    waiver: Waiver | None = None


class RuleOutcome(Outcome):
    """One rule and what the items say. ``estimate`` is signed so that more is better for the candidate."""

    rule: GateRule
    estimate: float | None = None
    """The candidate's figure minus the baseline's, times -1 where lower is better."""
    low: float | None = None
    """Lower end at confidence 1 - alpha, one-sided."""
    high: float | None = None
    """Upper end at confidence 1 - alpha, one-sided."""
    threshold: float | None = None
    """What the estimate must exceed: the margin, or minus the margin."""
    p_value: float | None = None
    """Of "the true difference is no more than the threshold"; the rule passes where it is at most alpha."""
    num_pages: int = 0
    """Pages that carry both figures."""
    how: str = ""
    """How the interval was found."""


class StudyOutcome(Outcome):
    """The human study that was asked for."""

    rule: StudyRule
    raters: int | None = None
    alpha: float | None = None
    share: float | None = None
    share_low: float | None = None


class Bound(Config):
    """sha256 (64 hex digits) of everything the certificate speaks of; "" for what there is none of."""

    bundle: str
    """Of the bundle's ``manifest.json``, which has the digest of every file."""
    verification: str
    benchmark: str
    """Of the frozen panels, their true pictures and the references."""
    split: str
    """Of ``split.json``: which pages were held out."""
    items: str
    summary: str
    metrics: dict[str, str]
    """Of each metric's definition, with its parameters and its judge."""
    configuration: str
    """Of the configuration, without what changes speed or the report only."""
    previous_items: str = ""
    previous_summary: str = ""
    study: str = ""


class Certificate(Config):
    """The gate's word on one bundle."""

    format: Literal["diffsensei.certificate/1"] = "diffsensei.certificate/1"
    name: str
    version: str
    passed: bool
    """Every rule and the study passed, was waived, or had no baseline."""
    rules: tuple[RuleOutcome, ...]
    study: StudyOutcome | None
    gate: GateConfig
    evaluation: EvaluationConfig
    bound: Bound

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Of the rules, and of the human study where there is one."""
        return (*self.rules, self.study) if self.study else self.rules

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        """The waivers that were needed."""
        return tuple(outcome.waiver for outcome in self.outcomes if outcome.waiver is not None)

    def failures(self) -> tuple[str, ...]:
        """One line for each rule that neither passed nor was waived."""
        lines = [f"{outcome.rule.name}: {outcome.detail}" for outcome in self.rules if outcome.state == "failed"]
        if self.study is not None and self.study.state == "failed":
            lines.append(f"human study: {self.study.detail}")
        return tuple(lines)

    def verdict(self) -> str:
        """One line: passed, passed with waivers, or why not."""
        if not self.passed:
            return f"not passed: {'; '.join(self.failures())}"
        states = [outcome.state for outcome in self.outcomes]
        told = [f"{states.count('passed')} of {len(states)} rules hold"]
        if "no_baseline" in states:
            told.append(f"{states.count('no_baseline')} have no earlier release to compare with")
        if self.waivers:
            by = ", ".join(f"{waiver.rule} by {waiver.by}" for waiver in self.waivers)
            told.append(f"{len(self.waivers)} waived ({by})")
        return f"passed: {', '.join(told)}"


def read_certificate(folder: Path) -> Certificate:
    """The certificate in ``folder``. Raises ValueError where there is none or it cannot be read."""
    path = folder / CERTIFICATE
    if not path.is_file():
        raise ValueError(f"{folder} holds no certificate: {CERTIFICATE} is missing; run `diffsensei run release`")
    try:
        return Certificate.model_validate_json(path.read_text())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} is no certificate: {where or 'file'}: {first['msg']}; run the gate again") from None
