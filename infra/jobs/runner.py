"""The process beside a job: ``python -m infra.jobs.runner <attempt folder>``.

It leaves its caller (own session, reparented), holds the attempt's lock, writes ``job.json`` itself, starts the
command, passes a request to stop on to it, keeps the wall time, and writes ``exit.json``. Starting it twice on one
attempt starts the command once: the second one finds the lock held or ``job.json`` there and goes away.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from infra.files import try_lock, write_json
from infra.jobs.attempt import Attempt, Running
from infra.jobs.process import identify, num_oom_kills, processes_of, signal_all
from infra.jobs.spec import JobRef, JobState
from infra.manifest import utc_now

ALREADY_STARTED = 3
"""Exit code: this attempt has, or had, its runner."""

PREEMPTED_CODES = (143, 75, -signal.SIGTERM)
"""What a command that saved its state and stopped exits with: 128 + SIGTERM, EX_TEMPFAIL, or death by SIGTERM."""

_TICK_S = 0.25
_LEASE_EVERY_S = 5.0


def main(folder: str) -> int:
    """Detach and run the attempt in ``folder``; returns once the job has started, and again when it is over."""
    attempt = Attempt(Path(folder))
    lock = try_lock(attempt.lock_path)
    if lock is None or attempt.job_path.exists():
        return ALREADY_STARTED
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
    """Supervises the command of one attempt. Creating it declares the job started."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._intent = attempt.intent()
        self._asked: JobState | None = None
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, lambda *_: self._ask(JobState.PREEMPTED))
        pid = os.getpid()
        token = self._intent.token
        ref = JobRef(backend=self._intent.backend, id=str(pid), token=token, attempt=str(attempt.path))
        self._running = Running(ref=ref, identity=identify(pid), started=utc_now())
        self._began = time.monotonic()
        self._attempt.renew_lease()
        write_json(attempt.job_path, self._running.model_dump(mode="json"))

    def run(self) -> None:
        """Start the command, see it through, record how it ended."""
        oom_kills = num_oom_kills()
        job = self._intent.job
        if self._attempt.cancel_path.exists():
            self._record(JobState.CANCELLED, 0)
            return
        try:
            # A group of its own, so that no signal meant for the runner alone reaches the command as well.
            child = subprocess.Popen(
                job.argv, cwd=job.cwd, env=os.environ | job.env, stdin=subprocess.DEVNULL, process_group=0
            )
        except OSError as error:
            print(f"cannot start {job.argv[0]}: {error}", flush=True)
            self._record(JobState.FAILED, 127)
            return
        code = self._watch(child)
        self._record(self._judge(code, num_oom_kills() > oom_kills), code)

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
            if now - self._began > job.walltime_s:
                self._ask(JobState.TIMEOUT)
            if self._asked and kill_at is None:
                kill_at = now + job.grace_s
                child.terminate()
            if kill_at is not None and now > kill_at:
                signal_all(processes_of(self._intent.token), signal.SIGKILL)
            if now - leased > _LEASE_EVERY_S:
                leased = now
                with suppress(OSError):  # a full disk must not leave the command without its runner
                    self._attempt.renew_lease()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_TICK_S)
        self._end_rest(kill_at or time.monotonic() + job.grace_s)
        return child.returncode

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
    os._exit(main(sys.argv[1]))
