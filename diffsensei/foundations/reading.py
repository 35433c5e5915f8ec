"""Reads models from the hub's folder formats, strictly: one path for released and embedded weights.

Safetensors (of Magi, published as a pickle, the tensors alone), never code from a checkpoint, and a missing file, a
missing or unexpected key or a key of another shape is a ValueError of one line that names it.
"""

import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase
from transformers.image_processing_utils import BaseImageProcessor

from diffsensei.foundations.locations import Location

_CRASHES = (OSError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError, SafetensorError, HfHubHTTPError)
_LISTED_KEYS = 8
_PICKLE = "pytorch_model.bin"


def read_model(model_class: Any, location: Location, **options: Any) -> Any:
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
    model, info = checked(
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


def read_tokenizer(tokenizer_class: Any, location: Location) -> PreTrainedTokenizerBase:
    """The tokenizer that lies beside the model of ``location``."""
    beside = location.tokenizer_beside()
    if not beside.is_hub and not beside.folder().is_dir():
        raise ValueError(f"{location.reference}: no tokenizer folder {beside.folder()}")
    return checked(beside, lambda: tokenizer_class.from_pretrained(beside.source, subfolder=beside.subfolder or ""))


def read_processor(processor_class: Any, location: Location) -> BaseImageProcessor:
    """How the model of ``location`` has its pictures prepared."""
    if not location.is_hub:
        _require(location, "preprocessor_config.json")
    return checked(
        location, lambda: processor_class.from_pretrained(location.source, subfolder=location.subfolder or "")
    )


def read_config(location: Location) -> dict[str, Any]:
    """``config.json``."""
    config = checked(location, lambda: json.loads(_file(location, "config.json").read_text()))
    if not isinstance(config, dict):
        raise ValueError(f"{location.reference}: config.json is not a JSON object")
    return config


def read_state(location: Location) -> dict[str, torch.Tensor]:
    """``model.safetensors``."""
    return checked(location, lambda: load_file(_file(location, "model.safetensors")))


def read_magi_state(location: Location) -> dict[str, torch.Tensor]:
    """Magi's tensors, from safetensors where there are any and else from the pickle it was published as."""
    if has_file(location, "model.safetensors"):
        return read_state(location)
    if not location.is_hub and not has_file(location, _PICKLE):
        raise ValueError(f"{location.reference}: neither model.safetensors nor {_PICKLE} in {location.folder()}")
    state = checked(location, lambda: torch.load(_file(location, _PICKLE), map_location="cpu", weights_only=True))
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{location.reference}: {_PICKLE} is not a state dict; expected names with their tensors")
    return state


def has_file(location: Location, name: str) -> bool:
    """Whether there is a file ``name``, which a hub is asked for."""
    try:
        return _file(location, name).is_file()
    except (ValueError, OSError, HfHubHTTPError):
        return False


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


def checked(location: Location, load: Any) -> Any:
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


def _file(location: Location, name: str) -> Path:
    if location.is_hub:
        return Path(hf_hub_download(location.source, name, subfolder=location.subfolder))
    return _require(location, name)


def _require(location: Location, name: str) -> Path:
    path = location.folder() / name
    if not path.is_file():
        raise ValueError(f"{location.reference}: no {name} in {location.folder()}")
    return path


def _listed(keys: set[str]) -> str:
    names = sorted(keys)
    more = f" and {len(names) - _LISTED_KEYS} more" if len(names) > _LISTED_KEYS else ""
    return ", ".join(names[:_LISTED_KEYS]) + more
