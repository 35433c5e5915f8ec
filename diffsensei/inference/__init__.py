"""Drawing panels and pages with trained weights: requests, the diffusers pipeline, the generation stage, stories."""

import diffsensei.models.torchvision_schemas  # noqa: F401  side effect on import: before diffusers
