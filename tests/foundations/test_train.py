"""A few steps of every recipe: deterministic, resumable by part, in the formats that `loading` reads."""

import hashlib
from pathlib import Path

import pytest

from diffsensei.foundations import judge_encoders, loading
from diffsensei.foundations.manifest import check_manifest
from diffsensei.foundations.parts import PARTS
from diffsensei.foundations.recipes import FoundationRecipes
from diffsensei.foundations.train import train_foundations

STEPS_SCALE = 0.003
QUICK = ["judge_detector", "magi_image_encoder", "text_encoder_2", "llm"]


def rebuild(recipes: FoundationRecipes, base: Path, name: str, only: list[str] | None) -> Path:
    workspace, output = base / f"{name}-work", base / f"{name}-out"
    workspace.mkdir(exist_ok=True)
    output.mkdir()
    train_foundations(only=only, steps_scale=STEPS_SCALE, workspace=workspace, output=output, recipes=recipes)
    return output


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_same_seed_same_files(small_recipes: FoundationRecipes, tmp_path: Path) -> None:
    first = rebuild(small_recipes, tmp_path, "first", QUICK)
    second = rebuild(small_recipes, tmp_path, "second", QUICK)
    assert digests(first) == digests(second)


@pytest.mark.slow
def test_another_seed_other_weights(small_recipes: FoundationRecipes, tmp_path: Path) -> None:
    recipe = small_recipes.llm
    other = small_recipes.replaced(llm=recipe.replaced(fit=recipe.fit.replaced(seed=99).model_dump()).model_dump())
    first, second = (rebuild(r, tmp_path, n, ["llm"]) for r, n in ((small_recipes, "one"), (other, "two")))
    one, two = digests(first), digests(second)
    assert one["llm/model.safetensors"] != two["llm/model.safetensors"]
    assert one["llm/tokenizer.json"] == two["llm/tokenizer.json"]


@pytest.mark.slow
def test_finished_part_is_not_trained_again(
    small_recipes: FoundationRecipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    for name, part in dict(PARTS).items():
        monkeypatch.setitem(PARTS, name, lambda *args, name=name, part=part: trained.append(name) or part(*args))
    first = rebuild(small_recipes, tmp_path, "shared", ["llm"])
    again = tmp_path / "again"
    again.mkdir()
    train_foundations(
        only=["llm", "judge_detector"],
        steps_scale=STEPS_SCALE,
        workspace=tmp_path / "shared-work",
        output=again,
        recipes=small_recipes,
    )
    assert trained == ["llm", "judge_detector"]
    assert digests(again)["llm/model.safetensors"] == digests(first)["llm/model.safetensors"]


@pytest.mark.slow
def test_every_part_loads_strictly(small_recipes: FoundationRecipes, tmp_path: Path) -> None:
    output = rebuild(small_recipes, tmp_path, "all", None)
    manifest = check_manifest(output)
    assert list(manifest.parts) == list(PARTS)
    for name, load in {
        "vae": loading.load_vae,
        "text_encoder": loading.load_text_encoder,
        "text_encoder_2": loading.load_text_encoder,
        "clip_image_encoder": loading.load_clip_image_encoder,
        "magi_image_encoder": loading.load_magi_image_encoder,
        "llm": loading.load_llm,
        "judge_clip": judge_encoders.load_judge_clip,
        "judge_dino": judge_encoders.load_judge_dino,
        "judge_detector": judge_encoders.load_dialog_detector,
    }.items():
        assert load(str(output / name)) is not None


def test_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"parts among vae, .*judge_dino, judge_states, got 1\.0, \['vea'\]"):
        train_foundations(only=["vea"], steps_scale=1.0, workspace=tmp_path, output=tmp_path)
