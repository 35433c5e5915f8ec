"""Which pictures the characters' metrics compare: three panels of one page, vectors one can reckon with."""

import numpy as np
import pytest

from diffsensei.config import load_preset
from diffsensei.evaluation.benchmark import BenchmarkCharacter, BenchmarkPanel
from diffsensei.evaluation.measurements import Request, measure
from diffsensei.evaluation.sight import PanelFeatures

X, Y, Z = np.eye(3)
MISSING = {"detector": "none", "characters": "none", "states": "none"}
CALM = {"expression": "neutral", "pose": "standing", "facing": "left", "distance": "close"}


def _panel(index: int, *people: tuple[str, str]) -> BenchmarkPanel:
    characters = tuple(
        BenchmarkCharacter(
            id=name,
            box=(0, 0, 1, 1),
            reference="r.png",
            source_kind="other_panel",
            place=f"p{index}:{slot}",
            source=source,
            type=0,
        )
        for slot, (name, source) in enumerate(people)
    )
    place = {"panel_id": f"p{index}", "page_id": "page", "series": "s", "panel_index": index}
    return BenchmarkPanel(**place, height=8, width=8, caption="", characters=characters, unfed_dialogs=())


def _seen(crops, states=None) -> PanelFeatures:
    count = len(crops)
    nothing = [None] * count
    states = states or [[CALM] * len(row) for row in crops]
    return PanelFeatures(
        [True] * count, [nothing], [X] * count, nothing, nothing, crops, nothing, nothing, [0.0] * count, states
    )


@pytest.fixture
def request_of_three() -> Request:
    """a is shown p1's picture X in p0; its true crops are Z (p0), X (p1), Y (p2). b stands in p2 alone."""
    panels = [_panel(0, ("a", "p1:0")), _panel(1, ("a", "p0:0")), _panel(2, ("a", "p1:0"), ("b", "p2:1"))]
    truth = _seen([[Z], [X], [Y, Z]])
    states = [[CALM], [CALM | {"facing": "away"}], [CALM, None]]
    return Request(panels, [[X], [Z], [X, Z]], [[None] * 3], truth, states, ("expression", "pose"))


def _values(request, drawn, metric):
    rows = measure(request, _seen(drawn), load_preset("tiny").evaluation, MISSING)
    mine = [row for row in rows if row["metric"] == metric]
    return {(row["panel_id"], row["character"]): row["skipped"] or row["value"] for row in mine}


def test_copies_are_held_against_the_other_panels_but_the_shown_ones(request_of_three):
    values = _values(request_of_three, [[X + Y], [Z], [X, Z]], "copy_paste")
    assert values["p1", "0:a"] == pytest.approx(1.0)  # shown p0's Z, drawn as it; the other is p2's Y
    assert values["p2", "0:a"] == pytest.approx(1.0)  # shown p1's X, drawn as it; the other is p0's Z
    assert values["p2", "1:b"] == "no other picture of the character on its page"


def test_a_fair_likeness_is_no_copy(request_of_three):
    rows = measure(request_of_three, _seen([[X + Y], [Z], [X, Z]]), load_preset("tiny").evaluation, MISSING)
    (fair,) = [row for row in rows if row["metric"] == "copy_paste" and row["panel_id"] == "p0"]
    assert fair["value"] == pytest.approx(0)
    assert fair["skipped"] is None


def test_the_nearest_reference_of_the_page_names_the_character(request_of_three):
    rows = measure(request_of_three, _seen([[X], [Y], [Z, X]]), load_preset("tiny").evaluation, MISSING)
    found = {(row["panel_id"], row["character"]): row["value"] for row in rows if row["metric"] == "identity_accuracy"}
    assert found["p0", "0:a"] == 1.0
    assert found["p2", "1:b"] == 0.0  # drawn as X, which only a was shown as


def test_missing_judges_have_no_rows(request_of_three):
    rows = measure(request_of_three, _seen([[X], [Y], [Z, X]]), load_preset("tiny").evaluation, MISSING | {"dino": "x"})
    assert {row["metric"] for row in rows} == {"clip", "chroma"}


def test_states_are_counted_by_attribute_and_meaned_over_the_readable_ones(request_of_three):
    """p0 is read rightly but for the pose; p1 is wanted from behind; of p2's two one has no crop, one no state."""
    states = [[CALM | {"pose": "waving"}], [CALM | {"expression": "sad"}], [None, CALM]]
    seen = _seen([[X], [Y], [Z, X]], states)
    missing = MISSING | {"dino": "x"}
    missing.pop("states")
    found = {
        (row["metric"], row["panel_id"], row["character"]): row["skipped"] or row["value"]
        for row in measure(request_of_three, seen, load_preset("tiny").evaluation, missing)
    }
    assert found["state_accuracy", "p0", "0:a"] == 0.5
    assert (found["state_expression", "p0", "0:a"], found["state_pose", "p0", "0:a"]) == (1.0, 0.0)
    assert found["state_accuracy", "p1", "0:a"] == 1.0
    assert found["state_expression", "p1", "0:a"] == "seen from behind"
    assert (found["state_facing", "p1", "0:a"], found["state_distance", "p1", "0:a"]) == (0.0, 1.0)
    assert found["state_accuracy", "p2", "0:a"] == found["state_pose", "p2", "0:a"] == "crop under 6 px"
    assert found["state_accuracy", "p2", "1:b"] == "state not known"
