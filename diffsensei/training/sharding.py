"""Weights, gradients and optimizer state in parts, one on each process (PyTorch's FSDP2, ``fully_shard``).

Where one GPU cannot hold all of them: a block's weights are gathered just before it runs and dropped after, gradients
are summed and split again, and each process updates its own part, in float32. The steps are those of replicated
training, up to rounding. Not Accelerate's FSDP plugin: it shards on accelerators alone, so that nothing of it could be
tested on CPUs, and wants to prepare the optimizer; its launcher, precision and reductions are used as they are.
"""

import torch
import torch.distributed as dist
from accelerate import Accelerator
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from diffsensei.training.parts import whole

BLOCKS = (BasicTransformerBlock, ResnetBlock2D, LlamaDecoderLayer)
"""What UNets and language models repeat: gathered one at a time. All else is gathered once a pass."""


def replicate_weights(objective: nn.Module, accelerator: Accelerator) -> nn.Module:
    """All of ``objective`` on the device of each process; what trains it."""
    return accelerator.prepare(objective)


def shard_weights(objective: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Split each parameter of ``objective`` by its first dimension over the processes, in place; what trains it.

    Under bfloat16 weights are gathered in it, while parts, sums of gradients and updates stay in float32. All processes
    must hold the same weights, and run the same blocks in every pass.
    """
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    low = torch.bfloat16 if accelerator.mixed_precision == "bf16" else None
    # Autocast decides what each operation computes in, as in replicated training: inputs stay as they are.
    precision = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in [module for module in objective.modules() if isinstance(module, BLOCKS)]:
        fully_shard(block, mesh=mesh, mp_policy=precision)
    fully_shard(objective, mesh=mesh, mp_policy=precision)
    # For autocast alone: no DistributedDataParallel around it.
    return accelerator.prepare_model(objective, device_placement=False, evaluation_mode=True)


def checkpoint_mesh() -> DeviceMesh:
    """All processes, talking over the CPU and apart from training, beside which checkpoints are written."""
    return DeviceMesh.from_group(dist.new_group(backend="gloo"), "cpu")


def gather_weights(objective: nn.Module, *, keep: bool) -> None:
    """End of training: whole parameters again, in place and on the CPU, in the process that is to ``keep`` them.

    All processes must call it; the others are left with their parts.
    """
    gathered: dict[nn.Parameter, nn.Parameter] = {}  # by part, so that tied parameters stay tied
    for module in objective.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter not in gathered:
                full = whole(parameter.detach())
                gathered[parameter] = nn.Parameter(full.cpu(), parameter.requires_grad) if keep else parameter
            setattr(module, name, gathered[parameter])
