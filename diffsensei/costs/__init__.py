"""What stages cost before they run: floating point operations and memory, counted on shapes alone."""

import diffsensei.models  # noqa: F401  before transformers: torchvision must be importable beside a CPU build of torch
