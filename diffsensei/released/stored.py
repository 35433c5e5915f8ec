"""Tensors in files, each read when it is needed, so that a network is never held twice.

Pickles are read with ``weights_only``: a file that would run code is refused before any of it runs.
"""

import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from diffsensei.foundations.reading import refuse_keys
from diffsensei.released.layout import PICKLED, read_object, require_file

_NOT_TENSORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)
"""What unpickling raises on a file that is damaged or holds more than tensors."""


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """``read()`` gives the tensor, in the precision it is stored in, on the CPU."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]


State = Mapping[str, StoredTensor]


def read_pickle(path: Path) -> dict[str, Any]:
    """A dict of tensors, or of such dicts, mapped from the file where its format allows.

    Raises ValueError if the file is missing, damaged, no dict, or holds anything but tensors.
    """
    require_file(path)
    try:
        value = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except _NOT_TENSORS as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ValueError(
            f"{path}: expected a pickle of nothing but tensors, got {reason} (nothing in it was run); "
            "download the file again, and compare its checksum with the publisher's"
        ) from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a dict of tensors, got {type(value).__name__}; give a saved state dict")
    return value


def pickled_state(path: Path) -> State:
    """The tensors of a pickled state dict. Raises ValueError as `read_pickle`, and if it is not flat."""
    return stored(read_pickle(path), str(path))


def stored(tensors: Mapping[str, Any], source: str) -> State:
    """Tensors (or parameters) already read. Raises ValueError for values that are none, named after ``source``."""
    odd = [str(name) for name, value in tensors.items() if not isinstance(value, Tensor) or not isinstance(name, str)]
    if odd:
        raise ValueError(f"{source}: expected named tensors only, got others under {odd[:5]} ({len(odd)} in all)")
    return {name: StoredTensor(tuple(tensor.shape), tensor.detach) for name, tensor in tensors.items()}


def safetensors_state(path: Path) -> State:
    """The tensors of one safetensors file. Raises ValueError if it is missing or damaged."""
    try:
        file = safe_open(require_file(path), framework="pt")
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); download the file again") from None

    def reader(name: str) -> Callable[[], Tensor]:
        return lambda: file.get_tensor(name)

    return {name: StoredTensor(shape, reader(name)) for name, shape in shapes.items()}


def folder_state(folder: Path) -> State:
    """The tensors of a transformers folder: one file or shards with their index, safetensors before pickle.

    Raises ValueError if there are no weights, a shard is missing, or shards and index disagree.
    """
    for name, read in (("model.safetensors", safetensors_state), (PICKLED, pickled_state)):
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _sharded(index, read)
        if (folder / name).is_file():
            return read(folder / name)
    raise ValueError(f"expected model.safetensors or {PICKLED}, whole or in shards, in {folder}; download its weights")


def _sharded(index: Path, read: Callable[[Path], State]) -> State:
    place_of = read_object(index).get("weight_map")
    if not isinstance(place_of, dict):
        raise ValueError(f"{index}: expected a weight_map, found none; download the file again")
    shards = {name: read(index.parent / Path(str(name)).name) for name in sorted(set(place_of.values()))}
    found = [(name, shard) for shard, state in shards.items() for name in state]
    refuse_keys(
        str(index),
        missing={name for name, shard in place_of.items() if name not in shards[shard]},
        unexpected={name for name, shard in found if place_of.get(name) != shard},
        mismatched=set(),
    )
    return {name: shards[shard][name] for name, shard in place_of.items()}


def first_shape(state: State, name: str, rank: int, source: str) -> tuple[int, ...]:
    """Shape of the tensor that tells a network's width. Raises ValueError if it is missing or not of ``rank``."""
    if name not in state or len(state[name].shape) != rank:
        got = f"shape {state[name].shape}" if name in state else f"{len(state)} others"
        raise ValueError(
            f"{source}: expected a tensor {name} with {rank} dimensions, got {got}; is it another network?"
        )
    return state[name].shape


def fill(
    module: nn.Module,
    state: State,
    source: str,
    *,
    device: torch.device,
    dtype: torch.dtype | None,
    changed: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor,
) -> None:
    """Give ``module`` (built on the meta device) its tensors, one after the other, each passed through ``changed``.

    ``dtype`` None keeps the precision they are stored in. Raises ValueError listing missing, unexpected and misshapen
    keys, before anything is read.
    """
    check_fit(module, state, source)
    placed = {name: changed(name, tensor.read()).to(device=device, dtype=dtype) for name, tensor in state.items()}
    module.load_state_dict(placed, assign=True)


def check_fit(module: nn.Module, state: State, source: str) -> None:
    """Raises ValueError unless ``state`` has exactly the tensors of ``module``, in their shapes."""
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    refuse_keys(
        source,
        missing=own.keys() - state.keys(),
        unexpected=set(state.keys() - own.keys()),
        mismatched={name for name in own.keys() & state.keys() if own[name] != state[name].shape},
    )
