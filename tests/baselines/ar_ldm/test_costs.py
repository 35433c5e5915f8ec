import pytest

from diffsensei.baselines.ar_ldm.costs import COSTS, _encoder, _unet
from diffsensei.baselines.stable_diffusion_costs import meta_sd_unet
from diffsensei.config import load_preset
from tests.costs.workloads import few, workload

PAPER, TINY = load_preset("paper"), load_preset("tiny")


def test_its_unet_is_stable_diffusions_and_everything_is_trained() -> None:

    base, method = PAPER.baselines.stable_diffusion, PAPER.baselines.ar_ldm
    unet = meta_sd_unet(base)
    assert sum(p.numel() for p in unet.parameters()) == pytest.approx(859.5e6, rel=1e-3)
    # Stable Diffusion at 512 pixels: some 0.8 TFLOP a pass; the history lengthens what is read, not the pictures.
    alone, with_history = (_unet(unet, method, base, 512, n, backward=False).forward for n in (0, 4))
    assert alone == pytest.approx(0.80e12, rel=0.05)
    assert alone < with_history < 1.1 * alone
    # CLIP's text encoder (123 million), BLIP's two towers (304 million, and 138 with attention to images).
    encoder = _encoder(method, base)
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx((123 + 304 + 138) * 1e6, rel=0.03)


def test_pages_with_more_before_a_panel_cost_more() -> None:
    assert TINY.baselines.ar_ldm.window >= 2
    # Two panels after the given one each: with one earlier panel four times, or with one and two twice each.
    short = COSTS["generate_ar_ldm"](workload(TINY, few({2: 4}))).teraflop
    long = COSTS["generate_ar_ldm"](workload(TINY, few({3: 2}))).teraflop
    assert long > short


def test_twice_the_steps_are_twice_the_training() -> None:
    steps = TINY.baselines.ar_ldm.training.steps
    longer = load_preset("tiny", [f"baselines.ar_ldm.training.steps={2 * steps}"])
    once, twice = (COSTS["ar_ldm"](workload(config, few({2: 4}))) for config in (TINY, longer))
    assert twice.teraflop == pytest.approx(2 * once.teraflop)
    assert twice.memory_bytes == once.memory_bytes
