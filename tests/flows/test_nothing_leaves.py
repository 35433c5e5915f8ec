"""A real run under watch: no process of it reaches out or listens to others, and no secret of its environment is kept.

Every process is watched from its first line (`watched/sitecustomize.py`): the command, Prefect's server, jobs, workers.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.test_kill import OVERRIDES

WATCHED = Path(__file__).with_name("watched")
SECRET = "canary-7f3a9c51e2"
SECRETS = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DIFFSENSEI_CAPTION_API_KEY", "WANDB_API_KEY")
INGEST = ["data.source.num_series=2", "data.source.pages_per_series=6", "data.source.page_height=192"]


def _environment(folder: Path) -> dict[str, str]:
    paths = [str(WATCHED), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return (
        kept
        | {name: f"{SECRET}-{name}" for name in SECRETS}
        | {
            "PYTHONPATH": os.pathsep.join(paths),
            "SOCKET_WATCH_FILE": str(folder / "attempts"),
            "DIFFSENSEI_STORE": str(folder / "store"),
            "DIFFSENSEI_LIMITS": str(folder / "limits"),
        }
    )


@pytest.mark.parametrize(
    ("flow", "overrides"),
    [
        pytest.param("ingest", INGEST, marks=pytest.mark.slow),
        pytest.param("full-pipeline", OVERRIDES, marks=pytest.mark.long),
    ],
)
def test_a_run_reaches_nobody_and_keeps_no_secret(flow: str, overrides: list[str], tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("diffsensei")), "run", flow, "--plain"]
    for override in overrides:
        command += ["--set", override]
    done = subprocess.run(
        command, env=_environment(tmp_path), capture_output=True, text=True, timeout=3000, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    attempts = tmp_path / "attempts"
    assert not attempts.exists(), attempts.read_text()
    assert SECRET not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "prefect.db" for path in files), "Prefect's own records were not looked at"
    assert len([path for path in files if path.name == "manifest.json"]) >= 4
    assert [str(path) for path in files if SECRET.encode() in path.read_bytes()] == []


def test_the_watch_sees_every_kind_of_attempt_in_a_process_of_its_own(tmp_path: Path) -> None:
    code = """
import socket
for attempt in (
    lambda: socket.create_connection(("192.0.2.1", 443)),
    lambda: socket.getaddrinfo("telemetry.test.invalid", 443),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
    lambda: socket.socket().bind(("0.0.0.0", 0)),
):
    try:
        attempt()
    except OSError:
        pass
socket.socket().bind(("127.0.0.1", 0))
"""
    subprocess.run([sys.executable, "-c", code], env=_environment(tmp_path), check=True, timeout=60)
    attempts = (tmp_path / "attempts").read_text().splitlines()
    kinds = [line.split(" by ")[0].split(":")[0] for line in attempts]
    assert kinds == [
        "look-up of '192.0.2.1'",
        "look-up of 'telemetry.test.invalid'",
        "socket.sendto 192.0.2.1",
        "socket.bind 0.0.0.0",
    ]
