"""``python -m tests.benchmarks.gpu``: how near to one GPU's limit training and drawing come, at the paper's sizes.

Random weights, random panels, no network; every line is printed as it is measured, within ten minutes in all.
``--rehearse`` runs the same code at tiny size on a CPU.
"""

import sys
import time
from collections.abc import Callable, Iterator

import torch

from tests.benchmarks.gpu.measurements import ceiling, drawing, stage2, training
from tests.benchmarks.gpu.setting import Setting, cpu_setting, gpu_setting


def main(arguments: list[str]) -> int:
    rehearse = arguments == ["--rehearse"]
    if not rehearse and not torch.cuda.is_available():
        print("error: expected a CUDA GPU, found none; --rehearse runs the same at tiny size on the CPU")
        return 2
    setting = cpu_setting() if rehearse else gpu_setting()
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    print(f"{setting.name}, torch {torch.__version__}", flush=True)
    limit, line = ceiling(setting)
    print(line, flush=True)
    for part in parts(setting, limit):
        began = time.perf_counter()
        try:
            for line in part():
                print(line, flush=True)
        except (RuntimeError, ValueError) as error:  # one part that fails leaves the others their figures
            print(f"failed: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
        setting.clear()
        print(f"  ({time.perf_counter() - began:.0f} s)", flush=True)
    return 0


def parts(setting: Setting, limit: float) -> list[Callable[[], Iterator[str]]]:
    """In the order of their worth, should time run out."""
    return [
        lambda: training(setting, limit, compiled=False),
        lambda: drawing(setting, limit),
        *([lambda: drawing(setting, limit, graphs=True)] if setting.device.type == "cuda" else []),
        lambda: stage2(setting, limit),
        lambda: training(setting, limit, compiled=True),
        *([lambda: drawing(setting, limit, compiled=True, graphs=True)] if setting.device.type == "cuda" else []),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
