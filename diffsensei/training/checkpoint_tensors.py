"""Groups of tensors in the files of a checkpoint: whole ones in one file, those in parts in one file of each process.

The latter are written and read by PyTorch's distributed checkpoints in their safetensors form: where a part belongs
stands in its file's header, so that, unlike with their default form, nothing is pickled, and other numbers of processes
can read them.
"""

import warnings
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor import empty as empty_parts

from diffsensei.training.ranks import Ranks

SUFFIX = ".safetensors"


def write_group(folder: Path, group: str, tensors: dict[str, Tensor], mesh: DeviceMesh | None) -> list[Path]:
    """Write ``<group>.safetensors`` or, with the others of ``mesh``, files in ``<group>/``; those of this process."""
    if mesh is None:
        path = folder / f"{group}{SUFFIX}"
        save_file(tensors, path)
        return [path]
    writer = HuggingFaceStorageWriter(str(folder / group), save_distributed=True)
    dcp.save(tensors, storage_writer=writer, process_group=mesh.get_group())
    own = Ranks(mesh).rank + 1
    return sorted((folder / group).glob(f"shard-{own:05d}-*{SUFFIX}"))


def read_groups(folder: Path, mesh: DeviceMesh | None) -> dict[str, dict[str, Tensor]]:
    """All groups in ``folder``, on the CPU: in parts over the processes of ``mesh``, or whole."""
    paths = sorted(path for path in folder.iterdir() if path.is_dir() or path.suffix == SUFFIX)
    return {path.stem: _read_parts(path, mesh) if path.is_dir() else _read_whole(path, mesh) for path in paths}


def _read_whole(file: Path, mesh: DeviceMesh | None) -> dict[str, Tensor]:
    tensors = load_file(file)
    if mesh is None:
        return tensors
    return {name: _part(tensor, mesh) for name, tensor in tensors.items()}


def _part(tensor: Tensor, mesh: DeviceMesh) -> Tensor:
    # Every process has read all of it: none has to send it.
    return tensor if tensor.ndim == 0 else distribute_tensor(tensor, mesh, [Shard(0)], src_data_rank=None)


def _read_parts(folder: Path, mesh: DeviceMesh | None) -> dict[str, Tensor]:
    stored = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    tensors = {name: _room(entry.size, entry.properties.dtype, mesh) for name, entry in stored.items()}  # type: ignore[union-attr]
    reader = HuggingFaceStorageReader(str(folder))
    if mesh is not None:
        dcp.load(tensors, storage_reader=reader, process_group=mesh.get_group())
        return tensors
    with warnings.catch_warnings():  # that one process reads is meant
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.load(tensors, storage_reader=reader, no_dist=True)
    return tensors


def _room(size: torch.Size, dtype: torch.dtype, mesh: DeviceMesh | None) -> Tensor:
    if mesh is None or len(size) == 0:
        return torch.empty(size, dtype=dtype)
    return empty_parts(size, dtype=dtype, device_mesh=mesh, placements=[Shard(0)])
