"""What a person reads of a stage that gave no result."""

import json
import sys
from pathlib import Path

import pytest

from infra.jobs.attempt import Attempt, Call, Intent
from infra.jobs.spec import JobSpec, JobState
from infra.manifest import utc_now
from infra.outcome import failed_stage


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    spec = JobSpec(argv=(sys.executable,), cwd=str(tmp_path))
    call = Call(entry="m:f", arguments={}, inputs={}, workspace="w", output="o")
    return Attempt.create(tmp_path / "0001", Intent(token="t", backend="local", job=spec, created=utc_now()), call)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "it ended, and nobody saw its exit code"),
        (3, "exit code 3"),
        (-1, "killed by SIGHUP"),
        (-11, "killed by SIGSEGV"),
        (-40, "killed by signal 40"),
    ],
)
def test_how_it_ended(attempt: Attempt, code: int | None, said: str) -> None:
    attempt.record_exit(JobState.FAILED, code, utc_now(), 0.0, None)
    ended = attempt.exit()
    assert ended is not None
    assert ended.code == code
    assert str(failed_stage("number", attempt, ended)) == (
        f"stage number failed in attempt 1: {said} (log: {attempt.log_path})"
    )


def test_a_job_that_was_never_started_has_no_exit_code(attempt: Attempt) -> None:
    attempt.record_refusal("no such partition")
    assert json.loads(attempt.exit_path.read_text())["code"] is None
