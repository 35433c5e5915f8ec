"""SDXL with subject attention, and dialogs where the row has them: what was added, apart from SDXL's own weights.

Outside all boxes a position reads nothing but the caption: the tokens it would attend to are 0, and keys and values
have no bias, so that the stock masked character attention says 0 there. The published code reaches the same by setting
those rows to 0, which is why the placeholder tokens it stores have no influence and are left out here.
"""

from pathlib import Path

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diffsensei.models.unet import add_manga_conditions

SUBJECT_BRANCH = (".to_k_ip.weight", ".to_v_ip.weight")
DIALOG_BRANCH = "dialog_bbox_embedding"
WEIGHTS = "adapter.safetensors"


def add_subjects(unet: UNet2DConditionModel, num_queries: int, max_subjects: int, dialogs: str) -> None:
    """Install subject attention (and ``dialogs``: ``none`` or ``mask``), in place."""
    add_manga_conditions(
        unet, num_queries, max_characters=max_subjects, characters="mask", dialogs=dialogs, mask="touched"
    )


def trains_sdxl(unet: UNet2DConditionModel) -> bool:
    """Whether any weight beside the added ones requires gradients."""
    own = adapter_parameters(unet)
    return any(parameter.requires_grad for name, parameter in unet.named_parameters() if name not in own)


def adapter_parameters(unet: UNet2DConditionModel) -> dict[str, nn.Parameter]:
    """What `add_subjects` added, by name."""
    return {
        name: parameter
        for name, parameter in unet.named_parameters()
        if name.endswith(SUBJECT_BRANCH) or name == DIALOG_BRANCH
    }


def save_adapter(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write what was added to ``folder/adapter.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: parameter.detach().contiguous() for name, parameter in adapter_parameters(unet).items()}
    save_file(tensors, folder / WEIGHTS)


def load_adapter(unet: UNet2DConditionModel, folder: Path) -> None:
    """Copy it back, all or nothing. Raises ValueError where names or shapes differ."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise ValueError(f"expected {WEIGHTS} in {folder}, found none; give the output of the MS-Diffusion stage")
    stored: dict[str, Tensor] = load_file(path)
    own = adapter_parameters(unet)
    odd = sorted(
        name
        for name in stored.keys() | own.keys()
        if name not in stored or name not in own or stored[name].shape != own[name].shape
    )
    if odd:
        raise ValueError(f"{path} does not fit this UNet: {odd[:5]} missing, left over or of another shape")
    for name, parameter in own.items():
        parameter.data.copy_(stored[name])
