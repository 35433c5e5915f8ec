"""The frozen models the paper starts from (sec. 5.1): where they come from, how they load, how ours are trained.

`loading` reads them from the hub, from a local folder or from `weights`, the small ones trained on the drawn world.
"""

import diffsensei.models.torchvision_schemas  # noqa: F401  side effect on import
