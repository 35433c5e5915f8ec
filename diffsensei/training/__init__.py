"""The paper's training stages: one loop, one objective per stage, frozen features computed once.

Importing this package also makes torchvision importable beside a CPU build of torch (`torchvision_schemas`).
"""

import diffsensei.models.torchvision_schemas  # noqa: F401  side effect on import
