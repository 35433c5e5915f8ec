"""Tensors of which each process holds a part (DTensor), and plain ones, which are whole everywhere, treated alike."""

from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor


def local(tensor: Tensor) -> Tensor:
    """What this process holds of ``tensor``, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of ``tensor``, which every process must ask for."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def in_place_of(tensor: Tensor, part: Tensor, mesh: DeviceMesh | None) -> Tensor:
    """``part``, of the shape of `local` of ``tensor``, as that part of a tensor over the processes of ``mesh``."""
    if not isinstance(tensor, DTensor):
        return part
    shape, stride = tensor.shape, tensor.stride()
    return DTensor.from_local(part, mesh, tensor.placements, run_check=False, shape=shape, stride=stride)
