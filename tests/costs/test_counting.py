import torch
from torch import nn

from diffsensei.costs.counting import PassCost, count_pass, count_weights


def linear(batch: int, width: int, out: int, *, trained: bool) -> PassCost:
    with torch.device("meta"):
        layer = nn.Linear(width, out)
        x = torch.empty(batch, width, requires_grad=True)
    layer.requires_grad_(trained)
    return count_pass(layer, lambda: layer(x), backward=True)


def test_a_matrix_product_is_two_operations_a_multiply_add() -> None:
    cost = linear(3, 5, 7, trained=True)
    assert (cost.forward, cost.backward) == (2 * 3 * 5 * 7, 2 * 2 * 3 * 5 * 7)
    assert cost.total == cost.forward + cost.backward


def test_frozen_weights_cost_only_the_gradient_of_the_input() -> None:
    assert linear(3, 5, 7, trained=False).backward == 2 * 3 * 5 * 7


def test_kept_are_activations_and_no_weights() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2))
        x = torch.empty(10, 4)
    cost = count_pass(network, lambda: network(x), backward=True)
    # The input, and the sigmoid's output, which both it and the layer behind it keep: once.
    assert cost.kept_bytes == 4 * 10 * (4 + 8)
    assert count_weights(network) == (4 * 8 + 8 + 8 * 2 + 2, 0)


def test_without_a_backward_pass_nothing_is_kept() -> None:
    with torch.device("meta"):
        layer = nn.Conv2d(2, 3, 3, padding=1)
        x = torch.empty(1, 2, 6, 6)
    cost = count_pass(layer, lambda: layer(x), backward=False)
    assert (cost.forward, cost.backward, cost.kept_bytes) == (2 * 6 * 6 * 3 * 2 * 9, 0, 0)
