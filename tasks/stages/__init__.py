"""The stages of the pipeline, each declared once: what it calls, what it reads, what it needs.

Plan, flows and provenance all read these declarations. Raise a stage's version when the same inputs give another
result.
"""

from diffsensei.config import ExperimentConfig
from infra.stage import Stage
from tasks.stages.baselines import baseline_stages
from tasks.stages.benchmark import benchmark_stages, evaluation_benchmark_stages
from tasks.stages.data import data_stages
from tasks.stages.release import release_stages
from tasks.stages.reporting import reporting_stages
from tasks.stages.training import training_stages


def pipeline_stages(config: ExperimentConfig) -> list[Stage]:
    """Every stage, inputs before what uses them.

    Raises ValueError where a file or a frozen model that the configuration names does not exist.
    """
    frozen, *scored = benchmark_stages(config)
    drawn_and_scored = [frozen, *baseline_stages(config), *scored]
    stages = [
        *data_stages(config),
        *training_stages(config),
        *drawn_and_scored,
        *evaluation_benchmark_stages(config, drawn_and_scored),
        *release_stages(config),
    ]
    return [*stages, *reporting_stages(config, [stage.name for stage in stages])]
