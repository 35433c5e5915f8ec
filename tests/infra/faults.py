"""Faults at every call that changes the disk: the n-th write, flush, rename, link or new folder fails or is the last.

The calls of one operation are counted in a child process. Then, for every n and every kind of fault, the operation runs
in a fresh child whose n-th call raises (disk full, I/O error) or after half of whose n-th write the process is gone,
without any clean-up. What the disk holds then is for the caller to judge. (What a power cut takes from caches that were
never flushed this cannot show; `renamed_unflushed` looks at the order of calls for that.)
"""

import builtins
import errno
import io
import os
import shutil
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

GONE = 137
SAW_ERROR = 3
ARROW = " -> "
Operation = Callable[[], object]
_RENAMES = ("rename", "replace", "link", "symlink")
_CALLS = (*_RENAMES, "mkdir", "fsync", "truncate", "unlink", "rmdir")


class Fault(StrEnum):
    KILL = "kill"
    DISK_FULL = "disk full"
    IO_ERROR = "I/O error"


class Disk:
    """Stands before the calls that change the disk, in this process. Call ``number`` (from 1) meets ``fault``."""

    def __init__(self, number: int = 0, fault: Fault = Fault.KILL) -> None:
        self.calls: list[tuple[str, str]] = []
        """Name of each call and the path it was about."""
        self._number = number
        self._fault = fault

    def install(self) -> None:
        """For good: meant for a process that ends soon."""
        for name in _CALLS:
            setattr(os, name, self._guarded(name, getattr(os, name)))
        plain = io.open

        def opened(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            stream = plain(file, mode, *arguments, **named)
            return _Written(stream, str(file), self) if set(mode) & set("wax+") else stream

        builtins.open = io.open = opened  # type: ignore[assignment]
        shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]  # copies go through write, too

    def _guarded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **named: Any) -> Any:
            self.meet(name, _about(name, arguments))
            return call(*arguments, **named)

        return guarded

    def meet(self, name: str, path: str, before_death: Operation = lambda: None) -> None:
        """Count the call; if it is the one, have the fault."""
        self.calls.append((name, path))
        if len(self.calls) != self._number:
            return
        if self._fault is Fault.KILL:
            before_death()
            os._exit(GONE)
        code = errno.ENOSPC if self._fault is Fault.DISK_FULL else errno.EIO
        raise OSError(code, os.strerror(code), path)


def _about(name: str, arguments: tuple[Any, ...]) -> str:
    if name == "fsync":
        return os.readlink(f"/proc/self/fd/{arguments[0]}")
    return ARROW.join(map(str, arguments[:2])) if name in _RENAMES else str(arguments[0])


class _Written:
    """A file open for writing whose every write is a call."""

    def __init__(self, stream: Any, path: str, disk: Disk) -> None:
        self._stream, self._path, self._disk = stream, path, disk

    def write(self, data: Any) -> Any:
        def half() -> None:
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()

        self._disk.meet("write", self._path, half)
        return self._stream.write(data)

    def __enter__(self) -> "_Written":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def in_child(operation: Operation, disk: Disk) -> int:
    """Exit code of a child process that does ``operation`` before ``disk``: 0, `GONE`, or `SAW_ERROR` for OSError."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            disk.install()
            operation()
            code = 0
        except OSError:
            code = SAW_ERROR
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def calls_of(operation: Operation, record: Path) -> list[tuple[str, str]]:
    """The calls of one undisturbed run, in a child; ``record`` is a file it may write its list to."""
    disk = Disk()
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def recorded() -> None:
        operation()
        os.write(descriptor, "\n".join(f"{name}\t{path}" for name, path in disk.calls).encode())

    assert in_child(recorded, disk) == 0
    os.close(descriptor)
    lines = record.read_text().splitlines()
    return [(name, path) for name, _, path in (line.partition("\t") for line in lines)]


def sweep(prepare: Callable[[Path], Operation], check: Callable[[Path, bool], None], folder: Path) -> int:
    """Try every fault at every call of the operation; the number of trials.

    ``prepare`` fills a new folder and gives the operation on it. After each fault ``check`` is given the folder and
    False, then the operation is done again undisturbed, and ``check`` is given the folder and True.
    """
    counted = folder / "counted"
    counted.mkdir()
    number = len(calls_of(prepare(counted), folder / "calls"))
    assert number > 0
    trials = 0
    for fault in Fault:
        for position in range(1, number + 1):
            place = folder / f"{fault.name}-{position}"
            place.mkdir()
            operation = prepare(place)
            code = in_child(operation, Disk(position, fault))
            # What only tidies up may fail without a word: the result is there.
            expected = {GONE} if fault is Fault.KILL else {SAW_ERROR, 0}
            assert code in expected, f"{fault} at call {position}: exit code {code}"
            check(place, False)
            operation()
            check(place, True)
            shutil.rmtree(place, ignore_errors=True)
            trials += 1
    print(f"{number} calls, {trials} trials")
    return trials


def renamed_unflushed(calls: list[tuple[str, str]]) -> list[str]:
    """Paths that were renamed into place while what was written to them (or below) had not been flushed."""
    dirty: set[str] = set()
    found = []
    for name, path in calls:
        if name == "write":
            dirty.add(path)
        elif name == "fsync":
            dirty.discard(path)
        elif name in ("rename", "replace"):
            source, _, target = path.partition(ARROW)
            moved = {each for each in dirty if each == source or each.startswith(f"{source}/")}
            found += sorted(moved)
            dirty = (dirty - moved) | {target + each.removeprefix(source) for each in moved}
    return found
