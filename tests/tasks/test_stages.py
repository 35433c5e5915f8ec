"""The stage table against the functions it names, and what a changed field sets in motion."""

import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import pytest
from pydantic import TypeAdapter

from diffsensei.config import ExperimentConfig, load_preset
from infra.dask_cluster import SlurmWorkers
from infra.plan import Action, Plan, make_plan
from infra.stage import Stage, ingredients, stage_key
from infra.stage_folder import Done
from infra.store import Store
from tasks.stages import COMPUTE, pipeline_stages

WITHOUT_WEIGHTS = [
    *(f"model.foundations.{name}=none" for name in ("vae", "text_encoder", "text_encoder_2", "llm")),
    *(f"model.foundations.{name}=none" for name in ("clip_image_encoder", "magi_image_encoder")),
    *(f"evaluation.judges.{name}=none" for name in ("clip", "dino", "dialog_detector", "fid_features")),
]
"""The table does not depend on what the frozen parts are."""

STAGES = pipeline_stages(load_preset("tiny", WITHOUT_WEIGHTS))


def _function(stage: Stage) -> Callable[..., None]:
    module, _, name = stage.entry.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module), name)
    return function


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_declared_arguments_are_those_of_the_function(stage: Stage) -> None:
    parameters = inspect.signature(_function(stage)).parameters
    named = {name for name, item in parameters.items() if item.kind is not inspect.Parameter.VAR_KEYWORD}
    required = {name for name in named if parameters[name].default is inspect.Parameter.empty}
    pace = set(stage.pace)
    given = {*stage.config, *stage.literals, *stage.inputs, *pace, "workspace", "output"}
    if stage.resources.dask_workers:
        given.add("executor")
    assert required <= given
    if named == set(parameters):
        assert given <= named
    else:
        assert given - named <= set(stage.inputs), "only inputs may fall into **"


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_values_have_the_types_that_the_function_asks_for(stage: Stage) -> None:
    config = load_preset("tiny", WITHOUT_WEIGHTS).model_dump(mode="json")
    hints = get_type_hints(_function(stage), include_extras=True)
    for argument, value in stage.arguments(stage.values(config)).items():
        TypeAdapter(hints[argument]).validate_json(json.dumps(value))
    assert all(hints.get(argument, Path) in (Path, Path | None) for argument in stage.inputs)


def test_inputs_come_before_what_uses_them() -> None:
    seen: set[str] = set()
    for stage in STAGES:
        assert set(stage.inputs.values()) <= seen
        seen.add(stage.name)
    assert seen >= COMPUTE


def test_the_annotation_file_counts_by_its_content(tmp_path: Path) -> None:
    def identity() -> str:
        source = f'data.source={{"kind": "mangazero", "annotations": "{tmp_path}/annotations.json"}}'
        stages = pipeline_stages(load_preset("tiny", [*WITHOUT_WEIGHTS, source]))
        return stages[0].identity["file"]

    with pytest.raises(ValueError, match=r"annotations\.json' does not exist"):
        identity()
    (tmp_path / "annotations.json").write_text("[]")
    before = identity()
    (tmp_path / "annotations.json").write_text("[{}]")
    assert identity() != before


# ---------------------------------------------------------------- what a change sets in motion


def _finish_everything(store: Store, config: ExperimentConfig, folder: Path) -> None:
    """Record every stage as done, as its job would have: an object and ``done.json`` under the right key."""
    digests: dict[str, str] = {}
    values = config.model_dump(mode="json")
    for stage in pipeline_stages(config):
        (folder / stage.name).mkdir(parents=True)
        (folder / stage.name / "result.txt").write_text(stage.name)
        ref = store.publish_object(folder / stage.name, stage.name)
        inputs = {argument: digests[source] for argument, source in stage.inputs.items()}
        given = stage.values(values)
        key = stage_key(stage, given, inputs)
        done = Done(
            key=key,
            kind=ref.kind,
            digest=ref.digest,
            ingredients=ingredients(stage, given, inputs),
            attempts=1,
            wall_s=2.0,
            finished="2025-01-01T00:00:00.000000+00:00",
        )
        store.stage_folder(stage.name, key).path.mkdir(parents=True)
        store.stage_folder(stage.name, key).record_done(done)
        digests[stage.name] = ref.digest


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("finished")
    store = Store(folder / "store")
    _finish_everything(store, load_preset("tiny", WITHOUT_WEIGHTS), folder / "results")
    return store


def _plan(store: Store, *overrides: str) -> Plan:
    config = load_preset("tiny", [*WITHOUT_WEIGHTS, *overrides])
    return make_plan(pipeline_stages(config), config.model_dump(mode="json"), store)


def test_nothing_changed_means_nothing_to_do(finished: Store) -> None:
    assert _plan(finished).work == ()


def test_a_stage_2_field_is_named_and_moves_only_what_depends_on_it(finished: Store) -> None:
    usual = load_preset("tiny").training.stage2.steps
    plan = _plan(finished, f"training.stage2.steps={usual + 1}")
    assert plan.row("stage2").action is Action.RUN
    assert plan.row("stage2").reasons == (f"training.stage2.steps {usual} -> {usual + 1}",)
    moved = {row.stage for row in plan.work}
    assert moved == {"stage2", "generate_diffsensei", "score", "bundle", "verify", "provenance", "report"}


def test_another_seed_of_the_world_moves_everything(finished: Store) -> None:
    plan = _plan(finished, "data.source.seed=2")
    assert plan.row("annotations").reasons == ("data.source.seed 1 -> 2",)
    assert len(plan.work) == len(plan.rows)


def test_data_work_goes_to_slurm_where_configured() -> None:
    override = 'runtime.dask={"cores": 2, "queue": "cpu", "directives": ["--exclusive"]}'
    config = load_preset("tiny", [*WITHOUT_WEIGHTS, override])
    asked = {stage.name: stage.resources.dask_slurm for stage in pipeline_stages(config)}
    assert {name for name, workers in asked.items() if workers} == {"validate", "panels"}
    assert asked["panels"] == SlurmWorkers(cores=2, queue="cpu", directives=("--exclusive",))


def test_speed_is_no_part_of_a_result(finished: Store) -> None:
    plan = _plan(
        finished,
        "runtime.num_threads=7",
        "runtime.dask_workers=3",
        'runtime.dask={"cores": 2, "queue": "cpu"}',
        "runtime.log_every_steps=99",
        "runtime.gradient_checkpointing=all",
        "runtime.compile=blocks",
    )
    assert {row.stage for row in plan.work} <= {"provenance", "report"}


@pytest.mark.slow
@pytest.mark.parametrize("entry", sorted({stage.entry.partition(":")[0] for stage in STAGES}))
def test_every_entry_can_be_imported_first(entry: str) -> None:
    """A job imports nothing before it: what a module needs to have run, it must import itself."""
    done = subprocess.run([sys.executable, "-c", f"import {entry}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
