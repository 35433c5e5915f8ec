"""A Prefect server of a test's own, and the commands that people give it from the repository."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
POOL = "diffsensei-local"
PATIENCE_S = 300.0
ANSWER_S = 60.0
"""Of one request, on a machine that does much else."""
CANCEL_S = 60.0
"""From a person's wish that a run ends to the end of its job."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(what: str, happened: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Look every half second until it has ``happened``."""
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen in {patience_s:.0f} s"
        time.sleep(0.5)


class Console:
    """Commands in the repository against a server of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.env = kept | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "DIFFSENSEI_STORE": str(folder / "store"),
            "DO_NOT_TRACK": "1",
        }
        (folder / "prefect").mkdir()

    def run(self, *arguments: str) -> str:
        done = subprocess.run([PREFECT, *arguments], cwd=REPOSITORY, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen([PREFECT, *arguments], cwd=REPOSITORY, env=self.env, stdout=log, stderr=log)

    def answers(self, path: str) -> bool:
        try:
            return httpx.get(f"{self.api}/{path}", timeout=ANSWER_S).is_success
        except httpx.HTTPError:
            return False

    def state_of(self, run_id: str) -> str:
        state: str = httpx.get(f"{self.api}/flow_runs/{run_id}", timeout=ANSWER_S).json()["state"]["type"]
        return state

    def history_of(self, run_id: str) -> list[str]:
        """Its states in order, each with its message."""
        states = httpx.get(f"{self.api}/flow_run_states/", params={"flow_run_id": run_id}, timeout=ANSWER_S).json()
        return [f"{state['timestamp']} {state['name']}: {state['message']}" for state in states]


def stop(process: "subprocess.Popen[bytes]") -> None:
    """As Ctrl-C does, and by force where that does not help."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
