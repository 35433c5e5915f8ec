"""Whether a report's figures are what the store would give today: the plan of its configuration, held against it."""

from dataclasses import replace

from pydantic import ValidationError

from diffsensei.config import ExperimentConfig
from infra.plan import make_plan
from infra.stage import Stage
from infra.store import Store
from reports.status import Staleness
from reports.versions import Version
from tasks.stages import pipeline_stages

NOT_FIGURES = ("provenance", "report")


def find_staleness(version: Version, store: Store) -> Staleness:
    """`Staleness` of a version. Nothing is started.

    A stage is stale where the plan would not reuse the very result that the version rests on: a stage's version, a
    package, a frozen model or an input has changed, or the result is no longer in the store.
    """
    try:
        config = ExperimentConfig.model_validate(version.config)
        stages = _of_version(version, pipeline_stages(config))
        plan = make_plan(stages, config.model_dump(mode="json"), store)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        return Staleness("unknown", f"This program no longer reads its configuration ({where}).", {})
    except ValueError as error:
        return Staleness("unknown", f"Its configuration cannot be planned here: {error}.", {})
    moved: dict[str, str] = {}
    for row in plan.rows:
        if row.result is None:
            moved[row.stage] = "; ".join(row.reasons)
        elif row.result.digest != version.stages[row.stage].digest:
            moved[row.stage] = f"another result is stored: {row.result.digest[:12]}"
    planned = {stage.name for stage in stages}
    gone = [name for name in version.stages if name not in planned and name not in NOT_FIGURES]
    moved |= dict.fromkeys(gone, "this program has no such stage for the configuration")
    if not moved:
        return Staleness("fresh", "", {})
    return Staleness("stale", "The same configuration would give other results today.", moved)


def _of_version(version: Version, stages: list[Stage]) -> list[Stage]:
    """The stages that the version has results of; a method that failed in its run is no input of its scores."""
    there = [stage for stage in stages if stage.name in version.stages and stage.name not in NOT_FIGURES]
    return [
        replace(stage, inputs={given: source for given, source in stage.inputs.items() if source in version.stages})
        for stage in there
    ]
