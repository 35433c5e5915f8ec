"""The measurements, each a line or a few as they come: ceiling, training, stage 2, drawing."""

from collections.abc import Callable, Iterator

import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from torch import nn

from diffsensei.diffusion.noise_schedule import NOISE_SCHEDULE
from diffsensei.inference.request import PanelRequest
from diffsensei.methods.image_generator import ImageGenerator
from diffsensei.models.compilation import compile_blocks
from diffsensei.models.identity_adapter import IdentityAdapter
from diffsensei.training.batch import PanelBatch
from diffsensei.training.identity_adapter import IdentityAdapterObjective
from diffsensei.training.image_generator import ImageGeneratorObjective
from diffsensei.training.optimizer import build_optimizer
from tests.benchmarks.gpu.networks import (
    random_batch,
    random_conditions,
    random_llm,
    random_resampler,
    random_unet,
    random_vae,
    slot_tokenizer,
)
from tests.benchmarks.gpu.setting import Setting


def ceiling(setting: Setting) -> tuple[float, str]:
    """TFLOP/s of one large product in bfloat16, the most that this device gives, and a line about it."""
    side = setting.matrix
    a, b = (torch.randn(side, side, device=setting.device, dtype=torch.bfloat16) for _ in range(2))
    rate = 2 * side**3 / setting.seconds(lambda: a @ b) / 1e12
    gpu = setting.gpu
    share = f", {rate / gpu.teraflops:.0%} of its datasheet's {gpu.teraflops:g}" if gpu else ""
    return rate, f"product of two {side} x {side} matrices, bfloat16: {rate:.3g} TFLOP/s{share}"


def training(setting: Setting, limit: float, *, compiled: bool) -> Iterator[str]:
    """Stage 1's step: forward, backward, fused AdamW; float32 weights under bfloat16 autocast."""
    stage = setting.config.training.stage1
    unet = random_unet(setting)
    objective = ImageGeneratorObjective(unet, random_resampler(setting, unet), scaling_factor=0.13).train()
    if compiled:
        compile_blocks(unet)
    optimizer = build_optimizer(stage, dict(objective.named_parameters()))
    for side, count in setting.batches.items():
        flop = setting.passes.unet(side, stage, True, True).total
        while count:
            batch = random_batch(setting, side, count, unet, targets=False)
            try:
                seconds = setting.seconds(_step(setting, objective, optimizer, batch))
            except torch.OutOfMemoryError:
                optimizer.zero_grad(set_to_none=True)
                setting.clear()
                yield f"stage 1, {side} px: {count} panels do not fit"
                count //= 2
                continue
            rate = count * flop / seconds / 1e12
            kind = "compiled blocks" if compiled else "eager"
            yield (
                f"stage 1, {side} px, {count} panels, {kind}: {1e3 * seconds:.0f} ms, {count / seconds:.1f} panels/s, "
                f"{_rates(setting, rate, limit)}, {setting.peak_gib():.1f} GiB"
            )
            break


def stage2(setting: Setting, limit: float) -> Iterator[str]:
    """The MLLM adapter's step, with its prompts packed and padded; the language model recomputes its activations."""
    config = setting.config
    conditioning, resampler = config.data.conditioning, config.model.resampler
    tokenizer = slot_tokenizer(conditioning.max_characters * resampler.num_queries)
    unet = random_unet(setting, torch.bfloat16).requires_grad_(False)
    llm = random_llm(setting, tokenizer)
    with torch.device(setting.device):
        adapter = IdentityAdapter(
            llm,
            tokenizer,
            config.model.adapter,
            num_characters=conditioning.max_characters,
            num_queries=resampler.num_queries,
            token_dim=unet.config["cross_attention_dim"],
        )
    llm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    extractor = random_resampler(setting, unet).to(torch.bfloat16)
    side = min(setting.batches)
    for row_tokens in (None, 1024):
        objective = IdentityAdapterObjective(adapter, unet, extractor, config.model.adapter, 0.13, row_tokens).train()
        learnt = {name: p for name, p in objective.named_parameters() if p.requires_grad}
        for parameter in learnt.values():
            parameter.data = parameter.data.float()
        optimizer = build_optimizer(config.training.stage2, learnt)
        batch = random_batch(setting, side, setting.prompts, unet, targets=True)
        seconds = setting.seconds(_step(setting, objective, optimizer, batch), warm=2, repeats=5)
        how = "padded" if row_tokens is None else f"in rows of {row_tokens} tokens"
        yield (
            f"stage 2, {side} px, {setting.prompts} panels, prompts {how}: {1e3 * seconds:.0f} ms, "
            f"{setting.prompts / seconds:.1f} panels/s, {setting.peak_gib():.1f} GiB"
        )


def drawing(setting: Setting, limit: float, *, compiled: bool = False, graphs: bool = False) -> Iterator[str]:
    """30 guided steps in bfloat16 and the autoencoder in float32, from conditions to pictures; with ``compiled``
    blocks, and steps recorded as CUDA ``graphs``."""
    unet = random_unet(setting, torch.bfloat16).eval().requires_grad_(False)
    if compiled:
        compile_blocks(unet)
    scheduler = EulerDiscreteScheduler(**NOISE_SCHEDULE)
    generator = ImageGenerator(random_vae(setting), (), unet, scheduler, cuda_graphs=graphs)
    how = ", ".join(["compiled blocks"] * compiled + ["recorded steps"] * graphs) or "eager"
    sampling = setting.config.sampling.replaced(batch_size=max(setting.drawn.values()))
    for side, most in setting.drawn.items():
        for count in dict.fromkeys((1, most)):
            panels = [
                PanelRequest(panel_id=f"p{index}", height=side, width=side, caption="", seed=index)
                for index in range(count)
            ]
            negative, positive = (random_conditions(setting, count, unet, torch.bfloat16) for _ in range(2))

            def draw(panels=panels, negative=negative, positive=positive) -> object:  # type: ignore[no-untyped-def]
                predict = generator.predictor(negative, positive, sampling)
                return generator.painter.decode(generator.painter.sample(panels, predict, sampling))

            seconds = setting.seconds(draw, warm=1, repeats=3)
            flop = 2 * setting.passes.loop(side, True, sampling.steps)
            flop += setting.passes.vae_decode(setting.config.model.foundations.vae, side)
            yield (
                f"drawing, {side} px, {count} together, {sampling.steps} steps, {how}: {count / seconds:.2f} panels/s, "
                f"{_rates(setting, count * flop / seconds / 1e12, limit)}, {setting.peak_gib():.1f} GiB"
            )


def _step(
    setting: Setting, objective: nn.Module, optimizer: torch.optim.Optimizer, batch: PanelBatch
) -> Callable[[], None]:
    noise = torch.Generator(setting.device).manual_seed(0)

    def run() -> None:
        with torch.autocast(setting.device.type, torch.bfloat16):
            loss = objective(batch, noise)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run


def _rates(setting: Setting, rate: float, limit: float) -> str:
    gpu = setting.gpu
    shares = [f"{rate / limit:.0%} of the ceiling"] + ([f"{rate / gpu.teraflops:.0%} of the datasheet"] if gpu else [])
    return f"{rate:.3g} TFLOP/s ({', '.join(shares)})"
