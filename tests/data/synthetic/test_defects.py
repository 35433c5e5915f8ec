"""Defects: each kind does to a page what its name says and nothing else."""

import copy
import json
import math
from collections import Counter
from typing import Any

import cv2
import numpy as np
import pytest

from diffsensei.config.schema import SyntheticSource
from diffsensei.data.records import parse_page
from diffsensei.data.synthetic.defects import DEFECTS, SLIGHTLY_PX, Served, defect_of, inject
from diffsensei.data.synthetic.page import draw_page
from diffsensei.data.synthetic.world import encode_png
from diffsensei.seeding import numpy_stream

SOURCE = SyntheticSource(num_series=4, pages_per_series=4, page_height=240, seed=1, defect_rate=1.0)
PAGE = draw_page(SOURCE, 0, 1)
RAW = PAGE.annotation.model_dump(mode="json")
FILES = [encode_png(half) for half in PAGE.halves]
ON_FILES = ("dead_url", "truncated_image", "wrong_image", "not_an_image", "rescaled_half", "colour_page")
PARSES = sorted(set(DEFECTS) - {"missing_url2", "non_numeric_box"})


def _injected(kind: str, draw: int = 0) -> Served:
    served = Served(copy.deepcopy(RAW), list(FILES), "earlier/page.png")
    assert inject(DEFECTS[kind], served, numpy_stream(0, kind, draw), encode_png).kind == kind
    return served


def _decode(data: bytes | None) -> np.ndarray | None:
    if not data:
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if image is None else np.asarray(image)


def _touched(served: Served) -> dict[str, Any]:
    frame: dict[str, Any] = served.raw["frames"][served.place["panel_index"]]
    return frame


@pytest.mark.parametrize("kind", sorted(DEFECTS))
def test_one_defect_changes_one_thing(kind: str) -> None:
    served = _injected(kind)
    changed_files = sum(new != old for new, old in zip(served.halves, FILES, strict=True))
    assert changed_files == (kind in ON_FILES)
    assert (json.dumps(served.raw) != json.dumps(RAW)) == (kind not in ON_FILES)
    if kind in ("no_panels", "reversed_order"):  # what these change is the list itself
        return
    frames = zip(served.raw["frames"], RAW["frames"], strict=True)
    assert sum(json.dumps(new) != json.dumps(old) for new, old in frames) == ("panel_index" in served.place)


@pytest.mark.parametrize("kind", PARSES)
def test_geometry_and_paths_still_parse(kind: str) -> None:
    parse_page(json.loads(json.dumps(_injected(kind).raw)))


@pytest.mark.parametrize("kind", ["missing_url2", "non_numeric_box"])
def test_schema_defects_do_not_parse(kind: str) -> None:
    with pytest.raises(ValueError, match="url2" if kind == "missing_url2" else "bbox"):
        parse_page(_injected(kind).raw)


def test_files() -> None:
    for draw in range(4):
        dead = _injected("dead_url", draw)
        assert dead.halves[dead.place["half"]] is None
        cut = _injected("truncated_image", draw)
        half = cut.halves[cut.place["half"]]
        assert half is not None
        assert FILES[cut.place["half"]].startswith(half)
        wrong = _injected("wrong_image", draw)
        swapped = _decode(wrong.halves[wrong.place["half"]])
        assert swapped is not None
        assert np.array_equal(swapped[:, ::-1], PAGE.halves[wrong.place["half"]])
        text = _injected("not_an_image", draw)
        assert _decode(text.halves[text.place["half"]]) is None
        small = _decode(_injected("rescaled_half", draw).halves[_injected("rescaled_half", draw).place["half"]])
        assert small is not None
        assert small.shape == (120, 80)


def test_page_fields() -> None:
    assert ".." in _injected("path_traversal").raw["image_path"].split("/")
    assert _injected("duplicate_path").raw["image_path"] == "earlier/page.png"
    ratio = _injected("wrong_width1").raw["meta"]["width1"] / RAW["meta"]["width1"]
    assert ratio == pytest.approx(0.85, abs=0.01)


def test_boxes() -> None:
    width = PAGE.image.shape[1]
    for draw in range(6):
        assert _touched(_injected("panel_outside_page", draw))["bbox"][2] > width + 10
        inverted = _touched(_injected("inverted_panel", draw))["bbox"]
        assert inverted[2] < inverted[0]
        assert any(math.isnan(v) for v in _touched(_injected("nan_panel", draw))["bbox"])
        assert _touched(_injected("panel_slightly_outside", draw))["bbox"][1] == -SLIGHTLY_PX
        assert not _touched(_injected("empty_caption", draw))["caption"].strip()

        served = _injected("inverted_character", draw)
        box = _touched(served)["characters"][served.place["box_index"]]["bbox"]
        assert box[2] < box[0]
        served = _injected("unknown_type", draw)
        assert _touched(served)["characters"][served.place["box_index"]]["type"] not in (0, 1, 2)
        served = _injected("dialog_outside_panel", draw)
        frame = _touched(served)
        box = frame["dialogs"][served.place["box_index"]]["bbox"]
        assert box[2] <= frame["bbox"][0] or box[0] >= frame["bbox"][2]
        assert 0 <= box[0] < box[2] <= width
        ids = [character["id"] for character in _touched(_injected("duplicate_character_id", draw))["characters"]]
        assert len(set(ids)) < len(ids)


def test_a_page_that_lacks_what_a_defect_needs_gets_an_empty_caption() -> None:
    raw = copy.deepcopy(RAW)
    for frame in raw["frames"]:
        frame["dialogs"] = []
    served = Served(raw, list(FILES), "earlier/page.png")
    assert inject(DEFECTS["dialog_outside_panel"], served, numpy_stream(0), encode_png).kind == "empty_caption"
    assert not _touched(served)["caption"].strip()


def test_defects_follow_from_the_page_alone_and_keep_the_rate() -> None:
    source = SyntheticSource(num_series=64, pages_per_series=32, page_height=96, seed=1, defect_rate=0.1)
    places = [(series, page) for series in range(64) for page in range(32)]
    defects = [defect_of(source, *place) for place in places]
    assert 0.07 < sum(d is not None for d in defects) / len(places) < 0.13
    larger = source.replaced(pages_per_series=1000)
    assert [defect_of(larger, *place) for place in places] == defects
    assert all(defect_of(source.replaced(defect_rate=0.0), *place) is None for place in places[:100])


def test_every_kind_occurs_and_a_repeated_path_is_that_of_a_sound_page() -> None:
    source = SyntheticSource(num_series=64, pages_per_series=64, page_height=96, seed=1, defect_rate=0.3)
    counts: Counter[str] = Counter()
    for series in range(64):
        defects = [defect_of(source, series, page) for page in range(64)]
        for page, defect in enumerate(defects):
            if defect is not None:
                counts[defect.kind] += 1
            if defect is DEFECTS["duplicate_path"]:
                assert page > 0
                assert defects[page - 1] is None
    assert set(counts) == set(DEFECTS)
