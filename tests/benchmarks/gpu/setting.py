"""What is measured on: a device, the sizes of a preset with random weights, and a clock."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import diffsensei.models  # noqa: F401  before diffusers: torchvision must be importable beside a CPU build of torch

# isort: split

import torch

from diffsensei.config import ExperimentConfig, load_preset
from diffsensei.costs.gpus import GPUS, Gpu
from diffsensei.costs.passes import Passes


@dataclass(frozen=True)
class Setting:
    """One device and one size of everything."""

    device: torch.device
    config: ExperimentConfig
    passes: Passes
    batches: dict[int, int]
    """Edge of a square panel in pixels -> panels in a training batch."""
    drawn: dict[int, int]
    """Edge -> panels that are drawn together."""
    prompts: int
    """Panels in a batch of stage 2."""
    matrix: int
    """Rows and columns of the matrices whose product is the ceiling."""

    @property
    def gpu(self) -> Gpu | None:
        """The datasheet of this device, where it is known."""
        if self.device.type != "cuda":
            return None
        name = torch.cuda.get_device_name(self.device).lower().replace(" ", "")
        return next((gpu for gpu in GPUS.values() if gpu.name in name), None)

    @property
    def name(self) -> str:
        """The device, for people."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU (a rehearsal)"

    def seconds(self, run: Callable[[], object], warm: int = 3, repeats: int = 10) -> float:
        """Median seconds of ``run``, once the device has finished it."""
        for _ in range(warm):
            run()
        taken = []
        for _ in range(repeats):
            self.wait()
            began = time.perf_counter()
            run()
            self.wait()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_gib(self) -> float:
        """Most memory that was taken since the last call, in GiB; 0 on a CPU."""
        if self.device.type != "cuda":
            return 0.0
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30
        torch.cuda.reset_peak_memory_stats(self.device)
        return peak

    def clear(self) -> None:
        """Give memory back between measurements."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)


def gpu_setting() -> Setting:
    """The paper's sizes on the first GPU."""
    config = load_preset("paper")
    return Setting(
        device=torch.device("cuda", 0),
        config=config,
        passes=Passes(config),
        batches={512: 16, 256: 64, 1024: 4},
        drawn={256: 16, 512: 16, 1024: 8},
        prompts=16,
        matrix=8192,
    )


def cpu_setting() -> Setting:
    """Tiny sizes on the CPU: the same code from end to end, no figures worth keeping."""
    config = load_preset("tiny")
    return Setting(
        device=torch.device("cpu"),
        config=config,
        passes=Passes(config),
        batches={64: 2},
        drawn={64: 2},
        prompts=2,
        matrix=256,
    )
