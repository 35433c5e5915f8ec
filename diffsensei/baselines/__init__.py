"""The methods DiffSensei is compared with (paper Table 2), each whole in a folder: network, training, drawing."""

import diffsensei.models.torchvision_schemas  # noqa: F401  side effect on import: before transformers
