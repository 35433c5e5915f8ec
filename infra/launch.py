"""From a stage to the command that runs it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.jobs.spec import JobSpec
from infra.settings import quiet_environment
from infra.stage import Stage


def job_spec(stage: Stage, spec_path: Path, env: Mapping[str, str]) -> JobSpec:
    """The job that makes the call in ``spec_path``. ``env`` is added last, so it wins."""
    resources = stage.resources
    num_threads = max(1, resources.cpus // resources.num_processes)
    variables = quiet_environment() | {"OMP_NUM_THREADS": str(num_threads), "PYTHONUNBUFFERED": "1"}
    if not resources.gpus:
        variables |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    return JobSpec(
        argv=(*_launcher(stage), "infra.jobs.entry", str(spec_path)),
        env=variables | dict(env),
        cwd=os.getcwd(),
        gpus=resources.gpus,
        cpus=resources.cpus,
        memory_gb=resources.memory_gb,
        walltime_s=resources.walltime_s,
    )


def _launcher(stage: Stage) -> list[str]:
    resources = stage.resources
    if stage.launcher == "python" or resources.num_processes == 1:
        return [sys.executable, "-m"]  # one process needs no launcher, and a signal reaches it directly
    num_processes = str(resources.num_processes)
    if not resources.gpus:
        # accelerate starts several CPU processes only through MPI; torchrun is what it uses for GPUs.
        command = ["torch.distributed.run", "--standalone", "--nproc_per_node", num_processes, "--module"]
    else:
        command = ["accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--main_process_port", "0"]
        command += ["--num_processes", num_processes, "--mixed_precision", "no", "--dynamo_backend", "no", "--module"]
    return [sys.executable, "-m", *command]
