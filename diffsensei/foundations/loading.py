"""Loads the frozen parts (paper sec. 5.1) from the hub's folder formats: one path for released and embedded weights.

All loaders are strict: safetensors (of Magi, published as a pickle, the tensors alone), never code from a checkpoint,
and a missing file, a missing or unexpected key or a key of another shape is a ValueError of one line that names it.
Models come back in evaluation mode, without gradients, in float32 whatever precision they are stored in (``dtype``
asks for another).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
    ConditionalDetrImageProcessorPil,
    ConditionalDetrModel,
    Dinov2Model,
    LlamaForCausalLM,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    ViTImageProcessorPil,
    ViTMAEModel,
)
from transformers.image_processing_utils import BaseImageProcessor

from diffsensei.foundations.dialog_detector import DialogDetector, HeatmapDetector
from diffsensei.foundations.locations import WEIGHTS, Location, foundation_digest, resolve
from diffsensei.foundations.magi_dialogs import MagiDialogDetector
from diffsensei.magi.layout import CROPS_PREFIX, DETECTION_PREFIX, EVERY_PATCH, crop_encoder, is_magi, take_apart
from diffsensei.magi.magi import Magi
from diffsensei.magi.network import MagiNetwork

__all__ = ["WEIGHTS", "Location", "foundation_digest", "resolve"]

NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
"""SDXL's (scheduler/scheduler_config.json of its base model): 1000 steps, alpha-bar 0.9991 to 0.0047."""

_CRASHES = (OSError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError, SafetensorError, HfHubHTTPError)
_LISTED_KEYS = 8
_PICKLE = "pytorch_model.bin"


@dataclass(frozen=True)
class TextEncoder:
    tokenizer: PreTrainedTokenizerBase
    model: CLIPTextModel | CLIPTextModelWithProjection


@dataclass(frozen=True)
class ImageEncoder:
    """``processor(images=[...], return_tensors="pt").pixel_values`` is what ``model`` takes."""

    model: PreTrainedModel
    processor: BaseImageProcessor


@dataclass(frozen=True)
class LanguageModel:
    tokenizer: PreTrainedTokenizerBase
    model: LlamaForCausalLM


@dataclass(frozen=True)
class VisionLanguageModel:
    processor: LlavaNextProcessor
    model: LlavaNextForConditionalGeneration


@dataclass(frozen=True)
class JudgeClip:
    model: CLIPModel
    tokenizer: PreTrainedTokenizerBase
    processor: BaseImageProcessor


def load_vae(reference: str, dtype: torch.dtype = torch.float32) -> AutoencoderKL:
    """The autoencoder of SDXL's ``vae`` folder: images (B, 3, h, w) in [-1, 1]."""
    return _model(AutoencoderKL, resolve(reference), torch_dtype=dtype)


def load_text_encoder(reference: str, dtype: torch.dtype = torch.float32) -> TextEncoder:
    """A text encoder (projected if its config's architecture says so), with the tokenizer that lies beside it."""
    location = resolve(reference)
    (architecture,) = _read_config(location).get("architectures") or ["none"]
    classes = {"CLIPTextModel": CLIPTextModel, "CLIPTextModelWithProjection": CLIPTextModelWithProjection}
    if architecture not in classes:
        raise ValueError(f"{reference}: expected architecture {' or '.join(classes)}, got {architecture}")
    return TextEncoder(_tokenizer(CLIPTokenizer, location), _model(classes[architecture], location, dtype=dtype))


def load_tokenizer(reference: str) -> PreTrainedTokenizerBase:
    """The tokenizer of `load_text_encoder` alone, without the model's weights."""
    location = resolve(reference)
    _read_config(location)  # without a model beside it, a folder of that name is something else
    return _tokenizer(CLIPTokenizer, location)


def load_clip_image_encoder(reference: str, dtype: torch.dtype = torch.float32) -> ImageEncoder:
    """A CLIP vision tower. A folder without preprocessor (as IP-Adapter's) gets CLIP's own at the model's size."""
    location = resolve(reference)
    model = _model(CLIPVisionModelWithProjection, location, dtype=dtype)
    if _has_file(location, "preprocessor_config.json"):
        return ImageEncoder(model, _processor(CLIPImageProcessorPil, location))
    side = model.config.image_size
    return ImageEncoder(
        model, CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    )


MAGI_PATCHES: dict[str, dict[str, float]] = {"all": EVERY_PATCH, "masked": {}}
"""What replaces values of the encoder's own configuration, by `FidelityConfig.magi_patches`."""


def load_magi_image_encoder(
    reference: str, dtype: torch.dtype = torch.float32, patches: Literal["all", "masked"] = "all"
) -> ImageEncoder:
    """Magi's crop encoder, a ViT-MAE that sees every patch, or with ``patches`` masked hides the share it was built to.

    Reads a plain ViTMAE folder, or Magi's own layout, where the encoder lies under a prefix of one large checkpoint and
    its configuration and preprocessing inside the top-level configuration.
    """
    location = resolve(reference)
    config = _read_config(location)
    if not is_magi(config):
        return ImageEncoder(
            _model(ViTMAEModel, location, dtype=dtype, **MAGI_PATCHES[patches]),
            _processor(ViTImageProcessorPil, location),
        )
    state = _read_magi_state(location)
    parts = _checked(location, lambda: crop_encoder(config, state, MAGI_PATCHES[patches]))
    # Through from_pretrained, because the library's own names differ from those checkpoints are stored under.
    model = _model(ViTMAEModel, location, config=parts.config, state_dict=parts.state, dtype=dtype)
    return ImageEncoder(model, _checked(location, lambda: ViTImageProcessorPil(**parts.processing)))


def load_magi(reference: str, dtype: torch.dtype = torch.float32) -> Magi:
    """Magi v1 whole, but for its reader of text: what finds panels, characters and texts on pages."""
    location = resolve(reference)
    config, state = _read_config(location), _read_magi_state(location)
    layout = _checked(location, lambda: take_apart(config, state))
    detection, crops = (
        _model(model_class, location, config=part.config, state_dict=part.state, dtype=dtype)
        for model_class, part in ((ConditionalDetrModel, layout.detection), (ViTMAEModel, layout.crops))
    )
    network = _checked(location, lambda: MagiNetwork(detection, crops))
    loaded = {
        prefix + key: value
        for prefix, model in ((DETECTION_PREFIX, detection), (CROPS_PREFIX, crops))
        for key, value in model.state_dict().items()
    }
    fill_strictly(network, loaded | layout.other_state, reference)
    processors = _checked(
        location,
        lambda: (
            ConditionalDetrImageProcessorPil(**layout.detection.processing),
            ViTImageProcessorPil(**layout.crops.processing),
        ),
    )
    magi = Magi(network, *processors).to(dtype).eval()
    return magi.requires_grad_(False)


def load_llm(reference: str, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """A Llama with the image-slot tokens in its vocabulary, and its tokenizer."""
    location = resolve(reference)
    return LanguageModel(_tokenizer(PreTrainedTokenizerFast, location), _model(LlamaForCausalLM, location, dtype=dtype))


def load_llava_next(reference: str, dtype: torch.dtype = torch.float32) -> VisionLanguageModel:
    """LLaVA-NeXT (v1.6), with a processor that pads on the left, as generating in batches needs."""
    location = resolve(reference)
    model = _model(LlavaNextForConditionalGeneration, location, dtype=dtype)
    subfolder = location.subfolder or ""
    processor = _checked(location, lambda: LlavaNextProcessor.from_pretrained(location.source, subfolder=subfolder))
    if not processor.chat_template:
        raise ValueError(f"{reference}: its processor has no chat template; use a folder of the llava-hf family")
    processor.tokenizer.padding_side = "left"
    return VisionLanguageModel(processor, model)


def load_judge_clip(reference: str, dtype: torch.dtype = torch.float32) -> JudgeClip:
    """CLIP with both towers, for text-image agreement."""
    location = resolve(reference)
    return JudgeClip(
        _model(CLIPModel, location, dtype=dtype),
        _tokenizer(CLIPTokenizer, location),
        load_clip_processor(reference),
    )


def load_clip_processor(reference: str) -> BaseImageProcessor:
    """How a CLIP model prepares pictures, without its weights."""
    return _processor(CLIPImageProcessorPil, resolve(reference))


def load_judge_dino(reference: str, dtype: torch.dtype = torch.float32) -> ImageEncoder:
    """DINOv2, for image-image similarity by its CLS token."""
    return ImageEncoder(_model(Dinov2Model, resolve(reference), dtype=dtype), load_dino_processor(reference))


def load_dino_processor(reference: str) -> BaseImageProcessor:
    """How DINOv2 prepares pictures, without its weights."""
    return _processor(BitImageProcessorPil, resolve(reference))


def load_dialog_detector(reference: str) -> DialogDetector:
    """The detector of dialogs in a folder of our own format (`dialog_detector`), or Magi's."""
    location = resolve(reference)
    config = _read_config(location)
    if is_magi(config):
        return MagiDialogDetector(load_magi(reference)).eval()
    detector = _checked(location, lambda: HeatmapDetector(**config))
    fill_strictly(detector, _read_state(location), reference)
    return detector.float().eval().requires_grad_(False)


def is_magi_detector(reference: str) -> bool:
    """Whether `load_dialog_detector` gives Magi, which finds characters, too."""
    return is_magi(_read_config(resolve(reference)))


def fill_strictly(model: torch.nn.Module, state: dict[str, torch.Tensor], name: str) -> None:
    """Copy ``state`` into ``model``. Raises ValueError listing missing, unexpected and misshapen keys."""
    own = model.state_dict()
    refuse_keys(
        name,
        missing=own.keys() - state.keys(),
        unexpected=state.keys() - own.keys(),
        mismatched={key for key in own.keys() & state.keys() if own[key].shape != state[key].shape},
    )
    model.load_state_dict(state)


def refuse_keys(name: str, *, missing: set[str], unexpected: set[str], mismatched: set[str]) -> None:
    """Raises ValueError (one line, at most 8 names of a kind and their number) where any set is not empty."""
    found = {"missing": missing, "unexpected": unexpected, "of another shape": mismatched}
    wrong = [f"{len(keys)} {kind}: {_listed(keys)}" for kind, keys in found.items() if keys]
    if wrong:
        raise ValueError(f"{name}: keys {'; '.join(wrong)}")


# ---------------------------------------------------------------- reading


def _model(model_class: Any, location: Location, **options: Any) -> Any:
    """A model from its folder, or from ``state_dict`` and ``config`` among ``options``."""
    if not location.is_hub and "state_dict" not in options:
        _require(location, "config.json")
        if not list(location.folder().glob("*.safetensors")):
            raise ValueError(f"{location.reference}: no *.safetensors in {location.folder()}")
    if "state_dict" not in options:
        options["subfolder"] = location.subfolder or ""
    if model_class is AutoencoderKL:
        # diffusers lists keys of another shape only so.
        options["low_cpu_mem_usage"] = False
    # Mismatched keys are let through here to be listed with the others below.
    model, info = _checked(
        location,
        lambda: model_class.from_pretrained(
            None if "state_dict" in options else location.source,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        ),
    )
    refuse_keys(
        location.reference,
        missing=set(info["missing_keys"]),
        unexpected=set(info["unexpected_keys"]),
        mismatched={key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]},
    )
    return model.eval().requires_grad_(False)


def _tokenizer(tokenizer_class: Any, location: Location) -> PreTrainedTokenizerBase:
    beside = location.tokenizer_beside()
    if not beside.is_hub and not beside.folder().is_dir():
        raise ValueError(f"{location.reference}: no tokenizer folder {beside.folder()}")
    return _checked(beside, lambda: tokenizer_class.from_pretrained(beside.source, subfolder=beside.subfolder or ""))


def _processor(processor_class: Any, location: Location) -> BaseImageProcessor:
    if not location.is_hub:
        _require(location, "preprocessor_config.json")
    return _checked(
        location, lambda: processor_class.from_pretrained(location.source, subfolder=location.subfolder or "")
    )


def _read_config(location: Location) -> dict[str, Any]:
    config = _checked(location, lambda: json.loads(_file(location, "config.json").read_text()))
    if not isinstance(config, dict):
        raise ValueError(f"{location.reference}: config.json is not a JSON object")
    return config


def _read_state(location: Location) -> dict[str, torch.Tensor]:
    return _checked(location, lambda: load_file(_file(location, "model.safetensors")))


def _read_magi_state(location: Location) -> dict[str, torch.Tensor]:
    """Magi's tensors, from safetensors where there are any and else from the pickle it was published as."""
    if _has_file(location, "model.safetensors"):
        return _read_state(location)
    if not location.is_hub and not _has_file(location, _PICKLE):
        raise ValueError(f"{location.reference}: neither model.safetensors nor {_PICKLE} in {location.folder()}")
    state = _checked(location, lambda: torch.load(_file(location, _PICKLE), map_location="cpu", weights_only=True))
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{location.reference}: {_PICKLE} is not a state dict; expected names with their tensors")
    return state


def _file(location: Location, name: str) -> Path:
    if location.is_hub:
        return Path(hf_hub_download(location.source, name, subfolder=location.subfolder))
    return _require(location, name)


def _has_file(location: Location, name: str) -> bool:
    try:
        return _file(location, name).is_file()
    except (ValueError, OSError, HfHubHTTPError):
        return False


def _require(location: Location, name: str) -> Path:
    path = location.folder() / name
    if not path.is_file():
        raise ValueError(f"{location.reference}: no {name} in {location.folder()}")
    return path


def _checked(location: Location, load: Any) -> Any:
    """``load()``, with the libraries' many-line errors turned into one line that names the reference."""
    try:
        return load()
    except _CRASHES as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        if first.startswith(location.reference):
            raise
        hint = "; it must be downloaded or in the hub's cache" if location.is_hub else ""
        raise ValueError(f"{location.reference}: cannot be loaded{hint} ({first})") from error
    except TypeError as error:
        raise ValueError(f"{location.reference}: its configuration does not fit ({error})") from error


def _listed(keys: set[str]) -> str:
    names = sorted(keys)
    more = f" and {len(names) - _LISTED_KEYS} more" if len(names) > _LISTED_KEYS else ""
    return ", ".join(names[:_LISTED_KEYS]) + more
