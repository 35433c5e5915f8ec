"""Stage functions that the jobs of these tests run; imported by their own processes over PYTHONPATH."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Sizes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: int
    height: int


def multiply(*, sizes: Sizes, factor: int, workspace: Path, output: Path) -> None:
    """Writes the product; its logs differ from run to run."""
    (workspace / "progress.json").write_text(json.dumps({"done": 1, "total": 1}))
    (output / "product.txt").write_text(str(sizes.width * sizes.height * factor))
    (output / "logs").mkdir()
    (output / "logs" / "time.txt").write_text(str(time.time()))
    print("multiplied")


def negate(*, number: Path, workspace: Path, output: Path) -> None:
    (output / "product.txt").write_text(str(-int((number / "product.txt").read_text())))


def divide(*, workspace: Path, output: Path) -> None:
    print("about to divide")
    _ = 1 / 0


def refuse(*, workspace: Path, output: Path) -> None:
    raise ValueError("width must be a multiple of 8,\n got 7; use 8")


def count(*, steps: int, pause_s: float, workspace: Path, output: Path) -> None:
    """Adds one per step to a file in the workspace, and one line per process to another.

    Half-way it waits for the file that the variable GATE names, if it names one.
    """
    stop = False

    def ask(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGTERM, ask)
    with (workspace / "processes").open("a") as stream:
        stream.write(f"{os.getpid()} {Path.cwd()}\n")
    counter = workspace / "counter"
    done = int(counter.read_text()) if counter.exists() else 0
    gate = Path(os.environ.get("GATE", "/"))
    while done < steps:
        if stop:
            sys.exit(143)
        time.sleep(pause_s)
        if done == steps // 2 and not gate.exists():
            continue
        done += 1
        counter.with_suffix(".new").write_text(str(done))
        counter.with_suffix(".new").rename(counter)
        (workspace / "progress.json").write_text(json.dumps({"done": done, "total": steps}))
    (output / "count.txt").write_text(str(done))
    (output / "processes.txt").write_text((workspace / "processes").read_text())


def regress(*, workspace: Path, output: Path) -> None:
    """The real training loop on a small regression; at its sixth step it waits for GATE, or for a request to stop."""
    import torch
    from safetensors.torch import save_file

    from tests.training.small_regression import AVERAGED, Points, fit

    torch.set_num_threads(1)
    objective = fit(workspace, AVERAGED, Points({6: lambda: _hold(workspace)}))
    save_file(dict(objective.state_dict()), output / "weights.safetensors")


def _hold(workspace: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    assert callable(handler)
    asked = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        handler(number, frame)  # type: ignore[arg-type]

    signal.signal(signal.SIGTERM, ask)
    (workspace / "held").touch()
    while not asked and not Path(os.environ["GATE"]).exists():
        time.sleep(0.05)
    signal.signal(signal.SIGTERM, handler)


def ignore_requests(*, workspace: Path, output: Path) -> None:
    """Neither it nor its child process heeds SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (workspace / "child").write_text(str(child.pid))
    time.sleep(600)


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def square_all(*, executor: Executor, workspace: Path, output: Path) -> None:
    squares = list(executor.map(square, range(20)))
    (output / "squares.json").write_text(json.dumps([value for value, _ in squares]))
    (output / "logs").mkdir()
    (output / "logs" / "processes.json").write_text(json.dumps(sorted({pid for _, pid in squares} | {os.getpid()})))


def rank(*, workspace: Path, output: Path) -> None:
    (output / f"rank{os.environ['RANK']}.txt").write_text(os.environ["WORLD_SIZE"])


def show_variables(*, workspace: Path, output: Path) -> None:
    (output / "logs").mkdir()
    (output / "logs" / "variables.json").write_text(json.dumps(dict(os.environ)))
    (output / "shown").touch()
