"""Before any test imports diffusers or transformers: torchvision must be importable beside a CPU build of torch."""

import diffsensei.models  # noqa: F401
