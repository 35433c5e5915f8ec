import numpy as np
import pytest
from PIL import Image

from diffsensei.config import load_preset
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.evaluation.benchmark import freeze_benchmark, read_benchmark, read_pages, read_truth
from diffsensei.inference.request import read_requests


def _freeze(panel_set, base, **changed):
    config = load_preset("tiny")
    conditioning = config.data.conditioning
    output, workspace = base / "output", base / "workspace"
    output.mkdir(parents=True)
    workspace.mkdir()
    decided = {
        "panel_size": config.evaluation.panel_size,
        "max_characters": conditioning.max_characters,
        "max_dialogs": conditioning.max_dialogs,
        "min_reference_side": conditioning.min_reference_side,
        "buckets": config.data.buckets,
        "seed": 0,
    }
    freeze_benchmark(**decided | changed, panels=panel_set, workspace=workspace, output=output)
    return output


def test_every_panel_is_kept_and_readable_as_a_request(panel_set, tmp_path):
    output = _freeze(panel_set, tmp_path)
    panels = read_benchmark(output)
    requests = read_requests(output / "panels.jsonl")
    assert [panel.panel_id for panel in read_pages(output)] == [request.panel_id for request in requests]
    given = [request for request in requests if request.given]
    assert [request.panel_id[-2:] for request in given] == ["-0"] * 4
    assert all((output / request.given).is_file() for request in given)
    assert [panel.panel_id for panel in panels] == [r.panel_id for r in requests if r not in given]
    assert len(panels) == 12
    assert sum(not panel.characters for panel in panels) == 4
    assert len({panel.seed for panel in panels}) == 12
    for panel in panels:
        assert read_truth(output, panel).shape == (panel.height, panel.width)
        assert panel.height % 8 == panel.width % 8 == 0
        for character in panel.characters:
            assert (output / character.reference).is_file()


def test_boxes_follow_the_crop_to_the_pixel(panel_set, tmp_path):
    """The bubble is pure white: its box, moved through resize and crop, must meet its pixels."""
    output = _freeze(panel_set, tmp_path)
    checked = 0
    for panel in read_benchmark(output):
        truth = read_truth(output, panel)
        for x1, y1, x2, y2 in panel.dialogs:
            ys, xs = np.nonzero(truth > 250)
            found = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            wanted = np.array([x1, y1, x2, y2]) * [panel.width, panel.height, panel.width, panel.height]
            np.testing.assert_allclose(found, wanted, atol=2.0)
            checked += 1
    assert checked == 8


def test_reference_is_never_the_target_itself_where_there_is_another(panel_set, tmp_path):
    output = _freeze(panel_set, tmp_path)
    crops = PanelSet(panel_set / "eval")
    for panel in read_benchmark(output):
        for character in panel.characters:
            assert character.id == "a"  # b has no clean crop
            assert character.source_kind == "other_panel"
            reference = np.asarray(Image.open(output / character.reference))
            own = [
                crops.crop_image(row)
                for row in range(len(crops.crops))
                if crops.crops["panel_id"][row] == panel.panel_id and crops.crops["character_id"][row] == "a"
            ]
            assert not any(np.array_equal(reference, crop) for crop in own)


def test_the_only_crop_serves_as_its_own_reference(panel_set, tmp_path):
    crops = PanelSet(panel_set / "eval").crops
    keep = crops[crops["panel_id"].str.endswith("-1")]
    keep.to_parquet(panel_set / "eval" / "crops.parquet")
    panels = [panel for panel in read_benchmark(_freeze(panel_set, tmp_path)) if panel.panel_index == 1]
    assert [c.source_kind for panel in panels for c in panel.characters] == ["same_panel"] * 4


def test_characters_come_largest_first_and_at_most_as_many_as_the_model_takes(panel_set, tmp_path):
    crops = PanelSet(panel_set / "eval").crops
    crops.assign(type=0).to_parquet(panel_set / "eval" / "crops.parquet")
    both = [panel for panel in read_benchmark(_freeze(panel_set, tmp_path / "all")) if panel.panel_index == 2]
    assert [[c.id for c in panel.characters] for panel in both] == [["a", "b"]] * 4
    one = [p for p in read_benchmark(_freeze(panel_set, tmp_path / "one", max_characters=1)) if p.panel_index == 2]
    assert [[c.id for c in panel.characters] for panel in one] == [["a"]] * 4


def test_native_size_is_the_panels_own_rounded_to_eight(panel_set, tmp_path):
    sizes = {(panel.height, panel.width) for panel in read_benchmark(_freeze(panel_set, tmp_path, panel_size="native"))}
    assert sizes == {(88, 96), (64, 128), (144, 72)}


def test_frozen_means_frozen(panel_set, tmp_path):
    first, second = _freeze(panel_set, tmp_path / "1"), _freeze(panel_set, tmp_path / "2")
    files = {path.relative_to(first): path.read_bytes() for path in first.rglob("*.*")}
    assert files == {path.relative_to(second): path.read_bytes() for path in second.rglob("*.*")}


def test_missing_benchmark_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="run the benchmark stage"):
        read_benchmark(tmp_path)
