"""Makes torchvision, and with it transformers, diffusers and clean-fid, importable beside a CPU build of torch.

PyPI's torchvision is compiled for CUDA; beside a torch without CUDA its binary does not load, and its Python half
then fails on import because it attaches fake implementations to two operators that nobody declared. Declaring these
two schemas first is enough for its transforms and models (`ops.nms` itself stays unavailable). This rests on the
internals of torchvision 0.28, so any other version is refused here rather than broken somewhere else.

Import this module before torchvision, transformers or diffusers. Nothing is declared where the binary loads.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

import torch

KNOWN_VERSION = "0.28"
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _binary_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None, "torchvision is a declared dependency"
    assert spec.origin is not None
    try:
        torch.ops.load_library(Path(spec.origin).with_name("_C.so"))
    except OSError:
        return False
    return True


def _declare() -> torch.library.Library | None:
    """The library that holds the two schemas, or None where torchvision's own binary declares them."""
    if torch.version.cuda is not None or _binary_loads():
        return None
    version = importlib.metadata.version("torchvision")
    if not version.startswith(f"{KNOWN_VERSION}."):
        raise ImportError(
            f"torchvision {version} does not match this CPU build of torch and only {KNOWN_VERSION} is known to work "
            "beside it; install the versions in constraints.txt"
        )
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        library.define(schema)
    return library


LIBRARY = _declare()
"""Kept alive here: the schemas disappear with the object that declared them."""
