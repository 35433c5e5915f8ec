import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffsensei.magi.associations import attribute_texts, cluster_characters, pair_scores

square = st.integers(0, 7).flatmap(lambda n: arrays(np.float64, (n, n), elements=st.floats(-4, 4)))


def test_scores_of_both_orders_are_averaged_before_the_sigmoid() -> None:
    scores = pair_scores(np.array([[0.0, 3.0], [-1.0, 2.0]]))
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-np.array([[0.0, 1.0], [1.0, 2.0]]))))


def test_clusters_by_hand() -> None:
    scores = np.full((5, 5), 0.1)
    scores[1, 3] = scores[3, 1] = 0.9
    scores[3, 4] = scores[4, 3] = 0.66
    scores[0, 2] = scores[2, 0] = 0.65
    assert cluster_characters(scores, 0.65).tolist() == [0, 1, 2, 1, 1]
    assert cluster_characters(scores, 0.7).tolist() == [0, 1, 2, 1, 3]
    assert cluster_characters(scores, 0.0).tolist() == [0] * 5
    assert cluster_characters(np.zeros((0, 0)), 0.5).tolist() == []


@settings(max_examples=60, deadline=None)
@given(square, st.floats(0.1, 0.9))
def test_clusters_are_what_links_connect(logits: np.ndarray, threshold: float) -> None:
    scores = pair_scores(logits)
    clusters = cluster_characters(scores, threshold)
    reached = np.eye(len(scores), dtype=bool) | (scores > threshold)
    for middle in range(len(scores)):
        reached |= reached[:, [middle]] & reached[[middle]]
    np.testing.assert_array_equal(clusters[:, None] == clusters[None], reached)
    first = [clusters.tolist().index(number) for number in range(len(set(clusters.tolist())))]
    assert first == sorted(first)


@settings(max_examples=60, deadline=None)
@given(square, st.floats(0.1, 0.9), st.randoms(use_true_random=False))
def test_clusters_do_not_depend_on_the_order(logits: np.ndarray, threshold: float, random: object) -> None:
    scores = pair_scores(logits)
    order = np.random.default_rng(random.randrange(2**32)).permutation(len(scores))  # type: ignore[attr-defined]
    one, two = cluster_characters(scores, threshold), cluster_characters(scores[np.ix_(order, order)], threshold)
    np.testing.assert_array_equal(one[order][:, None] == one[order][None], two[:, None] == two[None])


def test_texts_go_to_their_best_character_if_they_are_dialogs() -> None:
    scores = np.array([[0.1, 0.2], [0.9, 0.3], [0.5, 0.5], [0.0, 0.1]])
    dialogs = np.array([0.9, 0.4, 0.41, 0.8])
    assert attribute_texts(scores, dialogs, 0.4).tolist() == [[0, 1], [2, 0], [3, 1]]
    assert attribute_texts(np.zeros((4, 0)), dialogs, 0.4).shape == (0, 2)
    assert attribute_texts(np.zeros((0, 2)), np.zeros(0), 0.4).shape == (0, 2)
