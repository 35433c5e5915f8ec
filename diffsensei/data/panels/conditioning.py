"""The conditions of a panel in one training step: which characters, shown by which reference, which dialogs (sec. 4.1).

A draw is a function of its random stream alone, so it is the same on any number of processes and after any resume.
Changes against the reference code: a character's other appearances are preferred over its own crop whenever it is not
self-conditioned, and a character without any usable reference is left out with its box.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffsensei.config.schema import ConditioningConfig
from diffsensei.data.panels.training_panels import TrainingPanels


class PanelConditions(NamedTuple):
    """Rows of the flat arrays of `TrainingPanels`."""

    caption: int
    """Row of ``captions``: the panel's own, or the empty one."""
    characters: NDArray[np.int64]
    """(k,) characters kept, in slot order."""
    crops: NDArray[np.int64]
    """(k,) the reference crop of each."""
    mirrored: NDArray[np.bool_]
    """(k,) whether the reference is mirrored."""
    dialogs: NDArray[np.int64]
    """(m,) dialogs kept."""


def sample_caption(panels: TrainingPanels, panel: int, drop_rate: float, stream: np.random.Generator) -> int:
    """Row of the caption for ``panel``: 0 (empty) with probability ``drop_rate``."""
    return 0 if stream.random() < drop_rate else int(panels.panel_captions[panel])


def sample_conditions(
    panels: TrainingPanels,
    panel: int,
    config: ConditioningConfig,
    stream: np.random.Generator,
    *,
    largest_first: bool = False,
) -> PanelConditions:
    """Draw the conditions of ``panel``.

    Characters come in random order, each dropped with ``character_drop_rate``, up to ``max_characters``. With
    ``largest_first`` (the MLLM adapter's training) they are ordered by area, and only those count whose own crop is
    large enough to be a target.
    """
    caption = sample_caption(panels, panel, config.caption_drop_rate, stream)
    characters = np.arange(panels.character_starts[panel], panels.character_starts[panel + 1])
    # One row of draws per character whether or not it is used, so that a character's luck is its own.
    order, drop, self_condition, pick, flip = stream.random((5, len(characters)))
    rank = -panels.character_areas[characters] if largest_first else order

    kept, crops, mirrored = [], [], []
    for index in np.argsort(rank, kind="stable"):
        character = int(characters[index])
        own = int(panels.own_crops[character])
        if not panels.character_usable[character] or drop[index] < config.character_drop_rate:
            continue
        if largest_first and own < 0:
            continue
        crop = own if self_condition[index] < config.self_condition_rate else -1
        if crop < 0:
            crop = _other_appearance(panels, character, float(pick[index]))
        if crop < 0:
            continue
        kept.append(character)
        crops.append(crop)
        mirrored.append(bool(flip[index] < config.flip_rate))
        if len(kept) == config.max_characters:
            break

    dialogs = np.arange(panels.dialog_starts[panel], panels.dialog_starts[panel + 1])
    dialogs = stream.permutation(dialogs[panels.dialog_usable[dialogs]])[: config.max_dialogs]
    return PanelConditions(
        caption, np.array(kept, np.int64), np.array(crops, np.int64), np.array(mirrored, np.bool_), dialogs
    )


def _other_appearance(panels: TrainingPanels, character: int, draw: float) -> int:
    """A reference of the same identity on the page, by a uniform ``draw`` in [0, 1); its own crop only when it is the
    sole one; -1 when there is none."""
    low, high = panels.reference_ranges[character]
    pool = panels.references[low:high]
    others = pool[pool != panels.own_crops[character]]
    pool = others if len(others) else pool
    return int(pool[int(draw * len(pool))]) if len(pool) else -1
