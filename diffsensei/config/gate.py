"""What a candidate must show before it is released: rules on the benchmark, a human study, and who may waive what."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from diffsensei.config.base import Config, Rate

RuleName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Version = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]


class AgainstMethod(Config):
    """Another row of the same benchmark run."""

    kind: Literal["method"] = "method"
    method: str


class AgainstPrevious(Config):
    """The same method in the last release of another version; a rule without such a release asks for nothing."""

    kind: Literal["previous"] = "previous"


class AgainstValue(Config):
    """A figure that stays."""

    kind: Literal["value"] = "value"
    value: float


Against = Annotated[AgainstMethod | AgainstPrevious | AgainstValue, Field(discriminator="kind")]


class GateRule(Config):
    """One claim about one metric, tested one-sided at ``alpha`` over whole pages."""

    name: RuleName
    metric: str
    method: str = "diffsensei"
    against: Against
    direction: Literal["higher", "lower"]
    """Which way the metric is better; it must be what the metric's own definition says."""
    claim: Literal["superior", "not_inferior"]
    """``superior``: better by more than ``margin``. ``not_inferior``: worse by less than ``margin``."""
    margin: Annotated[float, Field(ge=0.0)]
    """In the metric's unit."""
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)]
    """Probability of passing a candidate that lies on the margin."""
    min_pages: PositiveInt
    """Pages that must carry the figure; with fewer the rule fails."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> "GateRule":
        if self.claim == "not_inferior" and self.margin == 0.0:
            raise ValueError(f"rule {self.name}: not_inferior needs a margin above 0; how much worse may it be?")
        if isinstance(self.against, AgainstMethod) and self.against.method == self.method:
            raise ValueError(f"rule {self.name}: {self.method} is compared with itself; name another method")
        return self


class StudyRule(Config):
    """The human study that a release needs (``report.study``)."""

    aspect: str = "overall"
    method: str = "diffsensei"
    min_raters: PositiveInt
    """Raters that were kept."""
    min_alpha: Annotated[float, Field(ge=-1.0, le=1.0)]
    """Krippendorff's alpha that the raters reach on the aspect."""
    min_share: Rate
    """Least share of decided votes for ``method``: its interval's lower end must reach it."""


class Waiver(Config):
    """A person lets a failed rule pass, once: for one version, with name and reason, on record in the certificate."""

    rule: RuleName
    """Name of the rule; ``study`` for the human study."""
    version: Version
    """The release version it holds for, and for no other."""
    by: Annotated[str, Field(min_length=1, max_length=200)]
    reason: Annotated[str, Field(min_length=10, max_length=2000)]


class GateConfig(Config):
    """Every rule must pass or be waived."""

    rules: tuple[GateRule, ...]
    study: StudyRule | None
    waivers: tuple[Waiver, ...] = ()
    require_clean_code: bool
    """Refuse to release what any stage made from a source tree with uncommitted changes."""
    release: Literal["automatic", "by_hand"]
    """Whether a run releases what passed, or leaves it approved for ``diffsensei release publish``."""

    @model_validator(mode="after")
    def _names_are_known(self) -> "GateConfig":
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or STUDY in names:
            raise ValueError(f"gate.rules: names must differ and not be {STUDY!r}; see {', '.join(twice) or STUDY}")
        known = [*names, *([STUDY] if self.study else [])]
        unknown = sorted({waiver.rule for waiver in self.waivers} - set(known))
        if unknown:
            raise ValueError(f"gate.waivers: no rule {', '.join(unknown)}; known: {', '.join(known) or 'none'}")
        return self


STUDY = "study"
"""What a waiver of the human study names."""
