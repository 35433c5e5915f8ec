"""Jobs on a real Slurm: a private one that the tests start. See `tests.infra.slurm_cluster`."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.execution import cancel_jobs, execute
from infra.jobs.attempt import Attempt, Exit
from infra.jobs.local import LocalBackend
from infra.jobs.process import processes_of, signal_all
from infra.jobs.slurm import SlurmBackend
from infra.jobs.slurm_script import SlurmOptions
from infra.jobs.spec import JobState
from infra.outcome import StageCancelled, StageFailed, StageInterrupted, StageRefused, StageResult
from infra.plan import make_plan
from infra.stage import Action, Resources, Stage
from infra.store import Store
from tests.infra.caller import CONFIG, COUNT
from tests.infra.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.slow

OPTIONS: dict[str, Any] = {"poll_s": 0.5}
REGRESS = Stage(name="regress", version=1, entry="stage_functions:regress")


def _backend(**options: Any) -> SlurmBackend:
    return SlurmBackend(SlurmOptions(**(OPTIONS | options)))


def _run(stage: Stage, store: Store, backend: SlurmBackend | LocalBackend) -> StageResult:
    return asyncio.run(execute(stage, stage.values(CONFIG), {}, store, backend))


def _caller(store: Store, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "caller", str(store.base), json.dumps(OPTIONS | options)])


def _wait_for(condition: Callable[[], Any], timeout_s: float = 120.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return value


def _attempts(store: Store) -> list[Attempt]:
    return [attempt for folder in store.stage_folders() for attempt in folder.attempts()]


def _ends(store: Store) -> list[Exit]:
    return [end for attempt in _attempts(store) for end in attempt.ends()]


def _counted(store: Store) -> int:
    counters = list((store.base / "stages").glob("*/*/workspace/counter"))
    return int(counters[0].read_text()) if counters else 0


def _num_processes(result: StageResult) -> int:
    return len((result.object.path / "processes.txt").read_text().splitlines())


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file is absent, COUNT and REGRESS wait half-way."""
    path = tmp_path / "gate"
    monkeypatch.setenv("GATE", str(path))
    return path


@pytest.fixture
def submissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A line for every job that was handed to Slurm: ``sbatch`` on PATH writes it down and goes on as itself."""
    record = tmp_path / "submissions"
    real = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout.strip()
    _command(tmp_path, monkeypatch, "sbatch", f'echo x >> "{record}"; sleep "${{SBATCH_DELAY:-0}}"; exec {real} "$@"')
    return record


def _command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> Path:
    """Puts a shell script before everything else on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
    if not os.environ["PATH"].startswith(f"{folder}:"):
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / name


def test_a_stage_runs_as_a_job_and_its_manifest_says_so(store: Store, slurm: SlurmCluster) -> None:
    result = _run(COUNT, store, _backend())
    assert result.action is Action.RUN
    job = store.manifest(result.object).job
    assert job is not None
    assert (job.backend, job.exit, job.chain) == ("slurm", 0, (job.id,))
    (attempt,) = _attempts(store)
    submitted = attempt.submitted()
    assert submitted is not None
    assert job.id == submitted.id
    usage = _backend().usage(submitted)
    assert usage is not None
    assert usage.wall_s > 0
    assert _run(COUNT, store, _backend()).action is Action.REUSE


def test_a_fault_gives_the_cause_and_the_tail(store: Store, slurm: SlurmCluster) -> None:
    stage = Stage(name="divide", version=1, entry="stage_functions:divide")
    with pytest.raises(StageFailed, match="stage divide failed in attempt 1: ZeroDivisionError") as caught:
        _run(stage, store, _backend())
    assert "about to divide" in caught.value.tail
    assert len(_attempts(store)) == 1


def test_a_script_that_never_reaches_the_work_fails_with_its_words(store: Store, slurm: SlurmCluster) -> None:
    with pytest.raises(StageFailed, match="failed in attempt 1") as caught:
        _run(COUNT, store, _backend(prologue=("module load no-such-module || exit 9",)))
    assert "module" in caught.value.tail
    assert len(_attempts(store)) == 1


def test_what_slurm_will_not_take_is_one_line_and_can_be_mended(store: Store, slurm: SlurmCluster) -> None:
    with pytest.raises(StageRefused, match=r"slurm did not take the job: sbatch: .*[Ii]nvalid partition"):
        _run(COUNT, store, _backend(partition="nowhere"))
    assert _run(COUNT, store, _backend()).action in (Action.RUN, Action.RESUME)


def test_what_a_job_may_use_reaches_it_and_the_callers_secrets_do_not(
    store: Store, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    stage = Stage(name="variables", version=1, entry="stage_functions:show_variables")
    result = asyncio.run(execute(stage, {}, {}, store, _backend(), env={"GIVEN": "here"}))
    seen = json.loads((result.object.path / "logs" / "variables.json").read_text())
    assert seen["GIVEN"] == "here"
    assert seen["SLURM_JOB_NAME"].startswith("ds-")
    assert "PREFECT_API_KEY" not in seen


def test_a_caller_killed_while_the_job_runs_leaves_it_and_the_next_one_adopts_it(
    store: Store, slurm: SlurmCluster, gate: Path, submissions: Path
) -> None:
    caller = _caller(store)
    _wait_for(lambda: _counted(store) > 0)
    caller.kill()
    caller.wait()
    assert make_plan([COUNT], CONFIG, store).row("count").action is Action.ADOPT
    gate.touch()
    result = _run(COUNT, store, _backend())
    assert result.action is Action.ADOPT
    assert (_num_processes(result), submissions.read_text()) == (1, "x\n")


@pytest.mark.parametrize("moment", ["before sbatch has reached Slurm", "before the job has started"])
def test_a_caller_killed_around_submission_submits_exactly_one_job(
    store: Store, slurm: SlurmCluster, submissions: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """``sbatch`` outlives its caller: the next one waits for it, and finds the job by its comment."""
    if moment == "before the job has started":
        caller = _caller(store, directives=["--begin=now+4"])
        (attempt,) = _wait_for(lambda: _attempts(store))
        _wait_for(attempt.submitted_path.exists)
        row = make_plan([COUNT], CONFIG, store).row("count")
        assert row.action is Action.ADOPT
        assert row.reasons[0].startswith("attempt 1 waits as slurm job ")
        attempt.submitted_path.unlink()  # as if it had been killed before that was written
    else:
        monkeypatch.setenv("SBATCH_DELAY", "4")
        caller = _caller(store)
        _wait_for(submissions.exists)
    caller.kill()
    caller.wait()
    monkeypatch.setenv("SBATCH_DELAY", "0")
    result = _run(COUNT, store, _backend())
    assert result.action is Action.ADOPT
    assert (_num_processes(result), submissions.read_text()) == (1, "x\n")
    assert len(_attempts(store)) == 1


def test_two_pollers_share_one_job(store: Store, slurm: SlurmCluster, submissions: Path) -> None:
    callers = [_caller(store) for _ in range(2)]
    assert [caller.wait() for caller in callers] == [0, 0]
    result = _run(COUNT, store, _backend())
    assert (result.action, _num_processes(result), submissions.read_text()) == (Action.REUSE, 1, "x\n")


def test_a_queue_that_does_not_answer_is_not_a_job_that_failed(
    store: Store, slurm: SlurmCluster, gate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = _caller(store)
    _wait_for(lambda: _counted(store) > 0)
    caller.kill()
    caller.wait()
    down = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
    for name in ("squeue", "sacct"):
        _command(tmp_path, monkeypatch, name, f'echo x >> "{tmp_path}/asked"; {down}')

    async def both() -> StageResult:
        task = asyncio.create_task(execute(COUNT, COUNT.values(CONFIG), {}, store, _backend()))
        while not (tmp_path / "asked").exists() or len((tmp_path / "asked").read_text()) < 6:
            await asyncio.sleep(0.05)
        assert not task.done()
        gate.touch()
        return await task

    result = asyncio.run(both())
    assert (result.action, _num_processes(result)) == (Action.ADOPT, 1)


def test_submission_waits_for_a_controller_that_is_away(
    store: Store, slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "away"
    away.touch()
    for name in ("squeue", "sbatch"):
        real = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        down = f'echo x >> "{tmp_path}/asked"; echo "{name}: error: Unable to contact slurm controller" >&2; exit 1'
        _command(tmp_path, monkeypatch, name, f'[ -e "{away}" ] && {{ {down}; }}; exec {real} "$@"')

    async def both() -> StageResult:
        task = asyncio.create_task(execute(COUNT, COUNT.values(CONFIG), {}, store, _backend()))
        while not (tmp_path / "asked").exists() or len((tmp_path / "asked").read_text()) < 6:
            await asyncio.sleep(0.05)
        assert not task.done()
        away.unlink()
        return await task

    assert _num_processes(asyncio.run(both())) == 1


@pytest.mark.parametrize("seen", [True, False])
def test_a_job_that_was_killed_is_followed_by_another_attempt(
    store: Store, slurm: SlurmCluster, gate: Path, seen: bool
) -> None:
    """While someone looks on, and while Slurm forgets the job before anyone asks: then it is waited for, and lost."""
    caller = _caller(store)
    _wait_for(lambda: _counted(store) > 0)
    (attempt,) = _attempts(store)
    running = attempt.running()
    assert running is not None
    if not seen:
        caller.kill()
        caller.wait()
    signal_all([running.identity.pid, *processes_of(running.ref.token)], signal.SIGKILL)
    if not seen:
        _wait_for(lambda: running.ref.id not in slurm.jobs())
    gate.touch()
    result = _run(COUNT, store, _backend(unlisted_s=2.0))
    caller.wait()
    assert (result.object.path / "count.txt").read_text() == "20"
    assert _num_processes(result) == 2
    assert [end.state for end in _ends(store)] == [JobState.LOST, JobState.SUCCEEDED]


def test_cancelled_in_the_queue_it_never_starts(store: Store, slurm: SlurmCluster) -> None:
    async def cancelled() -> None:
        backend = _backend(directives=("--begin=now+600",))
        task = asyncio.create_task(execute(COUNT, COUNT.values(CONFIG), {}, store, backend, labels={"run": "one"}))
        while not any(attempt.is_waiting() for attempt in _attempts(store)):
            await asyncio.sleep(0.05)
        (ref,) = await asyncio.to_thread(cancel_jobs, store, {"run": "one"})
        await task
        assert slurm.jobs().get(ref.id, "CANCELLED") == "CANCELLED"

    with pytest.raises(StageCancelled):
        asyncio.run(cancelled())
    assert [attempt.running() for attempt in _attempts(store)] == [None]


def test_cancelled_while_it_runs_it_saves_and_can_be_taken_up(store: Store, slurm: SlurmCluster, gate: Path) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(execute(COUNT, COUNT.values(CONFIG), {}, store, _backend(), labels={"run": "one"}))
        while not _counted(store):
            await asyncio.sleep(0.05)
        assert len(await asyncio.to_thread(cancel_jobs, store, {"run": "one"})) == 1
        await task

    with pytest.raises(StageCancelled):
        asyncio.run(cancelled())
    assert [(end.state, end.code) for end in _ends(store)] == [(JobState.CANCELLED, 143)]
    gate.touch()
    assert _run(COUNT, store, _backend()).action is Action.RESUME


def test_cancelled_by_slurms_own_command_the_chain_ends(store: Store, slurm: SlurmCluster, gate: Path) -> None:
    caller = _caller(store)
    _wait_for(lambda: _counted(store) > 0)
    running = _attempts(store)[0].running()
    assert running is not None
    slurm.command("scancel", running.ref.id)
    assert caller.wait() != 0
    assert [end.state for end in _ends(store)] == [JobState.CANCELLED]


def test_wall_time_ends_a_job_early_enough_to_save_and_the_next_one_goes_on(store: Store, slurm: SlurmCluster) -> None:
    """Ten seconds of work in each job. No GPU is here, so the request for some is an option that asks for nothing; what
    is summed is what was asked for."""
    asked = Resources(gpus=4, walltime_s=600.0, grace_s=590.0, max_attempts=9)
    slow = {"count.steps": 20, "count.pause_s": 0.7}
    backend = _backend(gpu_request="--nice={gpus}")
    result = asyncio.run(execute(replace(COUNT, resources=asked), slow, {}, store, backend))
    ends = _ends(store)
    assert len(ends) >= 2
    assert [end.state for end in ends] == [*[JobState.TIMEOUT] * (len(ends) - 1), JobState.SUCCEEDED]
    assert _num_processes(result) <= len(ends)
    job = store.manifest(result.object).job
    assert job is not None
    assert len(job.chain) == len(set(job.chain)) == len(ends)
    assert result.wall_s == pytest.approx(sum(end.wall_s for end in ends), abs=0.01)
    assert job.gpu_s == pytest.approx(4 * result.wall_s, abs=0.05)


def test_a_chain_ends_with_its_total_time(store: Store, slurm: SlurmCluster) -> None:
    asked = Resources(walltime_s=120.0, grace_s=118.5, max_attempts=9, max_total_s=1.0)
    slow = {"count.steps": 20, "count.pause_s": 0.5}
    with pytest.raises(StageInterrupted, match="ended timeout"):
        asyncio.run(execute(replace(COUNT, resources=asked), slow, {}, store, _backend()))
    assert len(_attempts(store)) == 1


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> StageResult:
    """REGRESS without an interruption, as a local job."""
    base = tmp_path_factory.mktemp("straight")
    (base / "gate").touch()
    folders = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATE", str(base / "gate"))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
        return _run(REGRESS, Store(base / "store"), LocalBackend())


def test_a_preempted_training_saves_and_ends_bit_for_bit_as_if_nothing_had_happened(
    store: Store, slurm: SlurmCluster, gate: Path, straight: StageResult
) -> None:
    """Slurm itself preempts it, for a job of a more urgent partition."""

    async def preempted() -> StageResult:
        task = asyncio.create_task(execute(REGRESS, {}, {}, store, _backend()))
        while not list((store.base / "stages").glob("regress/*/workspace/held")):
            await asyncio.sleep(0.05)
            assert not task.done(), task.result()
        urgent = ["--partition=urgent", "--nodes=2", "--ntasks-per-node=2", "--output=/dev/null", "--wrap=sleep 3"]
        await asyncio.to_thread(slurm.command, "sbatch", *urgent)
        while not _ends(store):
            await asyncio.sleep(0.05)
        gate.touch()
        return await task

    result = asyncio.run(preempted())
    assert result.object.digest == straight.object.digest
    ends = _ends(store)
    assert [(end.state, end.code) for end in ends] == [(JobState.PREEMPTED, 143), (JobState.SUCCEEDED, 0)]
    assert len(_attempts(store)) == 2


def test_a_job_that_slurm_starts_again_itself_goes_on_in_its_attempt(
    store: Store, slurm: SlurmCluster, gate: Path, submissions: Path
) -> None:
    caller = _caller(store, requeue=True)
    _wait_for(lambda: _counted(store) > 0)
    running = _attempts(store)[0].running()
    assert running is not None
    number = running.ref.id
    slurm.command("scontrol", "requeue", number)
    _wait_for(lambda: slurm.jobs()[number] == "PENDING")
    gate.touch()
    slurm.command("scontrol", "update", f"JobId={number}", "StartTime=now+5")  # Slurm's own pause is two minutes
    assert caller.wait() == 0
    (attempt,) = _attempts(store)
    first, second = attempt.ends()
    assert first.state.may_resume
    assert second.state is JobState.SUCCEEDED
    result = _run(COUNT, store, _backend())
    assert (_num_processes(result), submissions.read_text()) == (2, "x\n")
    assert result.wall_s == pytest.approx(first.wall_s + second.wall_s, abs=0.01)


def test_a_job_spans_two_nodes(store: Store, slurm: SlurmCluster) -> None:
    stage = Stage(
        name="ranks",
        version=1,
        entry="stage_functions:rank",
        launcher="accelerate",
        resources=Resources(num_processes=4, cpus=4, nodes=2),
    )
    result = _run(stage, store, _backend())
    written = {path.name: path.read_text() for path in result.object.path.iterdir()}
    assert written == {f"rank{rank}.txt": "4" for rank in range(4)}


@pytest.mark.long
def test_a_runner_that_hangs_is_ended_by_slurm_and_counts_as_timed_out(store: Store, slurm: SlurmCluster) -> None:
    async def hung() -> None:
        asked = Resources(walltime_s=60.0, grace_s=10.0, max_attempts=1)
        stage = Stage(name="stubborn", version=1, entry="stage_functions:ignore_requests", resources=asked)
        task = asyncio.create_task(execute(stage, {}, {}, store, _backend()))
        while not any(attempt.running() for attempt in _attempts(store)):
            await asyncio.sleep(0.05)
        running = _attempts(store)[0].running()
        assert running is not None
        os.kill(running.identity.pid, signal.SIGSTOP)
        await task

    with pytest.raises(StageInterrupted, match="ended timeout"):
        asyncio.run(hung())
    assert [end.state for end in _ends(store)] == [JobState.TIMEOUT]
