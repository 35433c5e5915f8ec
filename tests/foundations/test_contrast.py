import math

import torch

from diffsensei.foundations.contrast import paired_contrast, supervised_contrast


def test_paired_contrast_of_a_perfect_and_of_a_blind_pairing() -> None:
    rows = torch.eye(4)
    scale = torch.tensor(math.log(50.0))
    assert paired_contrast(rows, rows, scale) < 1e-6
    torch.testing.assert_close(paired_contrast(rows, torch.ones(4, 4), scale), torch.tensor(math.log(4.0)))


def test_supervised_contrast_by_hand() -> None:
    features = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 0, 1])
    # Row 0 sees cosines 1 (its partner) and 0; the third row has no partner and does not count.
    expected = -math.log(math.exp(2.0) / (math.exp(2.0) + 1.0))
    torch.testing.assert_close(supervised_contrast(features, labels, temperature=0.5), torch.tensor(expected))


def test_supervised_contrast_prefers_the_right_partner() -> None:
    features = torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    right, wrong = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    assert supervised_contrast(features, right) < supervised_contrast(features, wrong)
