"""A trained model as something to hand over: one folder with weights, card, sample and checksums, and its check."""

import diffsensei.models.torchvision_schemas  # noqa: F401  side effect on import: before diffusers
