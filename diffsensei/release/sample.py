"""The fixed request of a bundle: a drawn character, one box, one dialog. Free of anybody's rights."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffsensei.config.schema import SamplingConfig, SyntheticSource
from diffsensei.data.synthetic.page import draw_page
from diffsensei.data.synthetic.panel import DrawnCharacter, DrawnPanel
from diffsensei.inference.request import CharacterRequest, PanelRequest

SAMPLE_ID = "sample"
SAMPLE_SEED = 20241
WORLD = SyntheticSource(num_series=1, pages_per_series=16, page_height=540, seed=20241)
LATENT_EDGE = 8
"""Edge of the sample at the UNet's coarsest level: the smallest picture that still shows a layout."""
DIALOG = (0.55, 0.04, 0.96, 0.27)
CHARACTER = (0.12, 0.25, 0.72, 1.0)


def write_sample(folder: Path, edge: int, sampling: SamplingConfig) -> PanelRequest:
    """Write ``panels.jsonl``, ``reference.png`` and ``sampling.json``; the request, ``edge`` pixels square."""
    panel, character = _drawn_character()
    x1, y1, x2, y2 = (round(v) for v in character.box)
    Image.fromarray(np.ascontiguousarray(panel.image[y1:y2, x1:x2])).save(folder / "reference.png")
    request = PanelRequest(
        panel_id=SAMPLE_ID,
        height=edge,
        width=edge,
        caption=panel.caption,
        characters=(CharacterRequest(id="character", box=CHARACTER, reference="reference.png"),),
        dialogs=(DIALOG,),
        seed=SAMPLE_SEED,
    )
    (folder / "panels.jsonl").write_text(request.model_dump_json() + "\n")
    (folder / "sampling.json").write_text(sampling.model_dump_json(indent=1) + "\n")
    return request


def sample_edge(pipeline: Any) -> int:
    """Pixels of the sample's edge for a pipeline's autoencoder and UNet: 64 at tiny's size, 256 at SDXL's."""
    factor = 2 ** (len(pipeline.vae.config["block_out_channels"]) - 1)
    levels = 2 ** (len(pipeline.unet.config["block_out_channels"]) - 1)
    return int(factor * levels * LATENT_EDGE)


def _drawn_character() -> tuple[DrawnPanel, DrawnCharacter]:
    """The first panel of the world with one clean face, and that character."""
    for page in range(WORLD.pages_per_series):
        for placed in draw_page(WORLD, 0, page).panels:
            characters = placed.drawn.characters
            if len(characters) == 1 and characters[0].type == 0:
                return placed.drawn, characters[0]
    raise AssertionError("the sample's world has no panel with one clean face")
