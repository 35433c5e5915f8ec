"""The release's image encoders. CLIP's is read as any foundation; Magi's crop encoder comes as a pickle."""

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import ViTImageProcessorPil, ViTMAEConfig, ViTMAEModel

from diffsensei.foundations.loading import MAGI_PATCHES, ImageEncoder
from diffsensei.foundations.reading import refuse_keys
from diffsensei.released.layout import PICKLED, read_object
from diffsensei.released.stored import pickled_state


def load_released_magi(folder: Path, patches: Literal["all", "masked"], *, dtype: torch.dtype) -> ImageEncoder:
    """``folder/config.json`` and ``folder/pytorch_model.bin``: a plain ViT-MAE encoder, under transformers' old names.

    It sees every patch, or with ``patches`` masked only those that its configuration's mask ratio leaves. Its images
    are squashed to a square and scaled to [-1, 1] (reference code) unless the folder has its own
    ``preprocessor_config.json``. Raises ValueError if the tensors do not fit.
    """
    config = ViTMAEConfig.from_dict(read_object(folder / "config.json") | MAGI_PATCHES[patches])
    weights = folder / PICKLED
    state = {name: tensor.read() for name, tensor in pickled_state(weights).items()}
    # Through from_pretrained, because the library's own names differ from those checkpoints are stored under.
    loaded: Any = ViTMAEModel.from_pretrained(
        None, config=config, state_dict=state, dtype=dtype, ignore_mismatched_sizes=True, output_loading_info=True
    )
    model, info = loaded
    refuse_keys(
        str(weights),
        missing=set(info["missing_keys"]),
        unexpected=set(info["unexpected_keys"]),
        mismatched={key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]},
    )
    side: Any = config.image_size
    if (folder / "preprocessor_config.json").is_file():
        processor = ViTImageProcessorPil.from_pretrained(folder)
    else:
        processor = ViTImageProcessorPil(
            size={"height": side, "width": side}, image_mean=[0.5] * 3, image_std=[0.5] * 3
        )
    return ImageEncoder(model.eval().requires_grad_(False), processor)
