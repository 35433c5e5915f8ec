"""The local backend and its runner on plain commands."""

import os
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from infra.jobs.attempt import Attempt, Call, Exit, Intent
from infra.jobs.local import LocalBackend
from infra.jobs.log import MAX_LOG_BYTES
from infra.jobs.process import Identity, identify, is_alive, processes_of
from infra.jobs.spec import JobRef, JobSpec, JobState, SubmitError
from infra.manifest import utc_now

NOTHING = Call(entry="m:f", arguments={}, inputs={}, workspace="w", output="o")


def _attempt(folder: Path, code: str = "", **fields: Any) -> Attempt:
    spec = JobSpec(**{"argv": (sys.executable, "-c", code), "cwd": str(folder), **fields})
    intent = Intent(token=uuid.uuid4().hex, backend="local", job=spec, created=utc_now())
    return Attempt.create(folder / "0001", intent, NOTHING)


def _submit(backend: LocalBackend, attempt: Attempt) -> JobRef:
    intent = attempt.intent()
    return backend.submit(intent.job, attempt, intent.token)


def _ended(backend: LocalBackend, ref: JobRef) -> Exit | None:
    deadline = time.monotonic() + 120
    while not backend.poll([ref])[ref].state.is_over:
        assert time.monotonic() < deadline, "the job does not end"
        time.sleep(0.05)
    return Attempt(Path(ref.attempt)).exit()


def _wait_until_gone(ref: JobRef) -> None:
    """The runner itself lives for a moment after it has written how the job ended."""
    deadline = time.monotonic() + 30
    while left := processes_of(ref.token):
        assert time.monotonic() < deadline, f"processes {left} are left"
        time.sleep(0.02)


def _wait_for_file(path: Path) -> str:
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.02)
    return path.read_text()


@pytest.mark.parametrize(
    ("code", "state", "exit_code"),
    [
        ("pass", JobState.SUCCEEDED, 0),
        ("raise SystemExit(1)", JobState.FAILED, 1),
        ("raise SystemExit(143)", JobState.PREEMPTED, 143),
        ("raise SystemExit(75)", JobState.PREEMPTED, 75),
        ("import os; os.kill(os.getpid(), 15)", JobState.PREEMPTED, -15),
        ("import os; os.kill(os.getpid(), 9)", JobState.FAILED, -9),
    ],
)
def test_exit_codes_become_states(
    backend: LocalBackend, tmp_path: Path, code: str, state: JobState, exit_code: int
) -> None:
    ended = _ended(backend, _submit(backend, _attempt(tmp_path, code)))
    assert ended is not None
    assert (ended.state, ended.code) == (state, exit_code)


def test_a_job_is_a_session_of_its_own_without_the_callers_secrets(
    backend: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    code = "import os, sys; print(os.getsid(0), os.getppid(), sorted(os.environ), sys.stdin.read(), os.environ['A'])"
    attempt = _attempt(tmp_path, code, env={"A": "given"})
    ref = _submit(backend, attempt)
    _ended(backend, ref)
    said = backend.tail(ref)
    assert said.split()[0] != str(os.getsid(0))
    assert said.split()[1] == ref.id
    assert "PREFECT_API_KEY" not in said
    assert said.endswith("given")
    usage = backend.usage(ref)
    assert usage is not None
    assert usage.wall_s > 0
    assert usage.max_rss_bytes is not None
    assert usage.max_rss_bytes > 1_000_000


def test_a_command_that_does_not_exist_fails(backend: LocalBackend, tmp_path: Path) -> None:
    ref = _submit(backend, _attempt(tmp_path, argv=("/no/such/command",)))
    ended = _ended(backend, ref)
    assert ended is not None
    assert (ended.state, ended.code) == (JobState.FAILED, 127)
    assert "cannot start /no/such/command" in backend.tail(ref)


def test_a_runner_that_cannot_start_is_an_error_of_submission(backend: LocalBackend, tmp_path: Path) -> None:
    attempt = _attempt(tmp_path)
    spec = attempt.intent().job
    attempt.intent_path.write_text("{}")
    with pytest.raises(SubmitError, match="before the job started"):
        backend.submit(spec, attempt, "token")
    assert backend.find(attempt, "token") is None


def test_submission_again_is_the_same_job_even_when_it_is_over(backend: LocalBackend, tmp_path: Path) -> None:
    attempt = _attempt(tmp_path, "open('starts', 'a').write('x')")
    ref = _submit(backend, attempt)
    _ended(backend, ref)
    assert _submit(backend, attempt) == ref
    assert backend.find(attempt, ref.token) == ref
    assert backend.find(attempt, "another token") is None
    assert (tmp_path / "starts").read_text() == "x"


def test_cancelled_before_it_starts_it_never_does(backend: LocalBackend, tmp_path: Path) -> None:
    attempt = _attempt(tmp_path, "open('starts', 'a').write('x')")
    attempt.cancel_path.touch()
    ended = _ended(backend, _submit(backend, attempt))
    assert ended is not None
    assert ended.state is JobState.CANCELLED
    assert not (tmp_path / "starts").exists()


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
time.sleep(0.5)
open("up", "w").write("x")
time.sleep(600)
"""


@pytest.mark.parametrize("why", [JobState.CANCELLED, JobState.TIMEOUT, JobState.PREEMPTED])
def test_what_does_not_heed_the_request_is_killed_with_its_children(
    backend: LocalBackend, tmp_path: Path, why: JobState
) -> None:
    walltime_s = 2.0 if why is JobState.TIMEOUT else 600.0
    ref = _submit(backend, _attempt(tmp_path, STUBBORN, walltime_s=walltime_s, grace_s=0.5))
    _wait_for_file(tmp_path / "up")
    assert len(processes_of(ref.token)) == 3
    if why is JobState.CANCELLED:
        backend.cancel(ref)
    elif why is JobState.PREEMPTED:
        os.kill(int(ref.id), signal.SIGTERM)
    ended = _ended(backend, ref)
    assert ended is not None
    assert ended.state is why
    _wait_until_gone(ref)


def test_workers_of_a_launcher_that_dies_at_once_may_save_and_are_waited_for(
    backend: LocalBackend, tmp_path: Path
) -> None:
    worker = (
        "import signal, sys, time\n"
        "def save(*_):\n"
        "    with open('saved', 'a') as stream: stream.write('x')\n"
        "    time.sleep(1)\n"
        "    sys.exit(143)\n"
        "signal.signal(15, save)\n"
        "open('up', 'w').write('x')\n"
        "time.sleep(600)\n"
    )
    (tmp_path / "worker.py").write_text(worker)
    launcher = "import subprocess, sys; subprocess.run([sys.executable, 'worker.py'])"
    ref = _submit(backend, _attempt(tmp_path, launcher))
    _wait_for_file(tmp_path / "up")
    os.kill(int(ref.id), signal.SIGTERM)
    ended = _ended(backend, ref)
    assert ended is not None
    assert ended.state is JobState.PREEMPTED
    assert (tmp_path / "saved").read_text() == "x"
    _wait_until_gone(ref)


def test_a_dead_job_is_lost_and_a_reused_process_id_is_not_taken_for_it(backend: LocalBackend, tmp_path: Path) -> None:
    ref = _submit(backend, _attempt(tmp_path, "import time; time.sleep(600)"))
    for pid in [int(ref.id), *processes_of(ref.token)]:
        os.kill(pid, signal.SIGKILL)
    assert _ended(backend, ref) is None
    assert backend.poll([ref])[ref].state is JobState.LOST

    own = identify(os.getpid())
    assert is_alive(own)
    assert not is_alive(own.model_copy(update={"start_time": own.start_time - 1}))
    assert not is_alive(own.model_copy(update={"boot": "another"}))
    assert not is_alive(Identity(host=own.host, boot=own.boot, pid=2**22 + 1, start_time=1))


def test_the_lease_says_that_the_runner_lives(backend: LocalBackend, tmp_path: Path) -> None:
    attempt = _attempt(tmp_path, "import time; time.sleep(600)")
    assert attempt.lease_age_s() == float("inf")
    ref = _submit(backend, attempt)
    assert attempt.is_live()
    assert attempt.lease_age_s() < 10
    backend.cancel(ref)
    _ended(backend, ref)
    assert not attempt.is_live()


@pytest.mark.slow
def test_a_log_that_floods_is_shortened_while_the_job_goes_on(backend: LocalBackend, tmp_path: Path) -> None:
    log = tmp_path / "0001" / "log"
    code = (
        "import os, time\n"
        "print('the start')\n"
        f"while os.stat({str(log)!r}).st_size <= {MAX_LOG_BYTES}: print('again and again ' * 4096, flush=True)\n"
        f"while os.stat({str(log)!r}).st_size > {MAX_LOG_BYTES}: time.sleep(0.1)\n"
        "print('the end')\n"
    )
    ended = _ended(backend, _submit(backend, _attempt(tmp_path, code)))
    assert ended is not None
    assert ended.state is JobState.SUCCEEDED
    assert log.stat().st_size < MAX_LOG_BYTES / 2
    lines = log.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("the start", "the end")
    assert any("bytes left out here" in line for line in lines)


@pytest.mark.slow
def test_a_job_whose_log_is_gone_still_says_that_it_lives(backend: LocalBackend, tmp_path: Path) -> None:
    """Elsewhere it would be taken for dead, and begun again."""
    folder = tmp_path / "0001"
    code = (
        "import os, time\n"
        f"os.unlink({str(folder / 'log')!r})\n"
        f"before = open({str(folder / 'lease.json')!r}).read()\n"
        f"while open({str(folder / 'lease.json')!r}).read() == before: time.sleep(0.1)\n"
    )
    ended = _ended(backend, _submit(backend, _attempt(tmp_path, code)))
    assert ended is not None
    assert ended.state is JobState.SUCCEEDED
