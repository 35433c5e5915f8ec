"""Manga109 beside the data that is trained on: from its folder to scores, by the stages as they are declared."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch

# isort: split

import pytest
import torch

from diffsensei.config import ExperimentConfig, load_preset
from diffsensei.config.schema import SyntheticSource
from diffsensei.evaluation.benchmark import read_benchmark, read_pages
from diffsensei.evaluation.results import read_summary
from diffsensei.foundations.loading import load_text_encoder, load_vae
from diffsensei.models.text import text_widths
from diffsensei.models.unet import build_unet, save_unet
from infra.stage import Stage
from tasks.planning import needed_for
from tasks.stages import pipeline_stages
from tests.data.annotation.tiny_chat_server import Log, serve_chat
from tests.data.sources.manga109_folder import TITLES, write_manga109
from tests.tasks.carried_out import carry_out

pytestmark = pytest.mark.slow

TRAINED_WORLD = SyntheticSource(num_series=2, pages_per_series=4, page_height=240, seed=1)
OTHER_WORLD = TRAINED_WORLD.replaced(pages_per_series=3, seed=5)
METHODS = ("storydiffusion", "sdxl_t2i")
"""Those that draw with the pre-trained UNet alone: a compared one and one of the DiffSensei family."""


@dataclass(frozen=True)
class Trained:
    """What there is before Manga109 comes: panels to train on and a pre-trained UNet, here of random weights."""

    results: dict[str, Path]
    captions: Log

    def config(self, manga109: Path) -> ExperimentConfig:
        source = {"kind": "manga109", "root": str(manga109), "accept_terms": True, "pages_per_book": 2}
        return load_preset(
            "tiny",
            [
                f"data.source={TRAINED_WORLD.model_dump_json()}",
                f"data.evaluation_source={json.dumps(source)}",
                "data.annotation.captioner.backend=openai",
                "data.annotation.captioner.model=seer",
                f"data.annotation.captioner.server={self.captions.url}",
                "sampling.steps=2",
                "baselines.storydiffusion.sampling.steps=2",
                "evaluation.bootstrap_resamples=50",
                "runtime.num_threads=1",
            ],
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "manga109").mkdir()
    with pytest.MonkeyPatch.context() as patch, serve_chat() as captions, ThreadPoolExecutor(2) as executor:
        patch.setenv("DIFFSENSEI_STORE", str(folder / "store"))
        patch.setenv("DIFFSENSEI_LIMITS", str(folder / "limits"))
        torch.set_num_threads(1)
        found = Trained({}, captions)
        config = found.config(folder / "manga109")
        carry_out(stages_for(config, "validate", "panels"), config, found.results, folder, executor)
        write_pretrained(config, folder / "pretrain")
        found.results["pretrain"] = folder / "pretrain"
        yield found


def stages_for(config: ExperimentConfig, *names: str) -> list[Stage]:
    """These stages and what they need, without the twins that a flow brings along."""
    stages = pipeline_stages(config)
    upstream = {stage.name for stage in needed_for(names, [s for s in stages if not s.name.startswith("evaluation_")])}
    return [stage for stage in stages if stage.name in upstream]


def write_pretrained(config: ExperimentConfig, folder: Path) -> None:
    torch.manual_seed(0)
    names = config.model.foundations
    width, pooled = text_widths([load_text_encoder(names.text_encoder), load_text_encoder(names.text_encoder_2)])
    channels = load_vae(names.vae).config["latent_channels"]
    unet = build_unet(config.model.unet, in_channels=channels, cross_attention_dim=width, pooled_dim=pooled)
    save_unet(unet, folder / "unet")


def evaluation_stages(config: ExperimentConfig) -> list[Stage]:
    """The second benchmark for `METHODS` alone."""
    left_out = {
        stage.name
        for stage in pipeline_stages(config)
        if stage.name.startswith("evaluation_generate_") and not stage.name.endswith(METHODS)
    }
    return [
        replace(stage, inputs={name: source for name, source in stage.inputs.items() if source not in left_out})
        for stage in pipeline_stages(config)
        if stage.name.startswith("evaluation_") and stage.name not in left_out
    ]


def test_from_the_published_folder_to_scores_of_its_own(trained: Trained, tmp_path: Path) -> None:
    write_manga109(tmp_path / "manga109", OTHER_WORLD)
    config = trained.config(tmp_path / "manga109")
    results = dict(trained.results)
    with ThreadPoolExecutor(2) as executor:
        carry_out(evaluation_stages(config), config, results, tmp_path / "work", executor)

    pages = read_pages(results["evaluation_benchmark"])
    asked = read_benchmark(results["evaluation_benchmark"])
    assert {panel.series for panel in pages} == set(TITLES)
    assert len({panel.page_id for panel in pages}) == len(pages) - len(asked) == 4
    assert all(panel.caption.startswith("A panel, called ") for panel in pages)
    assert any(panel.characters for panel in asked)
    assert any(panel.dialogs for panel in asked)
    for method in METHODS:
        drawn = results[f"evaluation_generate_{method}"] / "images" / "0"
        assert {path.stem for path in drawn.iterdir()} == {panel.panel_id for panel in asked}

    summary = read_summary(results["evaluation_score"])
    assert {method.name for method in summary.methods} == {"ground_truth", "shuffled_truth", *METHODS}
    for method in METHODS:
        clip = summary.result(method, "clip")
        assert clip is not None
        assert (clip.state, clip.n_used) == ("computed", len(asked))
    truth, drawn_figure = summary.result("ground_truth", "dino_i"), summary.result("sdxl_t2i", "dino_i")
    assert truth is not None
    assert drawn_figure is not None
    assert (truth.value or 0) > (drawn_figure.value or 0)
    assert json.loads((results["evaluation_annotations"] / "licence.json").read_text())["accepted"] is True


def test_pages_that_are_trained_on_stop_the_second_benchmark(trained: Trained, tmp_path: Path) -> None:
    """The same drawings, published once more as JPEG under other names."""
    write_manga109(tmp_path / "manga109", TRAINED_WORLD)
    config = trained.config(tmp_path / "manga109")
    split = json.loads((trained.results["panels"] / "split.json").read_text())
    results = dict(trained.results)
    with ThreadPoolExecutor(2) as executor, pytest.raises(ValueError, match="also trained on, as '") as stopped:
        carry_out(evaluation_stages(config), config, results, tmp_path / "work", executor)
    assert "evaluation_validate" in results
    assert "evaluation_panels" not in results
    assert not [page for page in split["eval"] if page["image_path"] in str(stopped.value)]
