"""Real jobs in real processes: what a caller, a runner or a machine can do wrong at any moment."""

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
from infra.jobs.attempt import Attempt
from infra.jobs.local import LocalBackend
from infra.jobs.process import processes_of
from infra.jobs.spec import JobState
from infra.outcome import StageCancelled, StageFailed, StageInterrupted, StageRefused, StageResult
from infra.plan import make_plan
from infra.stage import Action, Resources, Stage
from infra.store import ObjectDamaged, Store
from tests.infra.caller import CONFIG, COUNT

MULTIPLY = Stage(
    name="multiply",
    version=1,
    entry="stage_functions:multiply",
    config={"sizes": "sizes"},
    literals={"factor": 2},
    packages=("pydantic",),
)
NEGATE = Stage(name="negate", version=1, entry="stage_functions:negate", inputs={"number": "multiply"})


def _run(stage: Stage, store: Store, backend: LocalBackend, **options: Any) -> StageResult:
    inputs = options.pop("inputs", {})
    return asyncio.run(execute(stage, stage.values(CONFIG), inputs, store, backend, **options))


def _caller(store: Store) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "caller", str(store.base)])


def _wait_for(condition: Callable[[], Any], timeout_s: float = 120.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def _attempts(store: Store) -> list[Attempt]:
    return [attempt for folder in store.stage_folders() for attempt in folder.attempts()]


def _counted(store: Store) -> int:
    counters = list((store.base / "stages").glob("*/*/workspace/counter"))
    return int(counters[0].read_text()) if counters else 0


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file is absent, COUNT waits half-way, so that however slow the machine, there is a job to kill."""
    path = tmp_path / "gate"
    monkeypatch.setenv("GATE", str(path))
    return path


def _num_processes(result: StageResult) -> int:
    return len((result.object.path / "processes.txt").read_text().splitlines())


def test_a_stage_runs_once_and_is_then_reused(store: Store, backend: LocalBackend) -> None:
    heard: list[dict[str, Any]] = []
    first = _run(MULTIPLY, store, backend, on_progress=heard.append)
    assert first.action is Action.RUN
    assert (first.object.path / "product.txt").read_text() == "24"
    assert heard == [{"done": 1, "total": 1}]

    manifest = store.verify(first.object)
    assert manifest.stage
    assert manifest.stage.name == "multiply"
    assert manifest.config == {"sizes": {"width": 3, "height": 4}}
    assert manifest.env
    assert "pydantic" in manifest.env.packages
    assert manifest.job
    assert manifest.job.exit == 0
    (folder,) = store.stage_folders("multiply")
    assert not folder.workspace.exists()
    assert "multiplied" in folder.attempts()[0].tail()

    again = _run(MULTIPLY, store, backend)
    assert (again.action, again.object) == (Action.REUSE, first.object)
    assert len(_attempts(store)) == 1
    second = _run(NEGATE, store, backend, inputs={"number": first.object})
    assert (second.object.path / "product.txt").read_text() == "-24"
    assert store.manifest(second.object).inputs == {"number": first.object.digest}
    assert make_plan([MULTIPLY, NEGATE], CONFIG, store).work == ()


def test_a_comment_anywhere_changes_nothing_and_a_raised_version_does(
    store: Store, backend: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of the code is no part of a key; what a person says of its meaning is."""
    own, other = tmp_path / "own_stage.py", tmp_path / "own_neighbour.py"
    own.write_text(
        "from own_neighbour import SIX\n\n"
        "def write(*, workspace, output) -> None:\n"
        "    (output / 'product.txt').write_text(str(SIX))\n"
    )
    other.write_text("SIX = 6\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    stage = Stage(name="write", version=1, entry="own_stage:write")
    after = replace(NEGATE, inputs={"number": "write"})

    def both(stage: Stage) -> list[Action]:
        first = _run(stage, store, backend)
        return [first.action, _run(after, store, backend, inputs={"number": first.object}).action]

    assert both(stage) == [Action.RUN, Action.RUN]
    for path in (own, other):
        path.write_text("# said differently\n" + path.read_text())
    assert both(stage) == [Action.REUSE, Action.REUSE]
    assert both(replace(stage, version=2)) == [Action.RUN, Action.REUSE], "the same result changes nothing below"
    other.write_text("SIX = 7\n")
    assert both(replace(stage, version=3)) == [Action.RUN, Action.RUN]


def test_a_listener_in_trouble_does_not_end_the_stage(
    store: Store, backend: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    async def listener(progress: dict[str, Any]) -> None:
        raise ConnectionError("the server is away")

    assert _run(MULTIPLY, store, backend, on_progress=listener).action is Action.RUN
    assert "the server is away" in caplog.text


def test_logs_are_kept_but_are_no_part_of_the_content(store: Store, backend: LocalBackend) -> None:
    first = _run(MULTIPLY, store, backend)
    again = _run(replace(MULTIPLY, version=2), store, backend)
    assert again.action is Action.RUN
    assert again.object == first.object
    assert (first.object.path / "logs" / "time.txt").exists()


def test_a_fault_gives_the_cause_and_the_tail(store: Store, backend: LocalBackend) -> None:
    stage = Stage(name="divide", version=1, entry="stage_functions:divide")
    with pytest.raises(StageFailed, match="stage divide failed in attempt 1: ZeroDivisionError") as caught:
        _run(stage, store, backend)
    assert "about to divide" in caught.value.tail
    assert "Traceback" in caught.value.tail
    assert len(_attempts(store)) == 1


def test_a_refusal_is_one_line(store: Store, backend: LocalBackend) -> None:
    stage = Stage(name="refuse", version=1, entry="stage_functions:refuse")
    with pytest.raises(StageRefused) as caught:
        _run(stage, store, backend)
    assert str(caught.value) == "stage refuse: width must be a multiple of 8, got 7; use 8"
    (attempt,) = _attempts(store)
    ended = attempt.exit()
    assert ended
    assert ended.code == 2


def test_arguments_are_checked_against_the_annotations(store: Store, backend: LocalBackend) -> None:
    values = {"sizes": {"width": "wide", "height": 4}}
    with pytest.raises(StageRefused, match=r"sizes\.width: Input should be a valid integer"):
        asyncio.run(execute(MULTIPLY, values, {}, store, backend))


def test_a_killed_caller_leaves_the_job_and_the_next_one_adopts_it(
    store: Store, backend: LocalBackend, gate: Path
) -> None:
    caller = _caller(store)
    _wait_for(lambda: _counted(store) > 0)
    caller.kill()
    caller.wait()
    assert make_plan([COUNT], CONFIG, store).row("count").action is Action.ADOPT
    gate.touch()
    result = _run(COUNT, store, backend)
    assert result.action is Action.ADOPT
    assert _num_processes(result) == 1
    assert len(_attempts(store)) == 1


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.3])
def test_a_caller_killed_around_submission_submits_once(store: Store, backend: LocalBackend, delay_s: float) -> None:
    caller = _caller(store)
    _wait_for(lambda: _attempts(store))
    time.sleep(delay_s)
    caller.kill()
    caller.wait()
    result = _run(COUNT, store, backend)
    assert _num_processes(result) == 1
    assert len(_attempts(store)) == 1


def test_submitting_one_attempt_again_starts_one_job(store: Store, backend: LocalBackend) -> None:
    caller = _caller(store)
    (attempt,) = _wait_for(lambda: _attempts(store))
    intent = attempt.intent()
    refs = {backend.submit(intent.job, attempt, intent.token) for _ in range(2)}
    caller.wait()
    assert len(refs) == 1
    assert _num_processes(_run(COUNT, store, backend)) == 1


def test_a_killed_job_is_followed_by_another_attempt_in_the_same_workspace(
    store: Store, backend: LocalBackend, gate: Path
) -> None:
    caller = _caller(store)
    reached = _wait_for(lambda: _counted(store))
    (attempt,) = _attempts(store)
    running = attempt.running()
    assert running is not None
    for pid in [running.identity.pid, *processes_of(running.ref.token)]:
        os.kill(pid, signal.SIGKILL)
    gate.touch()
    caller.wait()
    result = _run(COUNT, store, backend)
    assert (result.object.path / "count.txt").read_text() == "20"
    assert _num_processes(result) == 2
    states = [ended.state for one in _attempts(store) if (ended := one.exit())]
    assert states == [JobState.LOST, JobState.SUCCEEDED]
    assert reached > 0


def test_what_a_killed_runner_leaves_running_is_ended_before_the_next_attempt(
    store: Store,
    backend: LocalBackend,
    gate: Path,
) -> None:
    caller = _caller(store)
    _wait_for(lambda: _counted(store))
    (attempt,) = _attempts(store)
    running = attempt.running()
    assert running is not None
    (child,) = processes_of(running.ref.token)[-1:]
    os.kill(running.identity.pid, signal.SIGKILL)
    _wait_for(lambda: len(_attempts(store)) == 2)
    assert child not in processes_of(running.ref.token)
    gate.touch()
    caller.wait()
    result = _run(COUNT, store, backend)
    assert (result.object.path / "count.txt").read_text() == "20"
    assert _num_processes(result) == 2


def test_two_callers_share_one_job(store: Store, backend: LocalBackend) -> None:
    async def both() -> list[StageResult]:
        heard: list[dict[str, Any]] = []
        calls = [
            execute(COUNT, COUNT.values(CONFIG), {}, store, backend, on_progress=listener)
            for listener in (None, heard.append)
        ]
        results = await asyncio.gather(*calls)
        assert any(progress["done"] < 20 for progress in heard)
        return list(results)

    first, second = asyncio.run(both())
    assert {first.action, second.action} == {Action.RUN, Action.ADOPT}
    assert first.object == second.object
    assert _num_processes(first) == 1
    assert len(_attempts(store)) == 1


def test_two_processes_share_one_job(store: Store, backend: LocalBackend) -> None:
    callers = [_caller(store) for _ in range(3)]
    for caller in callers:
        assert caller.wait() == 0
    result = _run(COUNT, store, backend)
    assert result.action is Action.REUSE
    assert _num_processes(result) == 1


def test_a_cancelled_coroutine_leaves_the_job_running(store: Store, backend: LocalBackend, gate: Path) -> None:
    async def give_up() -> None:
        task = asyncio.create_task(execute(COUNT, COUNT.values(CONFIG), {}, store, backend))
        while not _counted(store):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    gate.touch()
    result = _run(COUNT, store, backend)
    assert result.action is Action.ADOPT
    assert _num_processes(result) == 1


def test_preemption_saves_and_goes_on(store: Store, backend: LocalBackend, gate: Path) -> None:
    caller = _caller(store)
    _wait_for(lambda: _counted(store))
    first = _attempts(store)[0]
    running = first.running()
    assert running is not None
    os.kill(running.identity.pid, signal.SIGTERM)
    _wait_for(first.exit)
    gate.touch()
    caller.wait()
    result = _run(COUNT, store, backend)
    assert result.action is Action.REUSE
    assert _num_processes(result) == 2
    ends = [ended for one in _attempts(store) if (ended := one.exit())]
    assert [ended.state for ended in ends] == [JobState.PREEMPTED, JobState.SUCCEEDED]
    assert ends[0].code == 143
    assert result.wall_s == pytest.approx(ends[0].wall_s + ends[1].wall_s, abs=0.01)


def test_wall_time_ends_attempts_and_progress_is_kept(store: Store, backend: LocalBackend) -> None:
    short = replace(COUNT, resources=Resources(walltime_s=0.7, max_attempts=1))
    with pytest.raises(StageInterrupted, match="ended timeout"):
        _run(short, store, backend)
    reached = _counted(store)
    (attempt,) = _attempts(store)
    ended = attempt.exit()
    assert ended
    assert ended.state is JobState.TIMEOUT
    row = make_plan([COUNT], CONFIG, store).row("count")
    assert (row.action, row.reasons[0]) == (Action.RESUME, "attempt 1 ended timeout; goes on from its workspace")
    result = _run(COUNT, store, backend)
    assert reached < 20
    assert result.action is Action.RESUME
    assert len(_attempts(store)) == 2


def test_jobs_are_cancelled_by_label_and_can_be_taken_up_again(store: Store, backend: LocalBackend, gate: Path) -> None:
    async def cancelled() -> None:
        labels = {"flow_run": "one", "user": "me"}
        task = asyncio.create_task(execute(COUNT, COUNT.values(CONFIG), {}, store, backend, labels=labels))
        while not _counted(store):
            await asyncio.sleep(0.02)
        assert cancel_jobs(store, {"flow_run": "other"}) == []
        assert len(cancel_jobs(store, {"flow_run": "one"})) == 1
        await task

    with pytest.raises(StageCancelled, match="run it again to go on"):
        asyncio.run(cancelled())
    (attempt,) = _attempts(store)
    ended = attempt.exit()
    assert ended
    assert ended.state is JobState.CANCELLED
    gate.touch()
    assert _run(COUNT, store, backend).action is Action.RESUME


def test_a_cancelled_job_whose_runner_died_is_not_taken_up_by_itself(
    store: Store, backend: LocalBackend, gate: Path
) -> None:
    async def cancelled() -> None:
        labels = {"flow_run": "one"}
        task = asyncio.create_task(execute(COUNT, COUNT.values(CONFIG), {}, store, backend, labels=labels))
        while not _counted(store):
            await asyncio.sleep(0.02)
        (ref,) = cancel_jobs(store, labels)
        os.kill(int(ref.id), signal.SIGKILL)
        await task

    with pytest.raises(StageCancelled):
        asyncio.run(cancelled())
    assert len(_attempts(store)) == 1


def test_a_damaged_result_is_made_again(store: Store, backend: LocalBackend) -> None:
    first = _run(MULTIPLY, store, backend)
    path = first.object.path / "product.txt"
    path.chmod(0o644)
    path.write_text("25")
    with pytest.raises(ObjectDamaged, match=r"product\.txt"):
        store.verify(first.object)
    again = _run(MULTIPLY, store, backend)
    assert (again.action, again.object) == (Action.RUN, first.object)
    assert path.read_text() == "24"
    store.verify(first.object)


def test_a_caller_killed_between_job_and_publication_loses_nothing(
    store: Store, backend: LocalBackend, gate: Path
) -> None:
    """Everything up to ``exit.json`` happened; nobody has published the output yet."""
    caller = _caller(store)
    _wait_for(lambda: _counted(store))
    caller.kill()
    caller.wait()
    gate.touch()
    (attempt,) = _attempts(store)
    _wait_for(attempt.exit)
    result = _run(COUNT, store, backend)
    assert result.action is Action.ADOPT
    assert _num_processes(result) == 1


@pytest.mark.slow
def test_a_stage_gets_a_cluster(store: Store, backend: LocalBackend) -> None:
    stage = Stage(
        name="squares",
        version=1,
        entry="stage_functions:square_all",
        resources=Resources(dask_workers=2),
    )
    result = _run(stage, store, backend)
    assert json.loads((result.object.path / "squares.json").read_text()) == [n * n for n in range(20)]
    assert len(json.loads((result.object.path / "logs" / "processes.json").read_text())) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [0, 2])
def test_a_stage_runs_in_several_processes(store: Store, backend: LocalBackend, gpus: int) -> None:
    """With GPUs asked for and without; this function touches none, so none need be there."""
    stage = Stage(
        name="ranks",
        version=1,
        entry="stage_functions:rank",
        launcher="accelerate",
        resources=Resources(gpus=gpus, num_processes=2),
    )
    result = _run(stage, store, backend)
    assert {path.name: path.read_text() for path in result.object.path.iterdir()} == {
        "rank0.txt": "2",
        "rank1.txt": "2",
    }
