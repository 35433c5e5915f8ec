"""Keeps a job's log within bounds while it is written: what repeats for three weeks must not fill the disk."""

import os
import re
from pathlib import Path

MAX_LOG_BYTES = 64 * 2**20
"""From here on the middle of a log is left out."""
START_BYTES = 2**20
"""Kept of its start, where a job says what it is and does,"""
END_BYTES = 16 * 2**20
"""and of its end, where it says why it stopped."""

_CHUNK_BYTES = 2**20
_NOTICE = re.compile(rb"\[(\d+) bytes left out here: .*\n")


def shorten_log(
    path: Path, *, max_bytes: int = MAX_LOG_BYTES, start_bytes: int = START_BYTES, end_bytes: int = END_BYTES
) -> bool:
    """Leave out the middle of a log of more than ``max_bytes``, in whole lines, and say so in a line. True if it did.

    The file stays the same one, as its writers hold it open: they must append. It never grows meanwhile, so this works
    on a full disk as well. What they write in the instant before the cut is lost. Raises OSError.
    """
    size = path.stat().st_size
    if size <= max_bytes:
        return False
    with path.open("r+b", buffering=0) as log:
        position = log.read(start_bytes).rfind(b"\n") + 1
        log.seek(size - end_bytes)
        end = log.read(end_bytes)
        end = end[end.find(b"\n") + 1 :]
        earlier = _NOTICE.match(os.pread(log.fileno(), 100, position))
        left_out = size - position - len(end) + (int(earlier[1]) - len(earlier[0]) if earlier else 0)
        notice = f"[{left_out} bytes left out here: a log is kept below {max_bytes}]\n".encode()
        position += os.pwrite(log.fileno(), notice + end, position)
        while late := os.pread(log.fileno(), _CHUNK_BYTES, size):  # written since
            position += os.pwrite(log.fileno(), late, position)
            size += len(late)
        log.truncate(position)
    return True
