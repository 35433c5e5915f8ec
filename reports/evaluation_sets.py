"""The sets of held-out panels that a run measured: the main one and, if there is one, the one only evaluated on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffsensei.config import ExperimentConfig
from diffsensei.config.schema import DataSource, SyntheticSource
from diffsensei.evaluation.compared_methods import drawn_methods, read_generation
from diffsensei.evaluation.results import read_summary
from reports.versions import EvaluationSet

EVALUATION = "evaluation_"
"""How the stages of the source that is only evaluated on are called, before the name of their twin."""
LABELS = {
    "synthetic": "Synthetic world",
    "mangazero": "MangaZero",
    "manga109": "Manga109",
    "files": "Own pages",
}


@dataclass(frozen=True)
class MeasuredSet:
    """An evaluation set and the folders of the stages that made it."""

    found: EvaluationSet
    source: DataSource
    score: Path
    benchmark: Path
    generated: Mapping[str, Path]
    """Method -> the folder it drew into."""
    prepared: tuple[Path, ...]
    """Results of all its stages, among which are the tables of its pages."""

    @property
    def drawn_pages(self) -> bool:
        """Whether the pages are of the synthetic world."""
        return isinstance(self.source, SyntheticSource)


def measured_sets(
    config: ExperimentConfig, score: Path, benchmark: Path, others: Mapping[str, Path]
) -> list[MeasuredSet]:
    """The main set, then the other one if ``others`` (stage -> folder) has its scores.

    Raises ValueError for a score folder without a summary, or one without the benchmark that it measured.
    """
    main = {name: path for name, path in others.items() if not name.startswith(EVALUATION)}
    sets = [_measured("main", config.data.source, score, benchmark, main)]
    if (other := others.get(f"{EVALUATION}score")) is not None:
        if config.data.evaluation_source is None or f"{EVALUATION}benchmark" not in others:
            raise ValueError("evaluation_score came without data.evaluation_source or evaluation_benchmark; run both")
        of_other = {name: path for name, path in others.items() if name.startswith(EVALUATION)}
        frozen = others[f"{EVALUATION}benchmark"]
        sets.append(_measured("evaluation", config.data.evaluation_source, other, frozen, of_other))
    return sets


def _measured(
    name: Literal["main", "evaluation"], source: DataSource, score: Path, benchmark: Path, stages: Mapping[str, Path]
) -> MeasuredSet:
    drew = {stage: path for stage, path in stages.items() if (path / "generation.json").is_file()}
    prefix = "" if name == "main" else EVALUATION
    found = EvaluationSet(
        name=name,
        label=LABELS[source.kind],
        summary=read_summary(score),
        score=f"{prefix}score",
        benchmark=f"{prefix}benchmark",
        drawn_by={str(read_generation(path)["method"]): stage for stage, path in drew.items()},
    )
    return MeasuredSet(found, source, score, benchmark, drawn_methods(drew), tuple(stages.values()))
