"""The process beside a job: ``python -m infra.jobs.runner [--stay] <attempt folder> [words before the command]``.

It leaves its caller (own session, reparented), holds the attempt's lock, writes ``job.json`` itself, starts the
command, passes a request to stop on to it, keeps wall time and log in bounds, and writes ``exit.json``. Starting it
twice on one attempt starts the command once: the second one finds the lock held or ``job.json`` there and goes away.

With ``--stay`` it is itself the scheduler's job: it stays where it is, ends with the command's exit code, asks the
command to save early enough for the scheduler's own time limit, and may start again when the scheduler does. With
``--ask`` a command of the scheduler passes the request on, to processes that this one cannot reach.
"""

import argparse
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from infra.files import try_lock, write_json
from infra.jobs.attempt import Attempt, Running
from infra.jobs.log import shorten_log
from infra.jobs.process import identify, num_oom_kills, processes_of, signal_all
from infra.jobs.spec import ID_VARIABLE, RESTARTS_VARIABLE, JobRef, JobState
from infra.manifest import utc_now

ALREADY_STARTED = 3
"""Exit code: this attempt has, or had, its runner."""

PREEMPTED_CODES = (143, 75, -signal.SIGTERM)
"""What a command that saved its state and stopped exits with: 128 + SIGTERM, EX_TEMPFAIL, or death by SIGTERM."""

NOTICE_S = 60.0
"""Schedulers give notice of the end of the wall time up to so much too early."""

_ASKED_WITHIN_S = 30.0
_TICK_S = 0.25
_LEASE_EVERY_S = 5.0


def main(words: Sequence[str]) -> int:
    """Run the attempt; returns an exit code, and where it detaches itself twice: once the job has started, too."""
    parser = argparse.ArgumentParser(prog="infra.jobs.runner")
    parser.add_argument("--stay", action="store_true")
    parser.add_argument("--ask", default="")
    parser.add_argument("attempt", type=Path)
    parser.add_argument("prefix", nargs=argparse.REMAINDER)
    given = parser.parse_args(words)
    attempt = Attempt(given.attempt)
    lock = try_lock(attempt.lock_path)
    if lock is None or not _is_due(attempt):
        return ALREADY_STARTED
    if given.stay:
        code = Runner(attempt, attempt.intent().job.grace_s, given.prefix, shlex.split(given.ask)).run()
        os.close(lock)
        return code if code >= 0 else 128 - code
    return _detached(attempt, lock)


def _is_due(attempt: Attempt) -> bool:
    """Whether the command is to be started: for the first time, or again by the scheduler that had started it."""
    running = attempt.running()
    if running is None:
        return True
    ended = attempt.exit()
    if _restarts() <= running.restarts or (ended is not None and not ended.state.may_resume):
        return False
    attempt.begin_again()
    return True


def _restarts() -> int:
    return int(os.environ.get(RESTARTS_VARIABLE, "0"))


def _detached(attempt: Attempt, lock: int) -> int:
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        return 0 if os.read(reader, 1) else 1
    os.close(reader)
    runner = Runner(attempt)
    os.write(writer, b"1")
    os.close(writer)
    runner.run()
    os.close(lock)
    return 0


class Runner:
    """Supervises the command of one attempt. Creating it declares the job started.

    ``early_s``: how long before the end of the wall time it asks the command to stop. ``prefix``: words before the
    command, such as what starts it on every machine of the job. ``ask``: a command that asks it to stop; without one
    it is sent SIGTERM.
    """

    def __init__(
        self, attempt: Attempt, early_s: float = 0.0, prefix: Sequence[str] = (), ask: Sequence[str] = ()
    ) -> None:
        self._attempt = attempt
        self._intent = attempt.intent()
        self._prefix = prefix
        self._ask_command = ask
        self._asked: JobState | None = None
        self._began = time.monotonic()
        self._stop_at = self._began + self._intent.job.walltime_s - early_s
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ask(JobState.PREEMPTED))
        signal.signal(signal.SIGUSR1, lambda *_: self._heed_notice())
        pid = os.getpid()
        name = os.environ.get(ID_VARIABLE, str(pid))
        ref = JobRef(
            backend=self._intent.backend, id=name, token=self._intent.token, attempt=str(attempt.path.absolute())
        )
        self._running = Running(ref=ref, identity=identify(pid), started=utc_now(), restarts=_restarts())
        self._attempt.renew_lease()
        write_json(attempt.job_path, self._running.model_dump(mode="json"))

    def run(self) -> int:
        """Start the command, see it through, record how it ended; returns its exit code."""
        oom_kills = num_oom_kills()
        job = self._intent.job
        if self._attempt.cancel_path.exists():
            self._record(JobState.CANCELLED, 0)
            return 0
        try:
            # A group of its own, so that no signal meant for the runner alone reaches the command as well.
            child = subprocess.Popen(
                [*self._prefix, *job.argv],
                cwd=job.cwd,
                env=os.environ | job.env,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        except OSError as error:
            print(f"cannot start {error.filename}: {error}", flush=True)
            self._record(JobState.FAILED, 127)
            return 127
        code = self._watch(child)
        self._record(self._judge(code, num_oom_kills() > oom_kills), code)
        return code

    def _heed_notice(self) -> None:
        """SIGUSR1: the scheduler's word that it will end the job soon, mostly because its time is up."""
        late = time.monotonic() > self._stop_at - NOTICE_S
        self._ask(JobState.TIMEOUT if late else JobState.PREEMPTED)

    def _ask(self, state: JobState) -> None:
        self._asked = self._asked or state

    def _watch(self, child: "subprocess.Popen[bytes]") -> int:
        job = self._intent.job
        kill_at: float | None = None
        leased = time.monotonic()
        while child.poll() is None:
            now = time.monotonic()
            if self._attempt.cancel_path.exists():
                self._ask(JobState.CANCELLED)
            if now > self._stop_at:
                self._ask(JobState.TIMEOUT)
            if self._asked and kill_at is None:
                kill_at = now + job.grace_s
                self._pass_on(child)
            if kill_at is not None and now > kill_at:
                signal_all(processes_of(self._intent.token), signal.SIGKILL)
            if now - leased > _LEASE_EVERY_S:
                leased = now
                # A full disk must not leave the command without its runner, nor one of these without the other.
                with suppress(OSError):
                    shorten_log(self._attempt.log_path)
                with suppress(OSError):
                    self._attempt.renew_lease()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_TICK_S)
        self._end_rest(kill_at or time.monotonic() + job.grace_s)
        return child.returncode

    def _pass_on(self, child: "subprocess.Popen[bytes]") -> None:
        if self._ask_command:
            try:
                subprocess.run(self._ask_command, check=True, stdin=subprocess.DEVNULL, timeout=_ASKED_WITHIN_S)
                return
            except (OSError, subprocess.SubprocessError) as error:
                print(f"could not ask by {self._ask_command[0]}: {error}", flush=True)
        child.terminate()

    def _end_rest(self, kill_at: float) -> None:
        """End what the command left behind: a launcher dies at once of a SIGTERM that its workers never saw."""
        rest = processes_of(self._intent.token)
        signal_all(rest, signal.SIGTERM)
        while rest and time.monotonic() < kill_at:
            time.sleep(_TICK_S)
            rest = processes_of(self._intent.token)
        signal_all(rest, signal.SIGKILL)

    def _judge(self, code: int, out_of_memory: bool) -> JobState:
        if code == 0:
            return JobState.SUCCEEDED
        if self._asked:
            return self._asked
        if code in PREEMPTED_CODES:
            return JobState.PREEMPTED
        if code == -signal.SIGKILL and out_of_memory:
            return JobState.OOM
        return JobState.FAILED

    def _record(self, state: JobState, code: int) -> None:
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        wall_s = round(time.monotonic() - self._began, 3)
        self._attempt.record_exit(state, code, self._running.started, wall_s, peak)


if __name__ == "__main__":
    sys.stdout.flush()
    os._exit(main(sys.argv[1:]))
