import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffsensei.inference.request import read_requests
from diffsensei.release.bundle import build_bundle
from diffsensei.release.manifest import check_manifest
from diffsensei.release.model_card import model_card


def test_a_bundle_holds_pipeline_card_sample_and_checksums(bundle: Path) -> None:
    names = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {"README.md", "manifest.json", "pipeline/model_index.json", "sample/sample.png"} <= names
    assert {entry.path for entry in check_manifest(bundle).files} == names - {"manifest.json"}
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pkl", ".ckpt"))}


def test_the_sample_is_drawn_at_its_size_from_a_drawn_character(bundle: Path) -> None:
    (request,) = read_requests(bundle / "sample" / "panels.jsonl")
    image = Image.open(bundle / "sample" / "sample.png")
    assert image.mode == "L"
    assert image.size == (request.width, request.height) == (64, 64)
    assert np.asarray(Image.open(bundle / "sample" / "reference.png")).std() > 20
    assert len(request.caption) > 10


def test_the_card_tells_figures_states_and_licence(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "| Ground truth | 0.310 [0.300, 0.320], n=97 |" in card
    assert "| DiffSensei | not computed: no judge |" in card
    assert "A synthetic world" in card
    assert "{{" not in card
    table = [line for line in card.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1


def test_the_same_stages_give_the_same_bundle(bundle: Path, stages, tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "output").mkdir()
    build_bundle(**stages.arguments, workspace=tmp_path / "workspace", output=tmp_path / "output")
    first, second = (json.loads((folder / "manifest.json").read_text()) for folder in (bundle, tmp_path / "output"))
    assert first == second


def test_the_code_in_the_card_draws_the_sample(bundle: Path, tmp_path: Path) -> None:
    """The code in its card, run from inside the folder."""
    code = (bundle / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    drawn = tmp_path / "panel.png"
    code = code.replace('"pipeline"', repr(str(bundle / "pipeline"))).replace('"panel.png"', repr(str(drawn)))
    code = code.replace('"sample', f'"{bundle}/sample')
    exec(compile(code, "README.md", "exec"), {})
    difference = np.asarray(Image.open(drawn), int) - np.asarray(Image.open(bundle / "sample" / "sample.png"), int)
    assert np.abs(difference).max() <= 1


CARD = ("release", "model", "sampling", "conditioning", "source_kind", "score")


def test_missing_score_is_one_line(stages, tmp_path: Path) -> None:
    arguments = {name: stages.arguments[name] for name in CARD} | {"score": tmp_path}
    with pytest.raises(ValueError, match="run the score stage"):
        model_card(**arguments)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("mangazero", "MangaZero annotations with the pages they name."),
        ("manga109", "Manga109, under its terms."),
        ("files", "Pages of a collection of the trainer's own"),
    ],
)
def test_the_card_says_what_it_was_trained_on_and_by_what_right(stages, kind: str, said: str) -> None:
    ours = [{"pages": "Ours/*", "licence": "drawn by <us>"}, {"licence": "CC-BY-4.0"}]
    arguments = {name: stages.arguments[name] for name in CARD} | {"source_kind": kind}
    card = model_card(**arguments | {"release": stages.arguments["release"].replaced(pages_licences=ours)})
    assert said in card
    assert "No third party's drawings" not in card
    assert "The frozen parts" in card
    assert "\n- `Ours/*`: drawn by &lt;us&gt;\n- `*`: CC-BY-4.0\n\n## Results" in card
