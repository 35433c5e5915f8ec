"""Reading safetensors into a module, all or nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_file
from torch import nn

WEIGHTS = "diffusion_pytorch_model.safetensors"
"""How diffusers names the weights beside a ``config.json``."""
Saved = TypeVar("Saved", bound=nn.Module)
Value = TypeVar("Value")


def load_strict(module: nn.Module, weights: Path) -> None:
    """Copy the tensors of a safetensors file into ``module``.

    Raises ValueError if the file is missing, or names or shapes differ in either direction.
    """
    if not weights.is_file():
        raise ValueError(
            f"expected weights at {weights}, found none; give the folder of a saved {type(module).__name__}"
        )
    state = load_file(weights)
    own = module.state_dict()
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    reshaped = [name for name in sorted(own.keys() & state.keys()) if own[name].shape != state[name].shape]
    if missing or unexpected or reshaped:
        raise ValueError(
            f"{weights} does not fit {type(module).__name__}: missing {missing[:5]}, unexpected {unexpected[:5]}, "
            f"of another shape {reshaped[:5]} ({len(missing)}, {len(unexpected)}, {len(reshaped)} in all); "
            "use weights saved from the same configuration"
        )
    module.load_state_dict(state)


def load_saved(kind: type[Saved], folder: Path) -> Saved:
    """A module of ``kind`` (a diffusers ``ConfigMixin``) as its ``save_pretrained`` wrote it to ``folder``.

    Raises ValueError for weights that are missing or do not fit.
    """
    configured: Any = kind
    module: Saved = configured.from_config(configured.load_config(folder))
    load_strict(module, folder / WEIGHTS)
    return module


def below(prefix: str, state: Mapping[str, Value]) -> dict[str, Value]:
    """The tensors whose names start with ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
