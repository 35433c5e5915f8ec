"""Every knob of the compared methods: their own recipes, and what we decided where the paper is silent."""

from typing import Annotated

from pydantic import Field, PositiveInt

from diffsensei.config.base import Config, NonNegativeInt, Rate
from diffsensei.config.schema import SamplingConfig


class SharingConfig(Config):
    """StoryDiffusion's consistent self-attention."""

    identity_panels: PositiveInt
    """Panels of a page that are drawn together and read by all later ones."""
    page_side: Annotated[int, Field(ge=32, multiple_of=32)]
    """Edge (pixels) of the square that every panel of a page is drawn on."""
    sample_rate: Rate
    """Share of a panel's tokens that others see; drawn anew at every step."""
    unshared_steps: NonNegativeInt
    """First steps, in which the identity panels do not share and later ones read all of their tokens."""
    early_steps: NonNegativeInt
    """Until this step a layer shares with ``early_rate``, from then on with ``late_rate``."""
    early_rate: Rate
    late_rate: Rate


class StoryDiffusionConfig(Config):
    """Training-free, on the manga text-to-image model."""

    sharing: SharingConfig
    sampling: SamplingConfig


class BaselinesConfig(Config):
    """The methods of the paper's Table 2."""

    storydiffusion: StoryDiffusionConfig
