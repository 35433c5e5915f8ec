"""Manga109 beside the data that is trained on: from its folder to scores, by the stages as they are declared."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diffsensei.evaluation.benchmark import read_benchmark, read_pages
from diffsensei.evaluation.results import read_summary
from tests.data.sources.manga109_folder import TITLES, write_manga109
from tests.tasks.carried_out import carry_out
from tests.tasks.evaluation_source import (
    METHODS,
    OTHER_WORLD,
    TRAINED_WORLD,
    Trained,
    evaluation_stages,
    trained_before,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with trained_before(tmp_path_factory.mktemp("trained")) as found:
        yield found


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
