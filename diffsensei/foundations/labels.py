"""What is drawn, as numbers: the truth that helps the encoders to learn what captions and panels are about."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from diffsensei.data.synthetic.backgrounds import PLACES
from diffsensei.data.synthetic.cast import (
    ACCESSORIES,
    CLOTHES,
    DISTANCES,
    EXPRESSIONS,
    EYES,
    FACES,
    FACINGS,
    HAIR_SHAPES,
    HAIR_TONES,
    POSES,
)
from diffsensei.foundations.drawn_pool import Crop, PoolPanel

LOOKS = {
    "hair_shape": HAIR_SHAPES,
    "hair_tone": HAIR_TONES,
    "face": FACES,
    "eyes": EYES,
    "accessory": ACCESSORIES,
    "clothes": CLOTHES,
}
STATES = {"expression": EXPRESSIONS, "pose": POSES, "facing": FACINGS}
READ_STATES = STATES | {"distance": DISTANCES}
"""What the probe of states (`state_probe`) reads off a crop; the encoders learn the distance from panels."""
_MAX_COUNT = 4


def crop_labels(crops: Sequence[Crop]) -> dict[str, NDArray[np.int64]]:
    """Per look and state, the class number of each crop (n,)."""
    tables = LOOKS | STATES
    return {
        name: np.array([tuple(table).index(crop.character.labels[name]) for crop in crops], dtype=np.int64)
        for name, table in tables.items()
    }


def mirrored_labels(labels: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """The labels of the mirror images: left and right change places."""
    swap = np.array([FACINGS.index({"left": "right", "right": "left"}.get(name, name)) for name in FACINGS])
    return labels | {"facing": swap[labels["facing"]]}


def panel_facts(panels: Sequence[PoolPanel]) -> NDArray[np.float32]:
    """Per panel a 0/1 row (n, f): place, distance, numbers of people and dialogs, every look and state in it."""
    tables = LOOKS | STATES
    rows = []
    for panel in panels:
        row = _one_hot(panel.place, PLACES) + _one_hot(panel.distance, DISTANCES)
        row += _one_hot(min(len(panel.characters), _MAX_COUNT), range(_MAX_COUNT + 1))
        row += _one_hot(min(len(panel.dialogs), _MAX_COUNT), range(_MAX_COUNT + 1))
        for name, table in tables.items():
            shown = {character.labels[name] for character in panel.characters}
            row += [float(value in shown) for value in table]
        rows.append(row)
    return np.array(rows, dtype=np.float32)


class LabelHeads(nn.Module):
    """Throw-away linear classifiers on a feature: they teach the encoder and are not shipped."""

    def __init__(self, dim: int, names: Sequence[str]) -> None:
        super().__init__()
        tables = LOOKS | STATES
        self.heads = nn.ModuleDict({name: nn.Linear(dim, len(tables[name])) for name in names})

    def loss(self, features: Tensor, labels: dict[str, NDArray[np.int64]]) -> Tensor:
        """Cross entropies of the labels given ``features`` (n, dim), summed over what they name."""
        losses = [
            functional.cross_entropy(head(features), torch.from_numpy(labels[name]))
            for name, head in self.heads.items()
        ]
        return torch.stack(losses).sum()


def _one_hot(value: object, table: Sequence[object]) -> list[float]:
    return [float(value == other) for other in table]
