"""The reference code's ways reach attention, encoder and empty slots of a released folder; and what records them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffsensei.config.schema import CORRECTED, REFERENCE, FidelityConfig, SamplingConfig
from diffsensei.inference.pipeline import DiffSenseiPipeline
from diffsensei.inference.request import CharacterRequest, PanelRequest
from diffsensei.models.box_masks import guessed_size
from diffsensei.released.imports import import_released
from diffsensei.released.loading import load_released
from diffsensei.released.settings import RELEASED, GeneratorSettings, read_settings, settings_of
from tests.benchmarks.per_box import exact_attention_mask, reference_attention_mask

QUERIES, SLOTS = 4, 4
LEVEL = (8, 5)
WELL_READ, MISREAD = (32, 20), (30, 18)
"""Panels (pixels) whose attention is on that level; latents are half, feature maps a quarter as large."""
QUARTERS = ((0.0, 0.0, 0.4, 0.5), (0.4, 0.0, 1.0, 0.5), (0.0, 0.5, 0.4, 1.0), (0.4, 0.5, 1.0, 1.0))
"""Boxes that hold the same cells of that level by their centres as by the reference's inclusive edges."""


@pytest.fixture(scope="module")
def pipelines(release: Any) -> dict[str, DiffSenseiPipeline]:
    """Without the language model, one for each way."""
    ways = {
        "reference": REFERENCE,
        "corrected": CORRECTED,
        "exact": REFERENCE.replaced(mask="exact"),
        "all patches": REFERENCE.replaced(magi_patches="all"),
        "zeros": REFERENCE.replaced(empty_slots="zero"),
    }
    return {name: load_released(release.folder, with_mllm=False, fidelity=way) for name, way in ways.items()}


def crowded(size: tuple[int, int]) -> PanelRequest:
    """Every slot taken, so that neither padding boxes nor empty slots matter."""
    characters = tuple(
        CharacterRequest(id=f"{slot}", box=box, reference=f"{'ab'[slot % 2]}.png") for slot, box in enumerate(QUARTERS)
    )
    return PanelRequest(
        panel_id="p", height=size[0], width=size[1], caption="a girl runs", characters=characters, seed=1
    )


def masks_seen(
    pipeline: DiffSenseiPipeline, panel: PanelRequest, references: Path, sampling: SamplingConfig
) -> list[Tensor]:
    """Which tokens each cell attends to, (2, L, (1 + N) * Q), in every cross-attention of a drawing."""
    seen: list[Tensor] = []

    def look(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(kwargs["region"].mask.squeeze(1))

    layers = [module for name, module in pipeline.unet.named_modules() if name.endswith("attn2")]
    handles = [layer.register_forward_pre_hook(look, with_kwargs=True) for layer in layers]
    pipeline([panel], references, sampling)
    for handle in handles:
        handle.remove()
    assert len(seen) == len(layers) * sampling.steps
    return seen


def drawn(pipeline: DiffSenseiPipeline, panel: PanelRequest, references: Path, how: SamplingConfig) -> NDArray[Any]:
    return np.asarray(pipeline([panel], references, how)[0])


@pytest.mark.parametrize("size", [WELL_READ, MISREAD])
def test_attention_sees_the_masks_of_its_way(
    pipelines: Any, panel: PanelRequest, references: Path, sampling: SamplingConfig, size: tuple[int, int]
) -> None:
    """Two characters in four slots, and guidance's negative branch before them, against masks built box by box."""
    panel = panel.replaced(height=size[0], width=size[1])
    boxes = torch.zeros(2, SLOTS, 4)
    boxes[1, :2] = torch.tensor([character.box for character in panel.characters])
    exists = boxes.any(dim=-1)
    latents = (size[0] // 2, size[1] // 2)
    reference = reference_attention_mask(boxes, LEVEL, latents, QUERIES, heads=1) == 0
    exact = exact_attention_mask(boxes, exists, LEVEL, QUERIES)
    assert not torch.equal(reference, exact)
    for way, expected in (("reference", reference), ("corrected", exact)):
        masks = masks_seen(pipelines[way], panel, references, sampling)
        assert all(torch.equal(mask, expected) for mask in masks), way


@pytest.mark.parametrize("size", [WELL_READ, MISREAD])
def test_where_cells_agree_the_masks_draw_differently_only_on_a_misread_grid(
    pipelines: Any, references: Path, sampling: SamplingConfig, size: tuple[int, int]
) -> None:
    misread = guessed_size(LEVEL[0] * LEVEL[1], (size[0] // 2) / (size[1] // 2)) != LEVEL
    assert misread == (size == MISREAD)
    unguided = sampling.replaced(guidance_scale=1.0)
    reference, exact = (drawn(pipelines[way], crowded(size), references, unguided) for way in ("reference", "exact"))
    assert np.array_equal(reference, exact) != misread


def test_every_switch_shows_in_what_is_drawn(
    pipelines: Any, panel: PanelRequest, references: Path, sampling: SamplingConfig
) -> None:
    reference = drawn(pipelines["reference"], panel, references, sampling)
    for way in ("corrected", "exact", "all patches", "zeros"):
        assert not np.array_equal(reference, drawn(pipelines[way], panel, references, sampling)), way


@pytest.mark.parametrize(("way", "patches"), [("reference", 1), ("all patches", 4)])
def test_a_drawing_shows_magi_its_share_of_the_patches_always_the_same(
    pipelines: Any, panel: PanelRequest, references: Path, sampling: SamplingConfig, way: str, patches: int
) -> None:
    """The folder's mask ratio of 0.75 leaves 1 of 4."""
    pipeline = pipelines[way]
    lengths: set[int] = set()
    handle = pipeline.magi_image_encoder.embeddings.register_forward_hook(
        lambda module, args, output: lengths.add(output[0].shape[1])
    )
    torch.manual_seed(1)
    first = drawn(pipeline, panel, references, sampling)
    torch.manual_seed(2)
    assert np.array_equal(first, drawn(pipeline, panel, references, sampling))
    handle.remove()
    assert lengths == {1 + patches}, "CLS and what it sees"


def test_without_a_word_weights_run_as_the_reference_code_trained_them(release: Any) -> None:
    pipeline = load_released(release.folder, with_mllm=False)
    assert settings_of(pipeline) == RELEASED == GeneratorSettings().with_fidelity(REFERENCE)
    assert pipeline.magi_image_encoder.config.mask_ratio == 0.75


@pytest.mark.parametrize("fidelity", [REFERENCE, CORRECTED])
def test_a_converted_folder_goes_on_as_it_was_converted(
    release: Any,
    pipelines: Any,
    panel: PanelRequest,
    references: Path,
    sampling: SamplingConfig,
    tmp_path: Path,
    fidelity: FidelityConfig,
) -> None:
    import_released(release.folder, tmp_path / "pipeline", with_mllm=False, fidelity=fidelity)
    converted = DiffSenseiPipeline.from_pretrained(tmp_path / "pipeline")
    assert settings_of(converted) == RELEASED.with_fidelity(fidelity)
    assert converted.magi_image_encoder.config.mask_ratio == (0.75 if fidelity == REFERENCE else 0.0)
    direct = pipelines["reference" if fidelity == REFERENCE else "corrected"]
    first, second = (drawn(pipeline, panel, references, sampling) for pipeline in (direct, converted))
    assert np.array_equal(first, second)


def write_config(folder: Path, **values: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def test_what_is_not_written_is_the_releases(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == RELEASED
    written = read_settings(write_config(tmp_path, head_dim=8, mask="exact", a_note_of_theirs=1))
    assert written == RELEASED.replaced(head_dim=8, mask="exact")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mask": "blurry"}, r"config\.json: mask: Input should be 'exact' or 'reference', got 'blurry'; remove"),
        ({"head_dim": 0}, r"config\.json: head_dim: Input should be greater than 0, got 0; remove"),
    ],
)
def test_written_values_must_be_known(tmp_path: Path, values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        read_settings(write_config(tmp_path, **values))
    assert "\n" not in str(error.value)


def test_the_number_of_characters_must_be_that_of_the_agent(release: Any, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(release.folder, tmp_path / "release"))
    write_config(copied / "image_generator" / "image_proj_model", max_characters=2)
    alone = load_released(copied, with_mllm=False)
    assert alone.unet.config["manga_conditions"]["max_characters"] == 2
    with pytest.raises(ValueError, match="the number of character tokens 8 of the agent, got 16"):
        load_released(copied)
