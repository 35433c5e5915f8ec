"""The job script that Slurm is given: what it asks for, and the runner with the attempt's command.

The command itself is not in it: the runner reads that from the attempt's intent. Every value is one word or quoted, so
that no name, path or option can become another line or another command.
"""

import math
import shlex
import sys
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from infra.jobs.attempt import Attempt
from infra.jobs.spec import ID_VARIABLE, RESTARTS_VARIABLE, TOKEN_VARIABLE, JobSpec

Word = Annotated[str, Field(pattern=r"^[\w.:+@/=,&|*()\[\]-]+$")]
Line = Annotated[str, Field(pattern=r"^[^\n\r\x00]+$")]
_FIRST_PORT, _NUM_PORTS = 20000, 20000
"""Where the processes of several machines may meet: a port by the job's number, so that two jobs do not collide."""


class SlurmOptions(BaseModel):
    """What is asked of Slurm beyond the job's own needs, and how it is reached."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    gpu_request: Annotated[str, Field(pattern=r"^--[\w.:+=-]*\{gpus\}$")] = "--gres=gpu:{gpus}"
    """The option that asks for GPUs of each node."""
    requeue: bool = False
    directives: tuple[Annotated[str, Field(pattern=r"^--?[a-z][^\n\r\x00]*$")], ...] = ()
    """Further ``#SBATCH`` options."""
    prologue: tuple[Line, ...] = ()
    """Shell lines before the work."""
    command_prefix: tuple[Word, ...] = ()
    """Words before every command of Slurm."""
    poll_s: PositiveFloat = 15.0
    unlisted_s: PositiveFloat = 600.0
    """A job that Slurm has not known for so long, and that does not report itself, is lost."""


def job_name(attempt: Attempt) -> str:
    """``ds-<first digits of the stage's key>-<attempt>``: what people see in squeue."""
    return f"ds-{attempt.path.absolute().parents[1].name[:12]}-{attempt.number}"


def job_script(spec: JobSpec, attempt: Attempt, token: str, options: SlurmOptions) -> str:
    """A batch script for ``sbatch``'s standard input. Raises ValueError for a path that no script can name."""
    folder = str(attempt.path.absolute())
    for path in (folder, spec.cwd):
        if any(character in path for character in '\n\r"\\'):
            raise ValueError(f"path {path!r} has quotes or line breaks, which a job script cannot name; use another")
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in _requests(spec, attempt, token, options))]
    lines += options.prologue
    lines += [f"export {TOKEN_VARIABLE}={token} {ID_VARIABLE}=$SLURM_JOB_ID"]
    lines += [f"export {RESTARTS_VARIABLE}=${{SLURM_RESTART_COUNT:-0}}"]
    if spec.nodes > 1:
        port = f"$(({_FIRST_PORT} + SLURM_JOB_ID % {_NUM_PORTS}))"
        lines += [f"export PET_RDZV_BACKEND=c10d PET_RDZV_ID={token} PET_RDZV_ENDPOINT=$(hostname):{port}"]
    runner = [sys.executable, "-m", "infra.jobs.runner", "--stay"]
    # A step even on one node: when Slurm preempts a job, steps are given time to save, the batch script is not told.
    step = ["srun", f"--nodes={spec.nodes}", f"--ntasks={spec.nodes}", "--ntasks-per-node=1", "--export=ALL"]
    step += [f"--cpus-per-task={_per_node(spec.cpus, spec)}", "--kill-on-bad-exit=1", "--mpi=none"]
    # srun itself ends its step by force when it is sent SIGTERM; Slurm's command reaches the work on every node.
    ask = '--ask "scancel --signal=TERM $SLURM_JOB_ID"'
    # The runner takes the shell's place: it is what Slurm gives notice to before the wall time is over.
    lines += [f"exec {shlex.join(runner)} {ask} {shlex.join([folder, *step])}"]
    return "\n".join(lines) + "\n"


def _requests(spec: JobSpec, attempt: Attempt, token: str, options: SlurmOptions) -> list[str]:
    log = str(attempt.log_path.absolute()).replace("%", "%%")
    asked = [
        f"--job-name={job_name(attempt)}",
        f"--comment={token}",
        f'--chdir="{spec.cwd}"',
        f'--output="{log}"',
        "--open-mode=append",
        f"--time={math.ceil(spec.walltime_s / 60)}",
        f"--signal=B:USR1@{math.ceil(spec.grace_s)}",
        "--requeue" if options.requeue else "--no-requeue",
        f"--nodes={spec.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={_per_node(spec.cpus, spec)}",
        f"--mem={math.ceil(1024 * spec.memory_gb / spec.nodes)}M",
    ]
    if spec.gpus:
        asked.append(options.gpu_request.format(gpus=_per_node(spec.gpus, spec)))
    named = {"partition": options.partition, "account": options.account}
    named |= {"qos": options.qos, "constraint": options.constraint}
    asked += [f"--{name}={value}" for name, value in named.items() if value is not None]
    return [*asked, *options.directives]


def _per_node(amount: int, spec: JobSpec) -> int:
    return math.ceil(amount / spec.nodes)
