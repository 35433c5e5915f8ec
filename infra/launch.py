"""From a stage to the command that runs it."""

from collections.abc import Mapping
from pathlib import Path

from infra.jobs.spec import Home, JobSpec
from infra.settings import quiet_environment
from infra.stage import Stage

_LAST_WORDS_S = 5
"""Of the time to save in, what torchrun itself needs to see its processes end."""


def job_spec(stage: Stage, spec_path: Path, env: Mapping[str, str], home: Home) -> JobSpec:
    """The job that makes the call in ``spec_path``. ``env`` is added last, so it wins."""
    resources = stage.resources
    num_threads = max(1, resources.cpus // resources.num_processes)
    variables = quiet_environment() | {"OMP_NUM_THREADS": str(num_threads), "PYTHONUNBUFFERED": "1"}
    if not resources.gpus:
        variables |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    return JobSpec(
        argv=(home.python, "-m", *_launcher(stage), "infra.jobs.entry", str(spec_path)),
        env=variables | dict(env),
        cwd=home.cwd,
        nodes=resources.nodes,
        gpus=resources.gpus,
        cpus=resources.cpus,
        memory_gb=resources.memory_gb,
        walltime_s=resources.walltime_s,
        grace_s=resources.grace_s,
    )


def _launcher(stage: Stage) -> list[str]:
    resources = stage.resources
    if stage.launcher == "python" or resources.num_processes == 1:
        return []  # one process needs no launcher, and a signal reaches it directly
    # torchrun is what accelerate's own launcher runs for GPUs; that one starts several CPU processes only through MPI,
    # and cannot say how long a process may take to save its state.
    command = ["torch.distributed.run", "--nproc_per_node", str(resources.num_processes // resources.nodes)]
    # Where several machines meet is known only once the job runs: backends say it in torchrun's variables PET_RDZV_*.
    command += ["--standalone"] if resources.nodes == 1 else ["--nnodes", str(resources.nodes)]
    command += ["--shutdown_timeout", str(max(1, int(resources.grace_s) - _LAST_WORDS_S))]
    return [*command, "--module"]
