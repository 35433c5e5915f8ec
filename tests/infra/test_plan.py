import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from infra.jobs.attempt import Attempt, Call, Intent
from infra.jobs.spec import JobSpec
from infra.manifest import utc_now
from infra.plan import make_plan
from infra.stage import Action, Resources, Stage, ingredients
from infra.stage_folder import Done
from infra.store import ObjectRef, Store

CONFIG: dict[str, Any] = {
    "data": {"pages": 10},
    "training": {"stage1": {"steps": 100}, "stage2": {"steps": 150, "rates": [1, 2]}},
}
PANELS = Stage(name="panels", version=1, entry="data:panels", config={"data": "data"})
STAGE1 = Stage(name="stage1", version=1, entry="t:one", config={"s": "training.stage1"}, inputs={"panels": "panels"})
STAGE2 = Stage(
    name="stage2",
    version=1,
    entry="t:two",
    config={"s": "training.stage2"},
    inputs={"panels": "panels", "initial": "stage1"},
    identity={"foundations": "aa"},
    packages=("pydantic",),
    resources=Resources(gpus=2),
)
SCORE = Stage(name="score", version=1, entry="e:score", inputs={"adapter": "stage2"}, literals={"seeds": 2})
STAGES = [SCORE, STAGE2, STAGE1, PANELS]


def _finish(stage: Stage, config: dict[str, Any], store: Store, results: dict[str, ObjectRef], text: str) -> None:
    """Leave behind what a finished run of ``stage`` leaves."""
    digests = {argument: results[source].digest for argument, source in stage.inputs.items()}
    made = ingredients(stage, stage.values(config), digests)
    folder = store.stage_folder(stage.name, made.key())
    output = folder.path / "made"
    output.mkdir(parents=True)
    (output / "result.txt").write_text(text)
    ref = store.publish_object(output, stage.name)
    results[stage.name] = ref
    done = Done(
        key=made.key(),
        kind=ref.kind,
        digest=ref.digest,
        ingredients=made,
        attempts=1,
        wall_s=1800.0,
        finished=utc_now(),
    )
    folder.record_done(done)


@pytest.fixture
def results(store: Store) -> dict[str, ObjectRef]:
    results: dict[str, ObjectRef] = {}
    for stage in (PANELS, STAGE1, STAGE2, SCORE):
        _finish(stage, CONFIG, store, results, f"result of {stage.name}")
    return results


def _changed(path: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    *parents, leaf = path.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    node[leaf] = value
    return config


def test_an_empty_store_runs_everything_in_order(store: Store) -> None:
    plan = make_plan(STAGES, CONFIG, store)
    assert [row.stage for row in plan.rows] == ["panels", "stage1", "stage2", "score"]
    assert all(row.action is Action.RUN for row in plan.rows)
    assert plan.row("panels").reasons == ("never ran",)
    assert plan.row("panels").key is not None
    assert plan.row("stage2").reasons == ("after panels, stage1", "never ran")
    assert plan.row("stage2").key is None


def test_nothing_changed_means_no_work(store: Store, results: dict[str, ObjectRef]) -> None:
    plan = make_plan(STAGES, CONFIG, store)
    assert plan.work == ()
    assert {row.stage: row.result for row in plan.rows} == results


def test_a_changed_field_is_named_and_only_its_stage_and_dependants_run(
    store: Store, results: dict[str, ObjectRef]
) -> None:
    plan = make_plan(STAGES, _changed("training.stage2.steps", 200), store)
    assert [row.stage for row in plan.work] == ["stage2", "score"]
    assert plan.row("stage2").reasons == ("training.stage2.steps 150 -> 200",)
    assert plan.row("score").reasons == ("after stage2", "runs unless stage2 gives the same result")
    assert plan.row("score").after == ("stage2",)
    assert plan.expected_s == 3600.0
    assert plan.expected_gpu_hours == 1.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "stage version 1 -> 2"),
        ({"identity": {"foundations": "bb"}}, "identity foundations changed"),
        ({"literals": {"method": "x"}}, "argument method added (x)"),
        ({"entry": "t:other"}, "entry t:two -> t:other"),
        ({"packages": ()}, "package pydantic removed"),
    ],
)
def test_a_changed_declaration_is_named(
    store: Store, results: dict[str, ObjectRef], change: dict[str, Any], reason: str
) -> None:
    changed = dataclasses.replace(STAGE2, **change)
    plan = make_plan([PANELS, STAGE1, changed, SCORE], CONFIG, store)
    assert [row.stage for row in plan.work] == ["stage2", "score"]
    assert plan.row("stage2").reasons == (reason,)


def test_a_new_package_version_is_named(
    store: Store, results: dict[str, ObjectRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results and store.last_done("stage2")
    assert before
    monkeypatch.setattr("infra.stage.version", lambda name: "99.0")
    row = make_plan(STAGES, CONFIG, store).row("stage2")
    assert row.reasons == (f"package pydantic {before.ingredients.packages['pydantic']} -> 99.0",)


def test_a_changed_input_is_named(store: Store, results: dict[str, ObjectRef]) -> None:
    config = _changed("training.stage1.steps", 120)
    _finish(STAGE1, config, store, results, "another result")
    row = make_plan(STAGES, config, store).row("stage2")
    assert (row.action, row.reasons) == (Action.RUN, ("input stage1 changed",))


def test_an_upstream_run_with_the_same_result_changes_nothing_below(
    store: Store, results: dict[str, ObjectRef]
) -> None:
    config = _changed("training.stage1.steps", 120)
    _finish(STAGE1, config, store, results, "result of stage1")
    assert make_plan(STAGES, config, store).work == ()


def test_a_damaged_result_is_not_reused(store: Store, results: dict[str, ObjectRef]) -> None:
    path = results["stage2"].path / "result.txt"
    path.chmod(0o644)
    path.write_text("Result of stage2")
    plan = make_plan(STAGES, CONFIG, store)
    assert [row.stage for row in plan.work] == ["stage2", "score"]
    assert "stored result unusable" in plan.row("stage2").reasons[0]
    assert "result.txt" in plan.row("stage2").reasons[0]


def test_unfinished_work_is_resumed(store: Store, results: dict[str, ObjectRef], tmp_path: Path) -> None:
    config = _changed("training.stage2.steps", 200)
    key = make_plan(STAGES, config, store).row("stage2").key
    assert key is not None
    folder = store.stage_folder("stage2", key)
    path = folder.next_attempt_path()
    path.parent.mkdir(parents=True)
    intent = Intent(token="t", backend="local", job=JobSpec(argv=("true",), cwd="/"), created=utc_now())
    Attempt.create(path, intent, Call(entry="m:f", arguments={}, inputs={}, workspace="w", output="o"))
    row = make_plan(STAGES, config, store).row("stage2")
    assert row.action is Action.RESUME
    assert row.reasons == ("attempt 1 ended lost; goes on from its workspace", "training.stage2.steps 150 -> 200")


def test_wrong_graphs_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="takes the result of 'panels', known stages: stage1"):
        make_plan([STAGE1], CONFIG, store)
    first = Stage(name="a", version=1, entry="m:f", inputs={"x": "b"})
    second = Stage(name="b", version=1, entry="m:f", inputs={"x": "a"})
    with pytest.raises(ValueError, match="circle"):
        make_plan([first, second], CONFIG, store)
    with pytest.raises(ValueError, match="one name"):
        make_plan([PANELS, PANELS], CONFIG, store)
