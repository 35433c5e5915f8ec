"""Magi v1 (hub `ragavsachdeva/magi`): finds panels, characters and texts of manga pages, and who is who.

The paper annotates its pages with it (sec. 3) and judges dialogs with it (sec. 5.1). Plain transformers classes under
Magi's own weights, none of its code. `foundations.loading` reads the weights.
"""

import diffsensei.models.torchvision_schemas  # noqa: F401  side effect on import: before transformers
