"""What a decoder may do on a crafted file: functions for the sandbox, importable in its children."""

import ctypes
import os
import signal
import time
from pathlib import Path

from diffsensei.data.images import image_size
from diffsensei.data.refusal import Refusal
from diffsensei.data.validation.stitch import Stitched, StitchTask, _stitch_file


def double(number: int) -> int:
    return 2 * number


def process_id() -> int:
    return os.getpid()


def segfault() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def leave() -> None:
    os._exit(3)


def spin() -> None:
    while True:
        pass


def sleep() -> None:
    time.sleep(600)


def eat_memory() -> int:
    return len(bytearray(2**32))


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise Refusal("broken_image", "as told")


def fail() -> None:
    raise KeyError("absent")


def size_or_die(data: bytes, max_megapixels: float) -> tuple[int, int]:
    """A decoder with a hole: the last bytes say what the file does to it."""
    for name, poison in POISONS.items():
        if data.endswith(name.encode()):
            poison()
    return image_size(data, max_megapixels=max_megapixels)


def stitch_or_die(task: StitchTask, folder: Path, max_megapixels: float) -> Stitched:
    """A decoder with a hole: the page's id says what its file does to it."""
    if task.page_id in POISONS:
        (folder / f"{task.page_id}.png").write_bytes(b"half a p")
        POISONS[task.page_id]()
    return _stitch_file(task, folder, max_megapixels)


POISONS = {"segfault": segfault, "spin": spin, "eat": eat_memory, "sleep": sleep}
