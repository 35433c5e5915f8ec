"""Jobs of Kubernetes against a hand-built API server that runs pods as processes: `tests.infra.kubernetes_api`."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kubernetes", reason="no Kubernetes client; pip install -c constraints.txt kubernetes")

from infra.execution import cancel_jobs, execute
from infra.jobs.attempt import Attempt, Exit
from infra.jobs.kubernetes import KubernetesBackend
from infra.jobs.kubernetes_manifest import KubernetesOptions
from infra.jobs.spec import JobState
from infra.outcome import StageCancelled, StageError, StageFailed, StageRefused, StageResult
from infra.stage import Action, Resources, Stage
from infra.store import Store
from tests.infra.caller import CONFIG, COUNT
from tests.infra.kubernetes_api import Cluster, kubernetes_api

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with kubernetes_api(tmp_path) as (cluster, path):
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield cluster


@pytest.fixture
def backend(cluster: Cluster, tmp_path: Path) -> KubernetesBackend:
    return _backend(tmp_path)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "gate"
    monkeypatch.setenv("GATE", str(path))
    return path


def _backend(tmp_path: Path, **options: Any) -> KubernetesBackend:
    given = {"image": "here", "store_claim": "store", "store_mount": str(tmp_path), "python": sys.executable}
    return KubernetesBackend(KubernetesOptions(**(given | {"workdir": str(ROOT), "poll_s": 0.2} | options)))


def _run(stage: Stage, store: Store, backend: KubernetesBackend) -> StageResult:
    return asyncio.run(execute(stage, stage.values(CONFIG), {}, store, backend))


def _during(stage: Stage, store: Store, backend: KubernetesBackend, once: Callable[[], bool], do: Any) -> StageResult:
    """Run the stage, and call ``do`` once ``once`` holds."""

    async def both() -> StageResult:
        labels = {"run": "one"}
        task = asyncio.create_task(execute(stage, stage.values(CONFIG), {}, store, backend, labels=labels))
        deadline = time.monotonic() + 60
        while not once():
            assert not task.done()
            assert time.monotonic() < deadline, "waited in vain"
            await asyncio.sleep(0.05)
        await asyncio.to_thread(do)
        return await task

    return asyncio.run(both())


def _attempts(store: Store) -> list[Attempt]:
    return [attempt for folder in store.stage_folders() for attempt in folder.attempts()]


def _ends(store: Store) -> list[Exit]:
    return [end for attempt in _attempts(store) for end in attempt.ends()]


def _counts(store: Store) -> Callable[[], bool]:
    return lambda: bool(list((store.base / "stages").glob("count/*/workspace/counter")))


def test_a_stage_runs_as_a_job_and_what_was_asked_for_is_in_it(
    store: Store, cluster: Cluster, backend: KubernetesBackend
) -> None:
    result = _run(COUNT, store, backend)
    (job,) = cluster.jobs.values()
    record = store.manifest(result.object).job
    assert record is not None
    assert (record.backend, record.id) == ("kubernetes", job["metadata"]["name"])
    spec = job["spec"]
    assert (spec["backoffLimit"], spec["completionMode"], spec["activeDeadlineSeconds"]) == (0, "Indexed", 86400)
    pod = spec["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 120
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "4096Mi"}
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "store"}


def test_what_the_work_says_is_wrong_is_one_line(store: Store, backend: KubernetesBackend) -> None:
    with pytest.raises(StageRefused, match="width must be a multiple of 8"):
        _run(Stage(name="refuse", version=1, entry="stage_functions:refuse"), store, backend)
    with pytest.raises(StageFailed, match="ZeroDivisionError") as caught:
        _run(Stage(name="divide", version=1, entry="stage_functions:divide"), store, backend)
    assert "about to divide" in caught.value.tail


def test_what_the_api_refuses_is_one_line(store: Store, cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(StageRefused, match=r"must lie below jobs\.kubernetes\.store_mount /elsewhere"):
        _run(COUNT, store, _backend(tmp_path, store_mount="/elsewhere"))
    assert cluster.created == 0


def test_submitting_again_finds_the_job_by_its_name(store: Store, cluster: Cluster, backend: KubernetesBackend) -> None:
    _run(COUNT, store, backend)
    (attempt,) = _attempts(store)
    intent = attempt.intent()
    attempt.submitted_path.unlink()
    attempt.job_path.unlink()  # as if nobody had got as far as writing either
    found = backend.find(attempt, intent.token)
    assert found == backend.submit(intent.job, attempt, intent.token)
    assert cluster.created == 1
    assert backend.find(attempt, "another") is None


def test_an_api_that_is_away_is_waited_for(
    store: Store, cluster: Cluster, backend: KubernetesBackend, gate: Path
) -> None:
    def away_and_back() -> None:
        cluster.away = True
        time.sleep(2)
        gate.touch()
        cluster.away = False

    assert _during(COUNT, store, backend, _counts(store), away_and_back).action is Action.RUN
    assert len(_attempts(store)) == 1


@pytest.mark.parametrize(
    ("condition", "pod", "state"),
    [
        ({"reason": "DeadlineExceeded"}, {}, JobState.TIMEOUT),
        (
            {"reason": "BackoffLimitExceeded"},
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]},
            JobState.PREEMPTED,
        ),
        (
            {"reason": "BackoffLimitExceeded"},
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]},
            JobState.NODE_FAIL,
        ),
        ({"reason": "BackoffLimitExceeded"}, {}, JobState.LOST),
    ],
)
def test_a_killed_job_is_followed_by_another(
    store: Store,
    cluster: Cluster,
    backend: KubernetesBackend,
    gate: Path,
    condition: dict[str, Any],
    pod: dict[str, Any],
    state: JobState,
) -> None:
    def kill() -> None:
        (name,) = cluster.jobs
        cluster.fail(name, condition, pod)
        gate.touch()

    result = _during(COUNT, store, backend, _counts(store), kill)
    assert (result.object.path / "count.txt").read_text() == "20"
    assert [end.state for end in _ends(store)] == [state, JobState.SUCCEEDED]


def test_out_of_memory_ends_the_stage(store: Store, cluster: Cluster, backend: KubernetesBackend, gate: Path) -> None:
    said = {"name": "work", "image": "here", "imageID": "x", "ready": False, "restartCount": 0}
    said["state"] = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}

    def kill() -> None:
        (name,) = cluster.jobs
        cluster.fail(name, {"reason": "BackoffLimitExceeded"}, {"containerStatuses": [said]})

    with pytest.raises(StageError, match="out of memory"):
        _during(COUNT, store, backend, _counts(store), kill)


def test_cancelled_while_it_runs_it_saves(
    store: Store, cluster: Cluster, backend: KubernetesBackend, gate: Path
) -> None:
    with pytest.raises(StageCancelled):
        _during(COUNT, store, backend, _counts(store), lambda: cancel_jobs(store, {"run": "one"}))
    assert [(end.state, end.code) for end in _ends(store)] == [(JobState.CANCELLED, 143)]


def test_cancelled_before_it_starts_it_is_taken_away(
    store: Store, cluster: Cluster, backend: KubernetesBackend
) -> None:
    cluster.held = True
    with pytest.raises(StageCancelled):
        _during(COUNT, store, backend, lambda: bool(cluster.jobs), lambda: cancel_jobs(store, {"run": "one"}))
    assert cluster.jobs == {}
    assert [attempt.running() for attempt in _attempts(store)] == [None]


@pytest.mark.slow
def test_a_job_spans_two_nodes(store: Store, cluster: Cluster, backend: KubernetesBackend) -> None:
    stage = Stage(
        name="ranks",
        version=1,
        entry="stage_functions:rank",
        launcher="accelerate",
        resources=Resources(num_processes=4, cpus=4, nodes=2),
    )
    result = _run(stage, store, backend)
    assert {path.name for path in result.object.path.iterdir()} == {f"rank{rank}.txt" for rank in range(4)}
    (service,) = cluster.services.values()
    (job,) = cluster.jobs.values()
    assert service["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert service["spec"]["clusterIP"] == "None"
