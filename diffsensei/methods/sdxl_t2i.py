"""Text-to-image: the manga-pretrained SDXL that stage 1 starts from (paper sec. 5.1). It sees the caption only."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from diffsensei.config.schema import SamplingConfig
from diffsensei.methods.image_generator import ImageGenerator
from diffsensei.methods.method import CAPTION, Page
from diffsensei.methods.rollout import single_panels, to_draw


class SdxlTextToImage:
    """Draws a panel from its caption."""

    name = "sdxl_t2i"
    consumes = frozenset({CAPTION})
    deviations: tuple[str, ...] = ()

    def __init__(self, generator: ImageGenerator) -> None:
        self.generator = generator

    def pieces(self, pages: Sequence[Page], sampling: SamplingConfig) -> list[list[Page]]:
        """See `Method.pieces`."""
        return single_panels(pages, sampling.batch_size)

    def generate(
        self, pages: Sequence[Page], folder: Path, sampling: SamplingConfig
    ) -> Iterator[tuple[str, Image.Image]]:
        """See `Method.generate`."""
        return self.generator.draw(
            to_draw(pages), lambda batch: self.generator.text_conditions(batch, sampling.negative_prompt), sampling
        )
