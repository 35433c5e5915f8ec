"""What can be compared: each method turns panel descriptions into images, and declares what it reads of them."""

import diffsensei.models.torchvision_schemas  # noqa: F401  side effect on import: before diffusers
