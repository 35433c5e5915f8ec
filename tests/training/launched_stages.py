"""Stages as a job launches them, in several processes: a program, and what starts it.

The program's argument is a JSON list of [entry, arguments]; it runs them in turn.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch.distributed as dist
from pydantic import BaseModel, ConfigDict, validate_call

from diffsensei.config.schema import RuntimeConfig

ROOT = Path(__file__).parents[2]
RUNTIME = RuntimeConfig(num_threads=1, dask_workers=1, log_every_steps=1)


def launch(folder: Path, num_processes: int, calls: list[tuple[str, dict[str, Any]]]) -> str:
    """Run ``calls`` (entry as ``module:function``, arguments) in ``num_processes`` processes; standard error."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "calls.json").write_text(json.dumps(calls, default=_plain))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes), "--module"]
    done = subprocess.run(
        [sys.executable, *launcher, "tests.training.launched_stages", str(folder / "calls.json")],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


def main(calls: str) -> None:
    for entry, arguments in json.loads(Path(calls).read_text()):
        validate_call(config=ConfigDict(arbitrary_types_allowed=True))(resolve_name(entry))(**arguments)
        dist.barrier()  # only the first process writes what the next stage may read


def _plain(value: object) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
