"""``python caller.py <store>``: a process of its own that asks for the stage COUNT, as a second terminal would."""

import asyncio
import sys
from pathlib import Path

from infra.execution import execute
from infra.jobs.local import LocalBackend
from infra.stage import Stage
from infra.store import Store

CONFIG = {"sizes": {"width": 3, "height": 4}, "count": {"steps": 20, "pause_s": 0.05}}
COUNT = Stage(
    name="count",
    version=1,
    entry="stage_functions:count",
    config={"steps": "count.steps", "pause_s": "count.pause_s"},
)


def main(base: Path) -> None:
    backend = LocalBackend()
    backend.poll_s = 0.1
    asyncio.run(execute(COUNT, COUNT.values(CONFIG), {}, Store(base), backend))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
