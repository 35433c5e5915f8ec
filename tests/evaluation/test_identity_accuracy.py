import numpy as np

from diffsensei.evaluation.identity_accuracy import is_recognised

REFERENCES, IDS = np.array([[1.0, 0], [0.0, 1], [0.9, 0.1]]), ["a", "b", "a"]


def test_the_nearest_reference_decides():
    assert is_recognised(np.array([5.0, 1.0]), REFERENCES, IDS, "a") == 1.0
    assert is_recognised(np.array([5.0, 1.0]), REFERENCES, IDS, "b") == 0.0
    assert is_recognised(np.array([0.1, 1.0]), REFERENCES, IDS, "b") == 1.0


def test_no_direction_is_no_answer():
    assert np.isnan(is_recognised(np.zeros(2), REFERENCES, IDS, "a"))
