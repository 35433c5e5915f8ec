import pytest

from diffsensei.baselines.ms_diffusion.costs import COSTS
from diffsensei.config import load_preset
from tests.costs.workloads import few, workload

TINY = load_preset("tiny")


def test_the_row_with_dialogs_trains_the_unet_and_holds_more_for_it() -> None:
    # Both rows for as many steps.
    steps = TINY.baselines.ms_diffusion.training.steps
    config = load_preset("tiny", [f"baselines.ms_diffusion.dialogs_training.steps={steps}"])
    plain, dialogs = (COSTS[name](workload(config, few({3: 2}))) for name in ("ms_diffusion", "ms_diffusion_dialogs"))
    whole = load_preset("tiny", ["baselines.ms_diffusion.training.trained=full"])
    alike = COSTS["ms_diffusion"](workload(whole, few({3: 2})))
    assert TINY.baselines.ms_diffusion.training.trained == "ip"
    assert plain.memory_bytes < dialogs.memory_bytes
    assert plain.teraflop < dialogs.teraflop
    assert alike.teraflop == pytest.approx(dialogs.teraflop, rel=0.01), "a dialog's shift costs next to nothing"


def test_drawing_pays_for_its_own_image_encoder() -> None:
    work = workload(TINY, few({3: 2}))
    same = COSTS["generate_ms_diffusion"](work)
    other = load_preset("tiny", ["baselines.ms_diffusion.clip_image_encoder=openai/clip-vit-large-patch14"])
    larger = COSTS["generate_ms_diffusion"](workload(other, few({3: 2})))
    panels = 4 * len(TINY.evaluation.seeds)
    more = work.passes.image("openai/clip-vit-large-patch14") - work.passes.image(
        TINY.baselines.ms_diffusion.clip_image_encoder
    )
    assert larger.teraflop - same.teraflop == pytest.approx(1.5 * panels * more / 1e12, rel=1e-6)
