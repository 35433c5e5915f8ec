"""What an image generator's tensors do not show, and where the released layout keeps it.

The reference code leaves it unsaid. It is that of the release unless ``image_proj_model/config.json``, a file which
that code never opens, says otherwise.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import PositiveInt, ValidationError

from diffsensei.config.base import Config
from diffsensei.config.overrides import describe
from diffsensei.config.schema import REFERENCE, FidelityConfig
from diffsensei.inference.pipeline import DiffSenseiPipeline
from diffsensei.released.layout import read_object


class GeneratorSettings(Config):
    """Defaults are the release's: 20 heads of 64 on width 1280 (IP-Adapter-Plus), 4 characters, the reference's ways.

    The last three are those of `FidelityConfig` that show in inference; its ``boxes`` only decides training.
    """

    head_dim: PositiveInt = 64
    max_characters: PositiveInt = 4
    mask: Literal["exact", "reference"] = REFERENCE.mask
    magi_patches: Literal["all", "masked"] = REFERENCE.magi_patches
    empty_slots: Literal["zero", "resampled"] = REFERENCE.empty_slots

    def with_fidelity(self, fidelity: FidelityConfig) -> Self:
        """The same network, run as ``fidelity`` says."""
        return self.replaced(mask=fidelity.mask, magi_patches=fidelity.magi_patches, empty_slots=fidelity.empty_slots)


RELEASED = GeneratorSettings()


def read_settings(folder: Path) -> GeneratorSettings:
    """Those in ``folder/config.json``, else the release's. Raises ValueError for values that are none."""
    path = folder / "config.json"
    if not path.is_file():
        return RELEASED
    written = read_object(path)
    known = {name: written[name] for name in GeneratorSettings.model_fields if name in written}
    try:
        return GeneratorSettings.model_validate(known)
    except ValidationError as error:
        raise ValueError(f"{path}: {describe(error)}; remove the line for the release's value") from None


def settings_of(pipeline: DiffSenseiPipeline) -> GeneratorSettings:
    """Raises ValueError for an ablation whose tensors the released layout has no place for, or lacks."""
    conditions, resampler = pipeline.unet.config["manga_conditions"], pipeline.resampler.config
    for boxes_of in ("characters", "dialogs"):
        if conditions[boxes_of] != "mask":
            raise ValueError(
                f"expected boxes of {boxes_of} by mask, as in the released layout, got {conditions[boxes_of]!r}; "
                "keep this pipeline with save_pretrained"
            )
    if not resampler["magi"]:
        raise ValueError(
            "expected a resampler that reads Magi, as in the released layout, got one without; keep this pipeline with "
            "save_pretrained"
        )
    return GeneratorSettings(
        head_dim=resampler["head_dim"],
        max_characters=conditions["max_characters"],
        mask=conditions["mask"],
        magi_patches=resampler["magi_patches"],
        empty_slots=resampler["empty_slots"],
    )
