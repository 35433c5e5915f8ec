"""Which processes a dead command's mark lets end, and which it does not."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.orphans import end_orphans

SERVER = "import pathlib, sys, time; pathlib.Path(sys.argv[2]).touch(); time.sleep(600)"
COMMAND = f"""
import os, subprocess, sys, time
from infra.orphans import mark_children
mark_children()
for word in ("server", "work"):
    child = subprocess.Popen([sys.executable, "-c", {SERVER!r}, word, f"{{sys.argv[1]}}/{{word}}"])
    open(f"{{sys.argv[1]}}/{{word}}.pid", "w").write(str(child.pid))
time.sleep(600)
"""


@pytest.fixture
def command(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that started a server and something else; it and they are gone afterwards."""
    started = subprocess.Popen([sys.executable, "-c", COMMAND, str(tmp_path)])
    _wait_for(lambda: all((tmp_path / word).exists() for word in ("server", "work")))
    yield started
    started.kill()
    started.wait()
    for word in ("server", "work"):
        subprocess.run(["kill", "-9", (tmp_path / f"{word}.pid").read_text()], check=False, stderr=subprocess.DEVNULL)


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_only_the_named_program_of_a_dead_command_is_ended(command: subprocess.Popen[bytes], tmp_path: Path) -> None:
    server, work = (int((tmp_path / f"{word}.pid").read_text()) for word in ("server", "work"))
    assert server not in end_orphans("server")
    command.kill()
    command.wait()
    assert server in end_orphans("server")
    _wait_for(lambda: not _runs(server))
    assert _runs(work)
