"""``python caller.py <store> [backend options]``: a process of its own that asks for the stage COUNT, as a second
terminal would. With options, as JSON, on Slurm."""

import asyncio
import json
import sys
from pathlib import Path

from infra.execution import execute
from infra.jobs.backends import build_backend
from infra.stage import Stage
from infra.store import Store

CONFIG = {"sizes": {"width": 3, "height": 4}, "count": {"steps": 20, "pause_s": 0.05}}
COUNT = Stage(
    name="count",
    version=1,
    entry="stage_functions:count",
    config={"steps": "count.steps", "pause_s": "count.pause_s"},
)


def main(base: Path, options: str | None = None) -> None:
    backend = build_backend("local", {}) if options is None else build_backend("slurm", json.loads(options))
    backend.poll_s = 0.1 if options is None else backend.poll_s
    asyncio.run(execute(COUNT, COUNT.values(CONFIG), {}, Store(base), backend))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
