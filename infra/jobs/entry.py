"""The process in which a stage runs: ``python -m infra.jobs.entry <spec.json>``.

Imports "module:function" and calls it with JSON values turned into its annotated types. A ValueError (pydantic's
included) is for the person who ran it: one line in ``error.json``, exit code 2. Anything else is a fault: exit code 1.
"""

import faulthandler
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from infra.dask_cluster import cluster_executor
from infra.files import read_json, write_json
from infra.jobs.attempt import Attempt, Call, Failure, Surroundings
from infra.provenance import environment, git_state


def main(path: Path) -> int:
    """Make the call described in the file ``path``; returns the exit code."""
    faulthandler.enable()
    attempt = Attempt(path.parent)
    call = Call.model_validate(read_json(path))
    if os.environ.get("RANK", "0") == "0":
        seen = Surroundings(env=environment(), git=git_state())
        write_json(attempt.surroundings_path, seen.model_dump(mode="json"))
    try:
        with _executor(call) as executor:
            _function(call.entry)(**_arguments(call), **executor)
    except Exception as error:
        traceback.print_exc()
        for_user = isinstance(error, ValueError)
        failure = Failure(for_user=for_user, type=type(error).__name__, message=_one_line(error))
        write_json(attempt.error_path, failure.model_dump(mode="json"))
        return 2 if for_user else 1
    return 0


def _function(entry: str) -> Callable[..., None]:
    module, _, name = entry.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module), name)
    return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)


def _arguments(call: Call) -> dict[str, Any]:
    inputs = {argument: Path(folder) for argument, folder in call.inputs.items()}
    return call.arguments | inputs | {"workspace": Path(call.workspace), "output": Path(call.output)}


@contextmanager
def _executor(call: Call) -> Iterator[dict[str, Executor]]:
    if not call.dask_workers:
        yield {}
        return
    with cluster_executor(call.dask_workers, Path(call.workspace) / "dask", call.dask_slurm) as executor:
        yield {"executor": executor}


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        parts = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        return f"{error.title}: {'; '.join(parts)}"
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
