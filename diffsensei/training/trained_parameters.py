"""Which parameters of the UNet stage 1 trains: all, LoRA, or only what the conditions added (reference code)."""

from collections.abc import Callable

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft import LoraConfig

from diffsensei.config.schema import GeneratorStageConfig

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
CHARACTER_BRANCH = ("to_k_ip.", "to_v_ip.", "character_box_embedding.")
"""Parts of the names of what characters added to the UNet."""
DIALOG_BRANCH = ("dialog_bbox_embedding", "time_embedding.cond_proj.")


def select_trained(unet: UNet2DConditionModel, config: GeneratorStageConfig) -> None:
    """Let exactly the parameters that ``config.trained`` names require gradients; ``lora`` also adds them, in place."""
    SELECTIONS[config.trained](unet, config)


def merge_lora(unet: UNet2DConditionModel) -> None:
    """Fold LoRA, where there is any, into the weights it adapts: ``unet`` has its own names again."""
    if getattr(unet, "peft_config", None):
        unet.fuse_lora()
        unet.unload_lora()


def _full(unet: UNet2DConditionModel, config: GeneratorStageConfig) -> None:
    unet.requires_grad_(True)


def _lora(unet: UNet2DConditionModel, config: GeneratorStageConfig) -> None:
    """LoRA on the attention, and the character branch; the dialog embedding stays as it is."""
    unet.requires_grad_(False)
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]
        init_lora_weights="gaussian",
        target_modules=list(LORA_TARGETS),
    )
    unet.add_adapter(lora)
    _train_named(unet, CHARACTER_BRANCH)


def _new(unet: UNet2DConditionModel, config: GeneratorStageConfig) -> None:
    unet.requires_grad_(False)
    _train_named(unet, CHARACTER_BRANCH + DIALOG_BRANCH)


def _ip(unet: UNet2DConditionModel, config: GeneratorStageConfig) -> None:
    unet.requires_grad_(False)
    _train_named(unet, CHARACTER_BRANCH)


def _train_named(unet: UNet2DConditionModel, parts: tuple[str, ...]) -> None:
    for name, parameter in unet.named_parameters():
        if any(part in name for part in parts):
            parameter.requires_grad_(True)


SELECTIONS: dict[str, Callable[[UNet2DConditionModel, GeneratorStageConfig], None]] = {
    "full": _full,
    "lora": _lora,
    "new": _new,
    "ip": _ip,
}
"""By the value of `GeneratorStageConfig.trained`."""
