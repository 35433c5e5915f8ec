"""Released weights that training starts from: SDXL's UNet, and IP-Adapter-Plus for the character branch (sec. 5.1)."""

from pathlib import Path

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file

from diffsensei.config.schema import UNetConfig
from diffsensei.foundations.locations import resolve
from diffsensei.foundations.reading import fill_strictly
from diffsensei.models.resampler import Resampler
from diffsensei.models.unet import build_unet
from diffsensei.models.weights import below

RANDOM, NONE = "random", "none"
RESAMPLER_ONLY = ("proj_in_magi.weight", "proj_in_magi.bias", "dummy_tokens")
"""What DiffSensei's resampler has beyond IP-Adapter-Plus."""


def initial_unet(
    reference: str, config: UNetConfig, *, in_channels: int, cross_attention_dim: int, pooled_dim: int
) -> UNet2DConditionModel:
    """The UNet that ``reference`` names, or for ``random`` one of architecture ``config``.

    Raises ValueError when keys are missing or left over, or when the UNet does not fit the latents and text encoders.
    """
    if reference == RANDOM:
        return build_unet(
            config, in_channels=in_channels, cross_attention_dim=cross_attention_dim, pooled_dim=pooled_dim
        )
    location = resolve(reference)
    unet, info = UNet2DConditionModel.from_pretrained(
        location.source, subfolder=location.subfolder, use_safetensors=True, output_loading_info=True
    )
    if info["missing_keys"] or info["unexpected_keys"]:
        raise ValueError(
            f"{reference}: missing keys {sorted(info['missing_keys'])[:5]}, "
            f"unexpected keys {sorted(info['unexpected_keys'])[:5]}"
        )
    wanted = {"in_channels": in_channels, "cross_attention_dim": cross_attention_dim}
    for name, value in wanted.items():
        if unet.config[name] != value:
            raise ValueError(f"{reference}: expected {name} {value} (as the features have), got {unet.config[name]}")
    return unet


def start_from_ip_adapter(reference: str, unet: UNet2DConditionModel, resampler: Resampler) -> None:
    """Copy IP-Adapter-Plus weights (a safetensors file, local or on the hub) into the character branch, in place.

    ``image_proj.*`` goes to the resampler; ``ip_adapter.<2i+1>.to_{k,v}_ip.weight`` to the i-th cross-attention layer
    in diffusers' order of processors (down, up, then middle). ``none`` keeps the copies of the text keys and values.
    """
    if reference == NONE:
        return
    state = load_file(_file(reference))
    own = resampler.state_dict()
    projector = below("image_proj.", state) | {name: own[name] for name in RESAMPLER_ONLY if name in own}
    fill_strictly(resampler, projector, f"{reference} (image_proj)")

    parameters = unet.state_dict(keep_vars=True)
    cross_attention = [name for name in processor_order(unet) if name.endswith("attn2.processor")]
    layers = below("ip_adapter.", state)
    expected = {
        f"{2 * index + 1}.{matrix}.weight": parameters[f"{name}.{matrix}.weight"]
        for index, name in enumerate(cross_attention)
        for matrix in ("to_k_ip", "to_v_ip")
    }
    if layers.keys() != expected.keys():
        odd = sorted(layers.keys() ^ expected.keys())
        raise ValueError(
            f"{reference}: expected ip_adapter keys of {len(cross_attention)} layers; differing: {odd[:5]}"
        )
    for name, parameter in expected.items():
        if layers[name].shape != parameter.shape:
            raise ValueError(
                f"{reference}: expected ip_adapter.{name} of shape {tuple(parameter.shape)}, "
                f"got {tuple(layers[name].shape)}"
            )
        parameter.data.copy_(layers[name])


def processor_order(unet: UNet2DConditionModel) -> list[str]:
    """Names of the attention processors as IP-Adapter numbers them: down blocks, up blocks, middle."""
    blocks = ("down_blocks.", "up_blocks.", "mid_block.")
    return [name for block in blocks for name in unet.attn_processors if name.startswith(block)]


def _file(reference: str) -> Path:
    path = Path(reference).expanduser()
    if path.is_file():
        return path
    parts = reference.split("/")
    if len(parts) < 3 or not reference.endswith(".safetensors"):
        raise ValueError(
            f"expected 'none', a safetensors file or 'owner/name/path.safetensors' for model.foundations.ip_adapter, "
            f"got {reference!r}"
        )
    return Path(hf_hub_download("/".join(parts[:2]), "/".join(parts[2:])))
