"""What a command started for itself and could not end, because it was killed: found by a mark in its environment.

The mark names one process and no other (host, boot, process id, start time), so that a reused process id, another
user's command or a job of this one is never touched.
"""

import os
import signal
from pathlib import Path

from pydantic import ValidationError

from infra.jobs.process import OWNER_VARIABLE, Identity, identify, is_alive, processes_with, signal_all


def mark_children() -> None:
    """From now on, what this process starts carries its mark; jobs do not."""
    os.environ[OWNER_VARIABLE] = identify(os.getpid()).model_dump_json()


def end_orphans(program: str) -> list[int]:
    """Ask marked processes of this machine whose owner is dead to end; returns their ids.

    ``program``: a word of their command line; what runs anything else is left alone.
    """
    orphans = [
        pid for pid, mark in processes_with(OWNER_VARIABLE).items() if _owner_is_dead(mark) and program in _words(pid)
    ]
    signal_all(orphans, signal.SIGTERM)
    return orphans


def _owner_is_dead(mark: str) -> bool:
    try:
        return not is_alive(Identity.model_validate_json(mark))
    except ValidationError:
        return False


def _words(pid: int) -> list[str]:
    """The command line, each word without its folder."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
    return [Path(word).name for word in words]
