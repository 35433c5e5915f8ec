"""Where the stages of an experiment run: the backend that its configuration names, and what each stage may take."""

import shutil
from collections.abc import Sequence
from dataclasses import replace

from diffsensei.config import ExperimentConfig
from diffsensei.config.jobs import JobsConfig
from infra.jobs.backends import build_backend
from infra.jobs.spec import Backend
from infra.stage import Stage


def configured_backend(jobs: JobsConfig) -> Backend:
    """The backend for the run's jobs. Raises ValueError where this machine cannot reach it."""
    if jobs.backend == "local":
        return build_backend("local", {})
    options = getattr(jobs, jobs.backend)
    if jobs.backend == "slurm":
        program = (*jobs.slurm.command_prefix, "sbatch")[0]
        if shutil.which(program) is None:
            raise ValueError(
                f"jobs.backend is slurm, but there is no {program} on PATH; run on a login node, or set "
                'jobs.slurm.command_prefix, such as ["ssh","login"]'
            )
    return build_backend(jobs.backend, options.model_dump(mode="json"))


def placed(stages: Sequence[Stage], config: ExperimentConfig) -> list[Stage]:
    """``stages`` with the limits of ``config.jobs``. No key changes. Raises ValueError for a name that none has."""
    unknown = set(config.jobs.here) - {stage.name for stage in stages}
    if unknown:
        known = ", ".join(stage.name for stage in stages)
        raise ValueError(f"jobs.here names no stage: {', '.join(sorted(unknown))}; known: {known}")
    return [limited(stage, config) for stage in stages]


def limited(stage: Stage, config: ExperimentConfig) -> Stage:
    """``stage`` with the limits of ``config.jobs``."""
    jobs, resources = config.jobs, stage.resources
    return replace(
        stage,
        resources=replace(
            resources,
            walltime_s=jobs.walltime_h * 3600,
            grace_s=jobs.grace_s,
            max_attempts=jobs.max_attempts,
            max_total_s=None if jobs.max_total_h is None else jobs.max_total_h * 3600,
            nodes=jobs.num_nodes(resources.num_processes),
            here=stage.name in jobs.here,
        ),
    )
