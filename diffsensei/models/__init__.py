"""The networks of the paper (sec. 4): conditions, UNet, resampler, text and character encoders, identity adapter.

Importing this package also makes torchvision importable beside a CPU build of torch (`torchvision_schemas`).
"""

import diffsensei.models.torchvision_schemas  # noqa: F401  side effect on import
