import pytest

from diffsensei.evaluation.results import Summary
from reports.failure_tags import TagRules, tag_rules
from reports.panel_scores import PanelScores

RULES = TagRules({"clip": 0.2, "dino_c": 0.3}, sees_characters=True)
BLIND = TagRules({"clip": 0.2, "dino_c": 0.3}, sees_characters=False)


def _scores(dialogs=None, **entries):
    found = {name: list(values) if isinstance(values, tuple) else [values] for name, values in entries.items()}
    if dialogs is not None:
        found["dialog_f1"] = [0.5]
    return PanelScores(found, dialogs)


def test_a_character_that_is_found_nowhere_near_its_box_is_missing():
    truth = _scores(layout_iou=(0.9, 0.8))
    assert RULES.tags(_scores(layout_iou=(0.7, 0.09)), truth, ["a", "b"]) == ["missing_character"]
    assert RULES.tags(_scores(layout_iou=(0.7, 0.1)), truth, ["a", "b"]) == []


def test_without_a_detector_a_crop_like_any_other_is_a_missing_character():
    truth = _scores(dino_c=(1.0,))
    assert BLIND.tags(_scores(dino_c=(0.29,)), truth, ["a"]) == ["missing_character"]
    assert BLIND.tags(_scores(dino_c=(0.31,)), truth, ["a"]) == []
    assert RULES.tags(_scores(dino_c=(0.29,)), truth, ["a"]) == []


@pytest.mark.parametrize(
    ("ids", "expected"),
    [(["a", "b"], ["merged_identities"]), (["a"], ["wrong_identity"]), (["a", "a"], ["wrong_identity"])],
)
def test_a_character_that_looks_like_another(ids, expected):
    truth = _scores(identity_accuracy=tuple(1.0 for _ in ids))
    drawn = _scores(identity_accuracy=tuple(float(slot > 0) for slot, _ in enumerate(ids)))
    assert RULES.tags(drawn, truth, ids) == expected


@pytest.mark.parametrize(
    ("dialogs", "expected"),
    [
        ((2, 0, 0), []),
        ((1, 0, 1), ["bubble_missing"]),
        ((2, 1, 0), ["extra_bubble"]),
        ((1, 1, 1), ["bubble_misplaced"]),
        ((0, 1, 2), ["bubble_missing", "bubble_misplaced"]),
        ((1, 2, 1), ["extra_bubble", "bubble_misplaced"]),
    ],
)
def test_dialogs_that_are_missing_too_many_or_elsewhere(dialogs, expected):
    assert RULES.tags(_scores(dialogs), _scores((2, 0, 0)), []) == expected


def test_off_the_caption_is_below_what_another_panel_gets():
    assert RULES.tags(_scores(clip=0.19), _scores(clip=0.5), []) == ["off_caption"]
    assert RULES.tags(_scores(clip=0.2), _scores(clip=0.5), []) == []


def test_what_the_truth_fails_too_is_no_fault():
    drawn = _scores((0, 1, 2), clip=0.1, identity_accuracy=(0.0,), layout_iou=(0.0,))
    truth = _scores((0, 1, 2), clip=0.1, identity_accuracy=(0.0,), layout_iou=(0.0,))
    assert RULES.tags(drawn, truth, ["a"]) == []


def test_what_was_not_measured_earns_no_tag():
    truth = _scores((1, 0, 0), clip=0.5, identity_accuracy=(1.0,), layout_iou=(1.0,))
    assert RULES.tags(_scores(clip="not generated", identity_accuracy=("crop under 8 px",)), truth, ["a"]) == []
    assert RULES.tags(PanelScores(), truth, ["a"]) == []


def test_thresholds_of_the_run_are_in_the_rules(make_run):
    run = make_run()
    summary = Summary.model_validate_json((run.arguments["score"] / "summary.json").read_text())
    rules = tag_rules(summary)
    assert rules == TagRules({"clip": 0.141, "dino_c": 0.351}, sees_characters=True)
    words = {tag.name: tag.rule for tag in rules.described()}
    assert "0.141" in words["off_caption"]
    assert "under 0.1" in words["missing_character"]
    bare = tag_rules(summary.replaced(results=()))
    undecided = {tag.name for tag in bare.described() if tag.undecided}
    assert undecided == {"missing_character", "off_caption"}
