"""The stage table against the functions it names, and what a changed field sets in motion."""

import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack, get_args, get_origin, get_type_hints

import pytest
from pydantic import TypeAdapter

from diffsensei.config import ExperimentConfig, load_preset
from diffsensei.data.download.journal import Journal
from diffsensei.data.halves import Half
from diffsensei.data.refusal import Refusal
from diffsensei.data.tombstones import record_tombstone
from flows.catalog import FLOWS
from infra.dask_cluster import SlurmWorkers
from infra.plan import Action, Plan, make_plan
from infra.stage import Stage, stage_key
from infra.store import Store
from tasks.planning import needed_for
from tasks.reevaluation import targets_of
from tasks.retrying import retry_downloads
from tasks.stages import pipeline_stages
from tasks.stages.data import library_folder
from tasks.stages.reevaluation import check_stage, draw_stage, freeze_stage, score_cells_stage
from tests.tasks.finished_stages import finish_stages

WITHOUT_WEIGHTS = [
    *(f"model.foundations.{name}=none" for name in ("vae", "text_encoder", "text_encoder_2", "llm")),
    *(f"model.foundations.{name}=none" for name in ("clip_image_encoder", "magi_image_encoder")),
    *(f"evaluation.judges.{name}=none" for name in ("clip", "dino", "dialog_detector", "fid_features")),
    *(f"baselines.stable_diffusion.{name}=none" for name in ("unet", "vae", "text_encoder")),
    "baselines.ms_diffusion.clip_image_encoder=none",
    "baselines.seed_story.visual_encoder=none",
    "baselines.seed_story.llm=none",
]
"""The table does not depend on what the frozen parts are."""

OTHER_VAE = "baselines.stable_diffusion.vae=another"

STAGES = pipeline_stages(load_preset("tiny", WITHOUT_WEIGHTS))

OWN_FILES = ["data.source.kind=files", 'data.source.paths=["docs"]']
OWN_STAGES = pipeline_stages(load_preset("tiny", [*WITHOUT_WEIGHTS, *OWN_FILES]))
MANGA109 = 'data.evaluation_source={"kind": "manga109", "root": "docs"}'
FURTHER = pipeline_stages(
    load_preset("tiny", [*WITHOUT_WEIGHTS, MANGA109, 'data.annotation.edits=["README.md"]', OTHER_VAE])
)
NAMES = {stage.name for stage in STAGES}
ALL_STAGES = [*STAGES, *(stage for stage in OWN_STAGES if stage.name in ("download", "detect", "caption"))]
ALL_STAGES += [stage for stage in FURTHER if stage.name not in NAMES]
_CELLS = {"clip": "0" * 64}
ALL_STAGES += [
    stage(load_preset("tiny", WITHOUT_WEIGHTS), *arguments)
    for stage, arguments in (
        (draw_stage, ()),
        (score_cells_stage, (_CELLS,)),
        (freeze_stage, (_CELLS,)),
        (check_stage, ("2026-01-05T05:00:00+00:00", 1e-3)),
    )
]
"""Each declaration once: pages of one's own are annotated, Manga109 is evaluated on, and so on."""


def _function(stage: Stage) -> Callable[..., None]:
    module, _, name = stage.entry.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module), name)
    return function


def _shared(stage: Stage) -> dict[str, Any]:
    """Name -> type of the arguments that the stage's function takes together, as ``**setting: Unpack[Setting]``."""
    hints = get_type_hints(_function(stage), include_extras=True).values()
    return {name: given for hint in hints if get_origin(hint) is Unpack for name, given in _fields(hint).items()}


def _fields(unpacked: Any) -> dict[str, Any]:
    return get_type_hints(get_args(unpacked)[0], include_extras=True)


@pytest.mark.parametrize("stage", ALL_STAGES, ids=lambda stage: stage.name)
def test_declared_arguments_are_those_of_the_function(stage: Stage) -> None:
    parameters = inspect.signature(_function(stage)).parameters
    named = {name for name, item in parameters.items() if item.kind is not inspect.Parameter.VAR_KEYWORD}
    required = {name for name in named if parameters[name].default is inspect.Parameter.empty}
    shared = _shared(stage)
    named, required = named | shared.keys(), required | shared.keys()
    pace = set(stage.pace)
    given = {*stage.config, *stage.literals, *stage.inputs, *pace, "workspace", "output"}
    if stage.resources.dask_workers:
        given.add("executor")
    assert required <= given
    if shared or named == set(parameters):
        assert given <= named
    else:
        assert given - named <= set(stage.inputs), "only inputs may fall into **"


@pytest.mark.parametrize("stage", ALL_STAGES, ids=lambda stage: stage.name)
def test_values_have_the_types_that_the_function_asks_for(stage: Stage) -> None:
    overrides = [*WITHOUT_WEIGHTS, *(OWN_FILES if stage in OWN_STAGES else [MANGA109])]
    config = load_preset("tiny", overrides).model_dump(mode="json")
    hints = get_type_hints(_function(stage), include_extras=True) | _shared(stage)
    for argument, value in stage.arguments(stage.values(config)).items():
        TypeAdapter(hints[argument]).validate_json(json.dumps(value))
    assert all(hints.get(argument, Path) in (Path, Path | None) for argument in stage.inputs)


def test_inputs_come_before_what_uses_them() -> None:
    for stages in (STAGES, OWN_STAGES):
        seen: set[str] = set()
        for stage in stages:
            assert set(stage.inputs.values()) <= seen
            seen.add(stage.name)
    networks = {"detect", "features", "pretrain", "stage1", "stage2", "score", "generate_storygen", "verify"}
    assert {stage.name for stage in ALL_STAGES if stage.resources.exclusive} >= networks
    assert not any(stage.resources.exclusive for stage in ALL_STAGES if stage.resources.dask_workers)


def _annotation_of(*overrides: str) -> tuple[list[str], Stage]:
    """The stages between images and validation, and validation."""
    stages = {stage.name: stage for stage in pipeline_stages(load_preset("tiny", [*WITHOUT_WEIGHTS, *overrides]))}
    names = list(stages)
    return names[names.index("download") + 1 : names.index("validate")], stages["validate"]


def test_what_the_source_lacks_is_annotated_and_validated() -> None:
    manga109 = 'data.source={"kind": "manga109", "root": "docs"}'
    for overrides, stages, annotations in (
        ([], [], "download"),
        (OWN_FILES, ["detect", "caption"], "caption"),
        ([manga109], ["caption"], "caption"),
        (['data.annotation.edits=["README.md"]'], ["refine"], "refine"),
        ([*OWN_FILES, 'data.annotation.edits=["README.md"]'], ["detect", "refine", "caption"], "caption"),
    ):
        between, validate = _annotation_of(*overrides)
        assert between == stages
        assert validate.inputs == {"annotations": annotations, "download_dir": "download"}


def test_a_source_that_is_only_evaluated_on_has_a_chain_of_its_own() -> None:
    stages = {stage.name: stage for stage in FURTHER}
    chain = [f"evaluation_{name}" for name in ("annotations", "download", "caption", "validate", "panels")]
    assert [name for name in stages if name.startswith("evaluation_")][: len(chain)] == chain
    for name in chain:
        guard = {"validate", "panels"} if name == "evaluation_panels" else set()
        assert {source for source in stages[name].inputs.values() if source not in chain} == guard
        assert stages[name].config.get("source", "data.evaluation_source") == "data.evaluation_source"
    assert stages["evaluation_panels"].entry.endswith(":cut_evaluation_panels")
    assert stages["evaluation_download"].entry.endswith(":import_images")
    assert "features_sd" in stages
    assert "features_sd" not in NAMES


def test_only_the_source_that_is_trained_on_is_compared_with_its_earlier_version(tmp_path: Path) -> None:
    earlier = tmp_path / "statistics.json"
    earlier.write_text("{}")
    compared = load_preset("tiny", [*WITHOUT_WEIGHTS, MANGA109, f"data.validation.compare_with={earlier}"])
    stages = {stage.name: stage for stage in pipeline_stages(compared)}
    assert stages["validate"].identity.keys() >= {"compare_with"}
    assert "compare_with" in stages["validate"].config
    assert "compare_with" not in {*stages["evaluation_validate"].identity, *stages["evaluation_validate"].config}


def test_bringing_up_panels_brings_up_those_that_are_only_evaluated_on() -> None:
    needed = {stage.name for stage in needed_for(("panels",), FURTHER)}
    assert {"panels", "validate", "evaluation_panels", "evaluation_caption"} <= needed
    assert not needed & {"pretrain", "benchmark"}
    assert {stage.name for stage in needed_for(("panels",), STAGES)} == {
        "annotations",
        "download",
        "validate",
        "panels",
    }


def test_every_method_draws_the_source_that_is_only_evaluated_on_with_the_weights_it_has() -> None:
    stages = {stage.name: stage for stage in FURTHER}
    drawn = [name for name in stages if name.startswith("generate_")]
    assert len(drawn) >= 9
    for name in ("benchmark", *drawn, "score"):
        here, there = stages[name], stages[f"evaluation_{name}"]
        assert replace(there, name=name, inputs=here.inputs) == here
        assert there.inputs.keys() == here.inputs.keys()
    assert stages["evaluation_benchmark"].inputs == {"panels": "evaluation_panels"}
    assert stages["evaluation_generate_diffsensei"].inputs == {
        "benchmark": "evaluation_benchmark",
        "stage1": "stage1",
        "stage2": "stage2",
    }
    assert set(stages["evaluation_score"].inputs.values()) == {
        "evaluation_annotations",
        "evaluation_benchmark",
        *(f"evaluation_{name}" for name in drawn),
    }
    assert not [name for name in NAMES if name.startswith("evaluation_")]


def test_scores_and_report_come_with_those_of_the_source_that_is_only_evaluated_on() -> None:
    (provenance, report) = FURTHER[-2:]
    of_source = {stage.name for stage in FURTHER if stage.name.startswith("evaluation_")}
    for stage in (provenance, report):
        assert {name: name for name in of_source}.items() <= stage.inputs.items()
    for targets in (*(FLOWS[flow].targets for flow in ("full-pipeline", "baselines", "release")), targets_of("all")):
        assert of_source <= {stage.name for stage in needed_for(targets, FURTHER)}, targets
    assert not of_source & {stage.name for stage in needed_for(FLOWS["train"].targets, FURTHER)}
    (bundle,) = (stage for stage in FURTHER if stage.name == "bundle")
    assert not of_source & set(bundle.inputs.values())


def test_only_baselines_may_fail() -> None:
    may_fail = {stage.name for stage in FURTHER if stage.may_fail}
    assert {stage.removeprefix("generate_") for stage in may_fail if stage.startswith("generate_")} >= {
        "ar_ldm",
        "storygen",
        "seed_story",
        "storydiffusion",
        "ms_diffusion",
    }
    assert not may_fail & {"pretrain", "stage1", "stage2", "features", "score", "report", "generate_diffsensei"}


def test_annotating_models_count_by_content_and_a_server_needs_no_gpu(tmp_path: Path) -> None:
    def stage(name: str, *overrides: str) -> Stage:
        table = pipeline_stages(load_preset("tiny", [*WITHOUT_WEIGHTS, *OWN_FILES, *overrides]))
        return next(stage for stage in table if stage.name == name)

    (tmp_path / "config.json").write_text("{}")
    detector = f"data.annotation.detector={tmp_path}"
    before = stage("detect", detector).identity
    (tmp_path / "config.json").write_text('{"other": 1}')
    assert stage("detect", detector).identity != before
    assert (
        stage("detect", detector, "data.annotation.detection_batch_size=9").config == stage("detect", detector).config
    )
    bf16 = "training.mixed_precision=bf16"
    assert stage("caption", bf16).resources.gpus == stage("detect", bf16).resources.gpus == 1
    served = stage("caption", bf16, "data.annotation.captioner.backend=openai")
    assert (served.resources.gpus, dict(served.identity)) == (0, {})


@pytest.mark.parametrize("field", ["data.annotation.detector", "data.annotation.captioner.model"])
def test_a_model_that_is_not_there_is_known_before_anything_runs(field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: folder '/nowhere' does not exist"):
        pipeline_stages(load_preset("tiny", [*WITHOUT_WEIGHTS, *OWN_FILES, f"{field}=/nowhere"]))


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ('data.evaluation_source={"kind": "manga109", "root": "nowhere"}', "data.evaluation_source.root"),
        ('data.source={"kind": "files", "paths": ["nowhere"]}', "data.source.paths"),
    ],
)
def test_data_that_is_not_there_is_known_by_its_field(source: str, field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: nowhere does not exist"):
        pipeline_stages(load_preset("tiny", [*WITHOUT_WEIGHTS, source]))


def test_the_key_of_a_caption_server_is_no_argument_of_a_stage() -> None:
    assert not [stage.name for stage in ALL_STAGES if "api_key" in {*stage.config, *stage.literals, *stage.pace}]


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


def test_a_wish_to_try_again_is_another_download_and_where_pages_lie_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "annotations.json").write_text("[]")
    source = f'data.source={{"kind": "mangazero", "annotations": "{tmp_path}/annotations.json"}}'
    config = load_preset("tiny", [*WITHOUT_WEIGHTS, source])

    def key(store: str) -> str:
        monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / store))
        monkeypatch.setenv("DIFFSENSEI_LIMITS", str(tmp_path / store / "limits"))
        (stage,) = (stage for stage in pipeline_stages(config) if stage.name == "download")
        assert stage.pace == {"library": f"{tmp_path}/{store}/library", "limits": f"{tmp_path}/{store}/limits"}
        return stage_key(stage, stage.values(config.keyed()), {"annotations": "0" * 64})

    before = key("one")
    assert key("other") == before
    library = library_folder()
    library.mkdir(parents=True)
    with Journal(library / "journal.jsonl") as journal:
        journal.append(Half.refused("https://h/1", Refusal("dead_url_404", "", state="missing")))
    assert key("other") == before
    assert retry_downloads(config, ["dead_url_404"]) == {"dead_url_404": 1}
    assert key("other") != before
    assert key("one") == before


# ---------------------------------------------------------------- what a change sets in motion


def _finish_everything(store: Store, config: ExperimentConfig, folder: Path) -> None:
    results = {stage.name: folder / stage.name for stage in pipeline_stages(config)}
    for name, result in results.items():
        result.mkdir(parents=True)
        (result / "result.txt").write_text(name)
    finish_stages(store, config, results)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("finished")
    store = Store(folder / "store")
    _finish_everything(store, load_preset("tiny", WITHOUT_WEIGHTS), folder / "results")
    return store


def _plan(store: Store, *overrides: str) -> Plan:
    config = load_preset("tiny", [*WITHOUT_WEIGHTS, *overrides])
    return make_plan(pipeline_stages(config), config.keyed(), store)


def test_nothing_changed_means_nothing_to_do(finished: Store) -> None:
    assert _plan(finished).work == ()


def test_a_stage_2_field_is_named_and_moves_only_what_depends_on_it(finished: Store) -> None:
    usual = load_preset("tiny").training.stage2.steps
    plan = _plan(finished, f"training.stage2.steps={usual + 1}")
    assert plan.row("stage2").action is Action.RUN
    assert plan.row("stage2").reasons == (f"training.stage2.steps {usual} -> {usual + 1}",)
    moved = {row.stage for row in plan.work}
    assert moved == {"stage2", "generate_diffsensei", "score", "bundle", "verify", "gate", "provenance", "report"}


def test_adding_data_to_evaluate_on_neither_trains_nor_draws_again(finished: Store) -> None:
    plan = _plan(finished, MANGA109)
    added = {row.stage for row in plan.rows if row.stage.startswith("evaluation_")}
    assert "evaluation_score" in added
    assert {row.stage for row in plan.work} == added | {"provenance", "report"}


@pytest.mark.parametrize("field", ["iou_threshold=0.25", "bootstrap_resamples=7", "jpeg_quality=50"])
def test_another_metric_scores_again_what_was_drawn(finished: Store, field: str) -> None:
    moved = {row.stage for row in _plan(finished, f"evaluation.{field}").work}
    assert moved == {"score", "bundle", "verify", "gate", "provenance", "report"}


def test_another_release_rule_tests_again_what_was_scored(finished: Store) -> None:
    assert {row.stage for row in _plan(finished, "gate.rules=[]").work} == {"gate", "provenance", "report"}
    assert _plan(finished, "gate.release=by_hand").row("gate").reasons == ("gate.release automatic -> by_hand",)


def test_a_study_that_comes_weeks_later_moves_only_what_rests_on_it(finished: Store, tmp_path: Path) -> None:
    """No run waits for people: the same command with the study's result goes on where the first one ended."""
    (tmp_path / "study.json").write_text("{}")
    asked = 'gate.study={"min_raters": 15, "min_alpha": 0.1, "min_share": 0.5}'
    without, with_it = _plan(finished, asked), _plan(finished, asked, f"report.study={tmp_path}")
    assert {row.stage for row in without.work} == {"gate", "provenance", "report"}
    assert {row.stage for row in with_it.work} == {"gate", "provenance", "report"}
    assert with_it.row("gate").key != without.row("gate").key


def test_own_pages_that_changed_are_read_again(tmp_path: Path) -> None:
    """A result that was made from files names what they held."""

    def keys() -> dict[str, dict[str, str]]:
        own = ["data.source.kind=files", f'data.source.paths=["{tmp_path}"]']
        stages = pipeline_stages(load_preset("tiny", [*WITHOUT_WEIGHTS, *own]))
        return {stage.name: dict(stage.identity) for stage in stages if "files" in stage.identity}

    (tmp_path / "1.png").write_bytes(b"a page")
    before = keys()
    assert keys() == before
    (tmp_path / "1.png").write_bytes(b"another")
    after = keys()
    assert {"annotations", "download"} <= {name for name in after if after[name] != before[name]}


def test_a_page_taken_down_validates_again(finished: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path))
    assert _plan(finished).work == ()
    record_tombstone(tmp_path / "tombstones", "a/1.jpg", "asked by its author", page_ids=["0" * 16])
    assert _plan(finished).row("validate").reasons == ("identity tombstones changed",)


def test_another_drawing_seed_draws_with_every_method(finished: Store) -> None:
    moved = {row.stage for row in _plan(finished, "evaluation.seeds=[0,1]").work}
    assert {stage.name for stage in STAGES if stage.name.startswith("generate_")} <= moved
    assert not moved & {"benchmark", "stage2", "storygen"}


@pytest.mark.parametrize("method", ["ar_ldm", "storygen", "seed_story", "storydiffusion", "ms_diffusion"])
def test_another_way_to_draw_trains_nothing(finished: Store, method: str) -> None:
    moved = {row.stage for row in _plan(finished, f"baselines.{method}.sampling.steps=7").work}
    drawn = {stage.name for stage in STAGES if stage.name.startswith(f"generate_{method}")}
    assert drawn
    assert moved - {"score", "gate", "bundle", "verify", "provenance", "report"} == drawn


@pytest.mark.parametrize(
    ("field", "moved"),
    [
        ("ms_diffusion.training", {"ms_diffusion"}),
        ("ms_diffusion.dialogs_training", {"ms_diffusion_dialogs"}),
        ("storygen.context", {"storygen"}),
        ("storygen.single", {"storygen_single", "storygen"}),
        ("seed_story.detokenizer_training", {"seed_story"}),
        ("seed_story.language_training", {"seed_story_language", "seed_story"}),
        ("ar_ldm.training", {"ar_ldm"}),
    ],
)
def test_a_recipe_moves_its_own_training_and_what_starts_from_it(finished: Store, field: str, moved: set[str]) -> None:
    work = {row.stage for row in _plan(finished, f"baselines.{field}.steps=7").work}
    trained = {stage.name for stage in STAGES if stage.launcher == "accelerate"}
    assert work & trained == moved


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
        "runtime.compile_drawing=blocks",
        "runtime.cuda_graphs=true",
        "runtime.prompt_row_tokens=512",
    )
    assert {row.stage for row in plan.work} <= {"provenance", "report"}


def test_where_jobs_run_is_no_part_of_any_key(finished: Store) -> None:
    plan = _plan(finished, "jobs.backend=slurm", "jobs.slurm.partition=gpu", "jobs.walltime_h=2", "jobs.max_attempts=9")
    assert plan.work == ()


@pytest.mark.slow
@pytest.mark.parametrize("entry", sorted({stage.entry.partition(":")[0] for stage in ALL_STAGES}))
def test_every_entry_can_be_imported_first(entry: str) -> None:
    """A job imports nothing before it: what a module needs to have run, it must import itself."""
    done = subprocess.run([sys.executable, "-c", f"import {entry}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
