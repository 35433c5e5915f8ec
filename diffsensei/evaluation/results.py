"""What a benchmark run says: one row per method and metric, paired differences, and where every number comes from.

`summary.json` is a `Summary`. The individual measurements behind it are `items.parquet` with the columns of
`ITEM_COLUMNS`; every figure in the summary can be recomputed from those rows without a model, except FID and KID.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from diffsensei.config.base import Config

ITEM_COLUMNS = (
    "method",
    "seed",
    "page_id",
    "series",
    "panel_id",
    "character",
    "metric",
    "value",
    "skipped",
    "tp",
    "fp",
    "fn",
)

GROUND_TRUTH = "ground_truth"
SHUFFLED_TRUTH = "shuffled_truth"
MIN_SHOWN = 20
"""Fewest measurements of a part of the benchmark for which a difference is told."""


class MetricDefinition(Config):
    """What is measured and how it is read."""

    name: str
    label: str
    definition: str
    unit: str
    higher_is_better: bool
    source: str
    """Where the definition comes from."""
    group: Literal["headline", "distribution", "variant", "manga"] = "headline"
    """The paper's five and their nearest kin, or one of the groups that are never mixed with them."""
    version: int = 1
    """Raised whenever the same inputs would give another figure."""
    parameters: dict[str, str | float] = Field(default_factory=dict)
    """What the configuration decided, and which judge by digest."""
    digest: str = ""
    """sha256 of name, version, parameters and benchmark: figures of equal digests may be compared (`comparable`)."""


class MethodInfo(Config):
    """One row of the table."""

    name: str
    label: str
    role: Literal["oracle", "floor", "method"]
    """The oracle scores the true panels as if generated; the floor scores another true panel of the same series."""
    description: str
    consumes: tuple[str, ...] = ()
    """What it read of the pages, by its own account."""
    deviations: tuple[str, ...] = ()
    """Where it knowingly departs from its publication."""


class MetricResult(Config):
    """One cell of the table: a figure, its interval, and how many measurements carry it."""

    method: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n_used: int
    n_total: int
    skipped: dict[str, int]
    """How many measurements were left out, by reason; n_used + their sum = n_total."""
    state: str
    """``computed``, or ``not computed: <reason>``."""
    definition: str
    unit: str
    higher_is_better: bool
    interval: str
    """How ``low`` and ``high`` were found."""
    by_seed: dict[str, float]
    """The figure of each generation seed alone, where there is more than one."""
    seed_sd: float | None = None
    """Standard deviation of those figures (over one less than the number of seeds)."""


class Comparison(Config):
    """``method`` minus ``baseline`` on the same panels."""

    metric: str
    method: str
    baseline: str
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    """Two-sided paired permutation test: method and baseline swapped page by page."""
    p_holm: float | None
    """The same, corrected for the number of comparisons in this summary (Holm)."""
    n_pages: int
    effect_size: float | None = None
    """Mean of the page differences over their standard deviation (Cohen's d of pairs); None where it is not defined."""


class Summary(Config):
    """Everything the report's table needs."""

    metrics: tuple[MetricDefinition, ...]
    methods: tuple[MethodInfo, ...]
    not_drawn: tuple[MethodInfo, ...] = ()
    """Methods of the comparison that this run has nothing of: they failed, or were not asked for."""
    results: tuple[MetricResult, ...]
    comparisons: tuple[Comparison, ...]
    num_series: int
    num_pages: int
    num_panels: int
    num_characters: int
    num_dialogs: int
    seeds: tuple[int, ...]
    confidence: float
    resamples: int
    judges: dict[str, str]
    benchmark_digest: str = ""
    """sha256 of the benchmark's panels and pictures."""

    def result(self, method: str, metric: str) -> MetricResult | None:
        """The cell of one method and metric, or None where the table has none."""
        return next((row for row in self.results if row.method == method and row.metric == metric), None)


def read_summary(folder: Path) -> Summary:
    """The summary that `score_methods` wrote into ``folder``. Raises ValueError where there is none."""
    path = folder / "summary.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no benchmark result: summary.json is missing; run the score stage")
    return Summary.model_validate_json(path.read_text())
