"""Writing and reading back is the identity, and a folder appears whole or not at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffsensei.config.schema import CORRECTED, REFERENCE, FidelityConfig, SamplingConfig
from diffsensei.inference.pipeline import DiffSenseiPipeline
from diffsensei.inference.request import PanelRequest
from diffsensei.models.resampler import Resampler
from diffsensei.models.unet import add_manga_conditions
from diffsensei.released.layout import is_released
from diffsensei.released.loading import load_released
from diffsensei.released.networks import empty_unet
from diffsensei.released.placement import whole_folder
from diffsensei.released.settings import settings_of
from diffsensei.released.writing import write_released


def assert_same(first: DiffSenseiPipeline, second: DiffSenseiPipeline) -> None:
    assert first.components.keys() == second.components.keys()
    for name, component in first.components.items():
        other = second.components[name]
        assert type(component) is type(other) or "tokenizer" in name
        if isinstance(component, torch.nn.Module):
            own, copied = component.state_dict(), other.state_dict()
            assert own.keys() == copied.keys(), name
            for key, tensor in own.items():
                assert tensor.dtype == copied[key].dtype
                assert torch.equal(tensor, copied[key]), f"{name} {key}"
    assert first.config["max_caption_tokens"] == second.config["max_caption_tokens"]
    settings, copied_settings = (
        {name: value for name, value in pipeline.scheduler.config.items() if not name.startswith("_")}
        for pipeline in (first, second)
    )
    assert settings == copied_settings


def test_written_and_read_it_is_the_same_to_the_bit(
    release: Any, tmp_path: Path, sampling: SamplingConfig, panel: PanelRequest, references: Path
) -> None:
    pipeline = load_released(release.folder)
    write_released(pipeline, tmp_path / "again", max_shard_size="40KB")
    assert len(list((tmp_path / "again" / "mllm" / "llm").glob("model-*-of-*.safetensors"))) > 1
    again = load_released(tmp_path / "again")
    assert_same(pipeline, again)
    for caption in ("a boy runs", "<img_00002> a\nboy é"):
        assert pipeline.llm_tokenizer.encode(caption) == again.llm_tokenizer.encode(caption)
        assert pipeline.tokenizer(caption).input_ids == again.tokenizer(caption).input_ids
    first, second = (np.asarray(drawer([panel], references, sampling)[0]) for drawer in (pipeline, again))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    "fidelity", [REFERENCE, CORRECTED, CORRECTED.replaced(magi_patches="masked"), REFERENCE.replaced(mask="exact")]
)
def test_how_it_runs_is_written_and_read_unless_asked_otherwise(
    release: Any,
    tmp_path: Path,
    sampling: SamplingConfig,
    panel: PanelRequest,
    references: Path,
    fidelity: FidelityConfig,
) -> None:
    pipeline = load_released(release.folder, with_mllm=False, fidelity=fidelity)
    write_released(pipeline, tmp_path / "again")
    again = load_released(tmp_path / "again", with_mllm=False)
    assert_same(pipeline, again)
    assert settings_of(again) == settings_of(pipeline)
    assert again.unet.config["manga_conditions"] == pipeline.unet.config["manga_conditions"]
    assert again.magi_image_encoder.config.mask_ratio == pipeline.magi_image_encoder.config.mask_ratio
    first, second = (np.asarray(drawer([panel], references, sampling)[0]) for drawer in (pipeline, again))
    assert np.array_equal(first, second)
    other = CORRECTED if fidelity == REFERENCE else REFERENCE
    asked = load_released(tmp_path / "again", with_mllm=False, fidelity=other)
    assert settings_of(asked) == settings_of(pipeline).with_fidelity(other)


@pytest.mark.parametrize("layout", [{"characters": "fourier"}, {"characters": "none"}, {"dialogs": "fourier"}])
def test_other_layouts_than_the_releases_are_refused(release: Any, tmp_path: Path, layout: dict[str, str]) -> None:
    pipeline = load_released(release.folder, with_mllm=False)
    unet = empty_unet(dict(pipeline.unet.config), None).to_empty(device="cpu")
    add_manga_conditions(unet, 4, **layout)
    pipeline.register_modules(unet=unet)
    with pytest.raises(ValueError, match=rf"boxes of {next(iter(layout))} by mask.*save_pretrained") as error:
        write_released(pipeline, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_resampler_without_magi_is_refused(release: Any, tmp_path: Path) -> None:
    pipeline = load_released(release.folder, with_mllm=False)
    resampler = Resampler.from_config(pipeline.resampler.config, magi=False)
    pipeline.register_modules(resampler=resampler)
    with pytest.raises(ValueError, match=r"a resampler that reads Magi.*save_pretrained"):
        write_released(pipeline, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_files_lie_where_the_release_has_them_under_its_names(release: Any, tmp_path: Path) -> None:
    write_released(load_released(release.folder), tmp_path / "again")
    for name, written in (
        ("image_generator/unet", release.unet),
        ("image_generator/image_proj_model", release.resampler),
        ("image_generator/magi_image_encoder", release.magi),
        ("mllm/agent", release.agent),
    ):
        state = torch.load(tmp_path / "again" / name / "pytorch_model.bin", weights_only=True)
        assert state.keys() == written.keys()
        assert all(torch.equal(state[key], tensor) for key, tensor in written.items())
    original = {path.relative_to(release.folder).parent for path in release.folder.rglob("*.*")}
    assert original == {path.relative_to(tmp_path / "again").parent for path in (tmp_path / "again").rglob("*.*")}
    assert "manga_conditions" not in (tmp_path / "again/image_generator/unet/config.json").read_text()


def test_a_stage_1_pipeline_of_ours_in_half_precision(release: Any, tmp_path: Path) -> None:
    pipeline = load_released(release.folder, with_mllm=False, dtype=torch.bfloat16)
    write_released(pipeline, tmp_path / "again")
    assert not (tmp_path / "again" / "mllm").exists()
    assert_same(pipeline, load_released(tmp_path / "again", with_mllm=False, dtype=torch.bfloat16))


def test_nothing_is_overwritten(release: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(ValueError, match="to be new or an empty folder"):
        write_released(load_released(release.folder, with_mllm=False), tmp_path / "taken")
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "file"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"

    def fail() -> None:
        with whole_folder(target) as aside:
            (aside / "half").write_text("half")
            assert not target.exists()
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert list(tmp_path.rglob("*")) == [tmp_path / "deep"]

    leftover = target.with_name(".target.partial")
    leftover.mkdir()
    (leftover / "of a killed run").write_text("half")
    target.mkdir()
    with whole_folder(target) as aside:
        (aside / "inner").mkdir()
        (aside / "inner" / "file").write_text("whole")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "file", "inner", "target"]


def test_the_layout_is_recognised(release: Any, tmp_path: Path) -> None:
    assert is_released(release.folder)
    assert not is_released(release.folder / "image_generator")
    assert not is_released(tmp_path)
