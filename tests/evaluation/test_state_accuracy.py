import pytest

from diffsensei.evaluation.state_accuracy import hits, mean_hit, readable

WANTED = {"expression": "sad", "pose": "waving", "facing": "left", "distance": "far"}


def test_each_attribute_is_right_or_wrong():
    read = WANTED | {"pose": "pointing", "distance": "close"}
    assert hits(read, WANTED) == {"expression": 1.0, "pose": 0.0, "facing": 1.0, "distance": 0.0}


def test_nobody_is_asked_for_a_face_that_is_turned_away():
    wanted = WANTED | {"facing": "away"}
    assert hits(WANTED, wanted) == {"expression": None, "pose": 1.0, "facing": 0.0, "distance": 1.0}
    # Read from behind though wanted from the side: the expression is wrong like any other.
    assert hits(WANTED | {"facing": "away", "expression": "happy"}, WANTED)["expression"] == 0.0


@pytest.mark.parametrize(
    ("counted", "mean"),
    [(("pose", "facing"), 0.5), (("facing",), 1.0), (("expression", "pose"), 0.0), (("expression",), None), ((), None)],
)
def test_the_mean_counts_the_readable_ones_that_are_shown(counted, mean):
    assert mean_hit({"expression": None, "pose": 0.0, "facing": 1.0, "distance": 1.0}, counted) == mean


def test_readable_is_what_the_probe_gets_right_on_true_crops():
    assert readable({"distance": 0.95, "pose": 0.8, "facing": 0.799}) == ("pose", "distance")
    assert readable({}) == ()
