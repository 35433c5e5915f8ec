import pytest

from diffsensei.baselines.storygen.costs import COSTS, _context, _network, _panel, _read_in_training
from diffsensei.config import load_preset
from tests.costs.workloads import few, workload

TINY = load_preset("tiny")
METHOD, BASE = TINY.baselines.storygen, TINY.baselines.stable_diffusion


def test_a_panel_pays_for_those_that_it_reads() -> None:
    unet = _network(BASE, None)
    one, two = (_context(unet, BASE, METHOD, count) for count in (1, 2))
    assert two[0] == pytest.approx(2 * one[0]), "each earlier panel goes through the UNet by itself"
    assert two[1].keys() == one[1].keys()
    alone = _panel(unet, BASE, 64, None, backward=False).forward
    reading = [_panel(unet, BASE, 64, features, backward=False).forward for _, features in (one, two)]
    assert alone < reading[0] < reading[1]


def test_three_conditions_and_blanks_are_drawn_at_every_step() -> None:
    """One panel after the given one: two UNet passes on it (as it is and blank) and three on the panel a step."""
    unet = _network(BASE, None)
    config = load_preset("tiny", ["evaluation.seeds=[0]"])
    work = workload(config, few({2: 1}))
    operations, features = _context(unet, BASE, METHOD, 1)
    steps = METHOD.sampling.steps * (2 * operations + 3 * _panel(unet, BASE, 64, features, backward=False).forward)
    passes = work.passes
    around = 4 * passes.caption(BASE.text_encoder) + 2 * passes.vae_encode(BASE.vae, METHOD.context_side)
    expected = steps + around + passes.vae_decode(BASE.vae, 64)
    assert COSTS["generate_storygen"](work).teraflop == pytest.approx(expected / 1e12)


def test_the_rates_of_what_a_batch_reads_are_a_distribution() -> None:
    rates = _read_in_training(load_preset("paper").baselines.storygen)
    assert rates == pytest.approx({3: 0.3, 2: 0.3, 1: 0.4})


def test_the_second_stage_trains_less_and_computes_more() -> None:
    work = workload(TINY, few({2: 1}))
    single, context = COSTS["storygen_single"](work), COSTS["storygen"](work)
    per_step = [single.teraflop / METHOD.single.steps, context.teraflop / METHOD.context.steps]
    assert per_step[1] > 1.2 * per_step[0]
