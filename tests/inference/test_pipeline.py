"""The pipeline: what it draws depends on each request alone, on what it consumes, and survives saving."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.pipeline import DiffSenseiPipeline, build_pipeline
from diffsensei.inference.request import PanelRequest, read_requests

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def pipeline(trained: Any) -> DiffSenseiPipeline:
    return build_pipeline(trained.foundations, trained.stage1, trained.stage2, CPU)


@pytest.fixture
def requests(requests_folder: Path) -> list[PanelRequest]:
    return read_requests(requests_folder / "panels.jsonl")


def pixels(images: list[Image.Image]) -> list[np.ndarray]:
    return [np.asarray(image).astype(int) for image in images]


def same(first: list[Image.Image], second: list[Image.Image]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(pixels(first), pixels(second), strict=True))


def test_one_grey_image_of_the_asked_size_per_request_in_order(
    pipeline: DiffSenseiPipeline, requests: list[PanelRequest], requests_folder: Path, sampling: SamplingConfig
) -> None:
    images = pipeline(requests, requests_folder, sampling)
    assert [(image.mode, image.height, image.width) for image in images] == [
        ("L", request.height, request.width) for request in requests
    ]
    assert same(images, pipeline(requests, requests_folder, sampling))
    assert len({image.tobytes() for image in images}) == len(images)


def test_a_panel_does_not_depend_on_its_batch(
    pipeline: DiffSenseiPipeline, requests: list[PanelRequest], requests_folder: Path, sampling: SamplingConfig
) -> None:
    """Float rounding may move a pixel by one grey level, no more."""
    together = pixels(pipeline(requests, requests_folder, sampling))
    alone = pixels(pipeline(requests, requests_folder, sampling.replaced(batch_size=1)))
    reversed_order = pixels(pipeline(requests[::-1], requests_folder, sampling.replaced(batch_size=3)))[::-1]
    single = pixels(pipeline(requests[2:3], requests_folder, sampling))[0]
    for a, b, c in zip(together, alone, reversed_order, strict=True):
        assert np.abs(a - b).max() <= 1
        assert np.abs(a - c).max() <= 1
    assert np.abs(together[2] - single).max() <= 1


def test_every_condition_shows(
    pipeline: DiffSenseiPipeline, requests: list[PanelRequest], requests_folder: Path, sampling: SamplingConfig
) -> None:
    panel = requests[0]
    first, second = panel.characters
    variants = {
        "seed": panel.replaced(seed=99),
        "caption": panel.replaced(caption="the rain"),
        "dialogs": panel.replaced(dialogs=((0.5, 0.5, 1.0, 1.0),)),
        "boxes": panel.replaced(characters=(first.replaced(box=(0.0, 0.0, 0.2, 0.2)), second)),
        "references": panel.replaced(characters=(first.replaced(reference="references/c.png"), second)),
        "characters": panel.replaced(characters=()),
    }
    base = pipeline([panel], requests_folder, sampling)
    for name, variant in variants.items():
        assert not same(base, pipeline([variant], requests_folder, sampling)), name
    for field, value in {"guidance_scale": 1.0, "character_scale": 0.5, "adapter_blend": 0.0, "steps": 2}.items():
        assert not same(base, pipeline([panel], requests_folder, sampling.replaced(**{field: value}))), field


def test_without_guidance_the_negative_prompt_is_not_used(
    pipeline: DiffSenseiPipeline, requests: list[PanelRequest], requests_folder: Path, sampling: SamplingConfig
) -> None:
    unguided = sampling.replaced(guidance_scale=1.0)
    base = pipeline(requests[:1], requests_folder, unguided)
    assert same(base, pipeline(requests[:1], requests_folder, unguided.replaced(negative_prompt="lowres")))
    guided = pipeline(requests[:1], requests_folder, sampling)
    assert not same(guided, pipeline(requests[:1], requests_folder, sampling.replaced(negative_prompt="lowres")))


def test_another_scheduler_can_be_put_in_and_is_saved(
    pipeline: DiffSenseiPipeline,
    requests: list[PanelRequest],
    requests_folder: Path,
    sampling: SamplingConfig,
    tmp_path: Path,
) -> None:
    usual = pipeline(requests, requests_folder, sampling)
    own = pipeline.scheduler
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(own.config)
    try:
        swapped = pipeline(requests, requests_folder, sampling)
        pipeline.save_pretrained(tmp_path / "pipeline")
    finally:
        pipeline.scheduler = own
    assert not same(usual, swapped)
    loaded = DiffSenseiPipeline.from_pretrained(tmp_path / "pipeline")
    assert isinstance(loaded.scheduler, DPMSolverMultistepScheduler)
    assert same(loaded(requests, requests_folder, sampling), swapped)


def test_a_callback_sees_every_step_of_every_panel_and_may_change_latents(
    pipeline: DiffSenseiPipeline, requests: list[PanelRequest], requests_folder: Path, sampling: SamplingConfig
) -> None:
    seen: dict[str, list[int]] = {request.panel_id: [] for request in requests}

    def watch(drawer: DiffSenseiPipeline, step: int, timestep: int, state: dict[str, Any]) -> dict[str, Any] | None:
        assert drawer is pipeline
        assert len(state["latents"]) == len(state["panel_ids"])
        for panel_id in state["panel_ids"]:
            seen[panel_id].append(step)
        return None

    usual = pipeline(requests, requests_folder, sampling)
    assert same(pipeline(requests, requests_folder, sampling, callback_on_step_end=watch), usual)
    assert all(steps == list(range(sampling.steps)) for steps in seen.values())
    blank = pipeline(
        requests,
        requests_folder,
        sampling,
        callback_on_step_end=lambda _, step, timestep, state: {"latents": torch.zeros_like(state["latents"])},
    )
    assert not same(blank, usual)


def test_saved_and_loaded_it_draws_the_same(
    pipeline: DiffSenseiPipeline,
    requests: list[PanelRequest],
    requests_folder: Path,
    sampling: SamplingConfig,
    tmp_path: Path,
) -> None:
    pipeline.save_pretrained(tmp_path / "first")
    loaded = DiffSenseiPipeline.from_pretrained(tmp_path / "first")
    assert same(pipeline(requests, requests_folder, sampling), loaded(requests, requests_folder, sampling))

    index = json.loads((tmp_path / "first" / "model_index.json").read_text())
    assert index["_class_name"] == "DiffSenseiPipeline"
    assert index["resampler"] == ["diffsensei.models.resampler", "Resampler"]
    assert index["agent"] == ["diffsensei.models.agent_resampler", "AgentResamplers"]
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    pickled = [path for path in tmp_path.rglob("*") if path.suffix in {".bin", ".pt", ".pkl"}]
    assert pickled == []

    loaded.save_pretrained(tmp_path / "second")
    files = {path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file()}
    for name in files:
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes(), name
        if name.suffix == ".json":
            assert str(tmp_path) not in second.read_text(), name


def test_in_bfloat16_rotary_frequencies_stay_exact(pipeline: DiffSenseiPipeline, tmp_path: Path) -> None:
    assert pipeline.llm is not None
    exact = pipeline.llm.model.rotary_emb.inv_freq
    pipeline.save_pretrained(tmp_path)
    for low in (
        DiffSenseiPipeline.from_pretrained(tmp_path).to(torch.bfloat16),
        DiffSenseiPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16),
    ):
        assert low.llm is not None
        assert low.llm.dtype == torch.bfloat16
        assert torch.equal(low.llm.model.rotary_emb.inv_freq, exact)
    stage1_only = DiffSenseiPipeline.from_pretrained(tmp_path, llm=None, llm_tokenizer=None, agent=None)
    assert stage1_only.to(torch.bfloat16).resampler.dtype == torch.bfloat16


def test_the_references_ways_are_kept(
    pipeline: DiffSenseiPipeline,
    trained: Any,
    requests: list[PanelRequest],
    requests_folder: Path,
    sampling: SamplingConfig,
    tmp_path: Path,
) -> None:
    """Recorded by stage 1, they reach the pipeline, its folder, and what is loaded from that."""
    stage1 = Path(shutil.copytree(trained.stage1, tmp_path / "stage1"))
    ways = {"magi_patches": "masked", "empty_slots": "resampled"}
    for name, changes in (("unet", {"mask": "reference", "max_characters": 9}), ("resampler", ways)):
        config = json.loads((stage1 / name / "config.json").read_text())
        (config["manga_conditions"] if name == "unet" else config).update(changes)
        (stage1 / name / "config.json").write_text(json.dumps(config))
    reference = build_pipeline(trained.foundations, stage1, None, CPU)
    reference.save_pretrained(tmp_path / "saved")
    loaded = DiffSenseiPipeline.from_pretrained(tmp_path / "saved")
    for kept in (reference, loaded):
        conditions = kept.unet.config["manga_conditions"]
        assert (conditions["mask"], conditions["max_characters"]) == ("reference", 9)
        assert {name: kept.resampler.config[name] for name in ways} == ways
    assert loaded.magi_image_encoder.config.mask_ratio == reference.magi_image_encoder.config.mask_ratio
    base = reference(requests[:1], requests_folder, sampling)
    assert same(base, loaded(requests[:1], requests_folder, sampling))
    assert not same(base, pipeline(requests[:1], requests_folder, sampling.replaced(adapter_blend=0.0)))


def test_without_the_adapter_it_is_stage_1(
    trained: Any, requests: list[PanelRequest], requests_folder: Path, sampling: SamplingConfig, tmp_path: Path
) -> None:
    stage1 = build_pipeline(trained.foundations, trained.stage1, None, CPU)
    stage1.save_pretrained(tmp_path)
    loaded = DiffSenseiPipeline.from_pretrained(tmp_path)
    assert loaded.llm is None
    base = stage1(requests, requests_folder, sampling)
    assert same(base, loaded(requests, requests_folder, sampling))
    assert same(base, stage1(requests, requests_folder, sampling.replaced(adapter_blend=1.0)))
    crowd = requests[0].replaced(characters=requests[0].characters * 3)
    with pytest.raises(ValueError, match="at most 4 characters, got 6"):
        loaded([crowd], requests_folder, sampling)


def test_impossible_requests_are_refused_in_one_line(
    pipeline: DiffSenseiPipeline, requests: list[PanelRequest], requests_folder: Path, sampling: SamplingConfig
) -> None:
    panel = requests[0]
    crowd = panel.replaced(characters=panel.characters * 3)
    lost = panel.replaced(characters=(panel.characters[0].replaced(reference="references/z.png"),))
    for request, message in (
        (panel.replaced(height=33), "use 32 x 32"),
        (crowd, "at most 4 characters, got 6"),
        (lost, "expected a character image"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            pipeline([request], requests_folder, sampling)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="distinct"):
        pipeline([panel, panel], requests_folder, sampling)


def test_a_folder_without_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no model_index.json"):
        DiffSenseiPipeline.from_pretrained(tmp_path)


def test_offload_changes_nothing_but_where_models_wait(
    trained: Any, requests: list[PanelRequest], requests_folder: Path, sampling: SamplingConfig
) -> None:
    """Here the device is the CPU too: that hooks fire for every model, and in which order, is what can be seen."""
    plain = build_pipeline(trained.foundations, trained.stage1, trained.stage2, CPU)
    expected = plain(requests, requests_folder, sampling)
    plain.enable_model_cpu_offload(device="cpu")
    brought: list[str] = []
    for name, component in plain.components.items():
        hook = getattr(component, "_hf_hook", None)
        if hook is not None:
            _record(hook, name, brought)
    assert same(plain(requests[:1], requests_folder, sampling), expected[:1])
    first = list(dict.fromkeys(brought))
    assert first == [*plain.model_cpu_offload_seq.split("->")]
    assert same(plain(requests, requests_folder, sampling), expected)


def _record(hook: Any, name: str, brought: list[str]) -> None:
    move = hook.pre_forward

    def recorded(module: Any, *args: Any, **kwargs: Any) -> Any:
        brought.append(name)
        return move(module, *args, **kwargs)

    hook.pre_forward = recorded


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_offloaded_models_come_to_the_gpu_and_go(
    trained: Any, requests: list[PanelRequest], requests_folder: Path, sampling: SamplingConfig
) -> None:
    pipeline = build_pipeline(trained.foundations, trained.stage1, trained.stage2, CPU)
    expected = pixels(pipeline(requests, requests_folder, sampling))
    pipeline.enable_model_cpu_offload()
    drawn = pixels(pipeline(requests, requests_folder, sampling))
    assert {pipeline.unet.device.type, pipeline.llm.device.type, pipeline.vae.device.type} == {"cpu"}
    for a, b in zip(expected, drawn, strict=True):
        assert np.abs(a - b).max() <= 2
