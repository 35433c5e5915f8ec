"""Work on bytes from outside in a child process that may crash, spin or eat memory without harm to its caller.

A decoder is C code that strangers feed: whatever it does to its process, the caller gets a result or a `Refusal`. A
child serves item after item, so that an item costs one message each way; it is replaced when it dies or is ended.
The limits bound resources. They are no jail: the child is the same user, and its answers are trusted pickles.
"""

import contextlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

import cv2

from diffsensei.data.refusal import Refusal

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from diffsensei.data.sandbox import serve; serve()"
_SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""A child works on one item by one thread; callers that want more run more children."""


@dataclass(frozen=True)
class Limits:
    """What one item may take."""

    memory_mb: int = 2048
    """Address space beyond what the child holds after its imports. A page of 40 megapixels in colour with
    transparency takes a third of it."""
    cpu_s: int = 30
    """Processor time, in whole seconds."""
    wall_s: float = 120.0
    """From the call to the answer; also ends what waits without working."""


class Sandbox:
    """Children under ``limits``: as many as there are calls at once, started when first needed.

    May be called from several threads. A process forked from the owner starts children of its own.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._owner = os.getpid()
        self._idle: deque[_Child] = deque()

    def run(self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """``function(...)`` of a module's top level, in a child; what it raises is raised here.

        Raises `Refusal` ``decoder_died`` (a crash, or the kernel's out-of-memory killer), ``decoder_timeout`` or
        ``decoder_out_of_memory``, all transient, as the machine may be at fault; the evidence names the signal or the
        limit.
        """
        child = self._borrow()
        try:
            kind, value = child.ask((function, args, kwargs), self._limits)
        except BaseException:
            child.end()
            raise
        self._idle.append(child)
        if kind == "raised":
            raise value
        result: Result = value
        return result

    def close(self) -> None:
        """End all idle children."""
        while self._idle:
            self._idle.pop().end()

    def _borrow(self) -> "_Child":
        if self._owner != os.getpid():
            self._owner, self._idle = os.getpid(), deque()
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        return _Child(self._limits)


@cache
def shared_sandbox(limits: Limits) -> Sandbox:
    """The sandbox of this process for ``limits``: tasks of a worker reuse its children, which end with the worker."""
    return Sandbox(limits)


class _Child:
    """A process in `serve`, and the line to it."""

    def __init__(self, limits: Limits) -> None:
        self._line, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), str(theirs.fileno()), str(limits.memory_mb)],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=os.environ | _SINGLE_THREADED,
            )
        try:
            self._line.recv()
        except EOFError:
            self.end()
            raise RuntimeError(f"a decoding process did not start (exit code {self._process.returncode})") from None

    def ask(self, call: object, limits: Limits) -> tuple[str, Any]:
        """``("returned", result)`` or ``("raised", exception)``. Raises `Refusal`; the child is spent then."""
        try:
            self._line.send((call, limits.cpu_s))
            if not self._line.poll(limits.wall_s):
                raise Refusal("decoder_timeout", f"no answer within {limits.wall_s:g} s", transient=True)
            answer: tuple[str, Any] = self._line.recv()
        except (EOFError, ConnectionError):
            raise self._cause_of_death(limits) from None
        if answer[0] == "out of memory":
            raise Refusal("decoder_out_of_memory", f"more than {limits.memory_mb} MB", transient=True)
        return answer

    def _cause_of_death(self, limits: Limits) -> Refusal:
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return Refusal("decoder_timeout", f"more than {limits.cpu_s} s of processor time", transient=True)
        ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Refusal("decoder_died", ending, transient=True)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._line.close()


def serve() -> None:
    """The child: answers calls until its owner is gone."""
    line = Connection(int(sys.argv[2]))
    memory = _address_space() + int(sys.argv[3]) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line.send("ready")
    while True:
        try:
            (function, args, kwargs), cpu_s = line.recv()
        except (EOFError, ConnectionError):
            return
        # Counted from the start of the process, in whole seconds.
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + cpu_s), resource.RLIM_INFINITY))
        line.send(_answer(function, args, kwargs))


def _answer(function: Callable[..., object], args: Any, kwargs: Any) -> tuple[str, object]:
    try:
        return "returned", function(*args, **kwargs)
    except MemoryError:
        return "out of memory", None
    except cv2.error as error:
        return ("out of memory", None) if error.code == cv2.Error.StsNoMem else ("raised", RuntimeError(str(error)))
    except Exception as error:
        return "raised", error


def _address_space() -> int:
    """Bytes of address space that this process has (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
