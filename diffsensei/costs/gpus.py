"""GPUs by name, as their datasheets have them, and what share of that speed is assumed until it is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    name: str
    teraflops: float
    """Dense bfloat16 matrix products, by the datasheet."""
    memory_gib: float


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("a100", 312.0, 80.0),
        Gpu("h100", 989.0, 80.0),
        Gpu("h200", 989.0, 141.0),
        Gpu("l40s", 362.0, 48.0),
        Gpu("rtx4090", 165.0, 24.0),
    )
}

UTILISATION = 0.3
"""Share of the datasheet's speed that a stage is assumed to reach: what published SD2 training does on H200 (31 %,
MLPerf Training 4.0) and A100 (28 %, MosaicML). An assumption until ``make bench-gpu`` has measured it."""


def find_gpu(name: str) -> Gpu:
    """The GPU called ``name``. Raises ValueError listing the known ones."""
    if name not in GPUS:
        raise ValueError(f"unknown GPU {name!r}; known: {', '.join(GPUS)}")
    return GPUS[name]
