import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffsensei.config.schema import CacheConfig
from diffsensei.data.panels.buckets import build_buckets, fit_panel
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.data.panels.training_panels import distinct_captions
from diffsensei.foundations.loading import load_clip_image_encoder, load_magi_image_encoder, load_text_encoder, load_vae
from diffsensei.training import features as features_module
from diffsensei.training.feature_store import (
    EncodedCharacters,
    EncodedText,
    PanelMoments,
    StoredCharacters,
    StoredText,
    read_index,
)
from diffsensei.training.features import encode_features

FROZEN = ("vae", "text_encoder", "text_encoder_2", "clip_image_encoder", "magi_image_encoder")
Encode = Callable[..., Path]


@pytest.fixture
def encode(world: Any, experiment: Any, tmp_path: Path) -> Encode:
    """Runs the stage with one workspace and a fresh output folder each time."""

    def run(cache: CacheConfig = experiment.data.cache) -> Path:
        workspace, output = tmp_path / "workspace", tmp_path / "output"
        workspace.mkdir(exist_ok=True)
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        encode_features(
            **world.named(*FROZEN),
            buckets=experiment.data.buckets,
            cache=cache,
            magi_patches="all",
            num_threads=1,
            panels=world.panels,
            workspace=workspace,
            output=output,
        )
        return output

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def panel_set(world: Any) -> PanelSet:
    return PanelSet(world.panels / "train")


def test_stored_moments_are_those_of_the_fitted_panel(world: Any, experiment: Any, panel_set: PanelSet) -> None:
    moments = PanelMoments(world.features, read_index(world.features))
    vae = load_vae(world.foundations["vae"])
    sizes = build_buckets(experiment.data.buckets)
    assert moments.buckets == sizes
    assert moments.scaling_factor == 0.5
    for row in range(0, len(panel_set), 5):
        bucket = int(moments.panel_buckets[row])
        image = fit_panel(panel_set.panel_image(row), sizes[bucket])
        pixels = torch.from_numpy(image.copy()).float() / 127.5 - 1
        with torch.no_grad():
            expected = vae.encode(pixels.expand(1, 3, -1, -1)).latent_dist
        stored_mean, stored_logvar = moments.read(bucket, np.array([row])).chunk(2, dim=1)
        torch.testing.assert_close(stored_mean, expected.mean, atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(stored_logvar, expected.logvar, atol=2e-3, rtol=2e-3)


def test_stored_text_equals_the_encoders(world: Any, panel_set: PanelSet) -> None:
    captions, _ = distinct_captions(panel_set.panels["caption"])
    assert captions[0] == ""
    encoders = [load_text_encoder(world.foundations[name]) for name in ("text_encoder", "text_encoder_2")]
    rows = np.array([2, 0, 2, 1])
    stored = StoredText(world.features, read_index(world.features))(rows)
    computed = EncodedText(encoders, captions)(rows)
    for one, other in zip(stored, computed, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)
    assert torch.equal(stored[0][0], stored[0][2])
    assert not torch.equal(stored[0][0], stored[0][1])


def test_stored_characters_equal_the_encoders_on_both_sides(world: Any, panel_set: PanelSet) -> None:
    stored = StoredCharacters(world.features, read_index(world.features))
    clip = load_clip_image_encoder(world.foundations["clip_image_encoder"])
    magi = load_magi_image_encoder(world.foundations["magi_image_encoder"])
    computed = EncodedCharacters(clip, magi, panel_set)
    crops, mirrored = np.array([3, 3, 0]), np.array([False, True, True])
    for one, other in zip(stored(crops, mirrored), computed(crops, mirrored), strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)
        assert not torch.allclose(one[0], one[1], atol=1e-4)
    empty = np.array([], np.int64), np.array([], np.bool_)
    assert [part.shape for part in stored(*empty)] == [part.shape for part in computed(*empty)]


def test_an_interrupted_run_keeps_its_shards_and_gives_the_same_files(
    encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "SHARD_ROWS", 3)
    straight = files(encode())
    shutil.rmtree(encode().parent / "workspace")

    real, calls = features_module.encode_moments, 0

    def failing(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(features_module, "encode_moments", failing)
    with pytest.raises(KeyboardInterrupt):
        encode()
    calls = -1000
    resumed = files(encode())
    num_shards = sum(name.startswith("moments/") for name in straight)
    assert calls == -1000 + num_shards - 2  # the two shards of the first attempt were not encoded again
    assert resumed.keys() == straight.keys()
    assert resumed == straight


def test_without_cache_only_moments_are_stored(encode: Encode) -> None:
    output = encode(CacheConfig(text=False, characters=False))
    assert {path.name for path in output.iterdir()} == {"index.json", "moments", "panel_buckets.npy"}
    index = read_index(output)
    assert not index.text
    assert not index.characters


def test_a_folder_without_features_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run stage features first"):
        read_index(tmp_path)


@pytest.mark.parametrize("place", [20, -1], ids=["header", "rows"])
@pytest.mark.parametrize("file", ["text_tokens/00000.npy", "panel_buckets.npy"])
def test_a_flipped_bit_is_found_before_a_row_is_served(world: Any, tmp_path: Path, file: str, place: int) -> None:
    folder = tmp_path / "features"
    shutil.copytree(world.features, folder)
    data = bytearray((folder / file).read_bytes())
    data[place] ^= 4
    (folder / file).write_bytes(data)
    index = read_index(folder)
    read = PanelMoments if file == "panel_buckets.npy" else lambda *where: StoredText(*where)(np.array([0]))
    with pytest.raises(ValueError, match=f"{file} is damaged.*run stage features again"):
        read(folder, index)


def test_an_absent_shard_and_a_damaged_index_are_named(world: Any, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    shutil.copytree(world.features, folder)
    (folder / "pooled_text" / "00000.npy").unlink()
    with pytest.raises(ValueError, match=r"pooled_text/00000.npy is absent"):
        StoredText(folder, read_index(folder))(np.array([0]))
    (folder / "index.json").write_text("{")
    with pytest.raises(ValueError, match=r"index.json is damaged or of another version"):
        read_index(folder)


def test_a_shard_damaged_between_two_attempts_is_made_again(encode: Encode) -> None:
    straight = files(encode())
    shard = next((encode().parent / "workspace" / "shards" / "moments").rglob("*.npy"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.unlink()
    shard.write_bytes(data)
    assert files(encode()) == straight
