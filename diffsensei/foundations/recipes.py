"""How every foundation is trained: sizes, steps, seeds. The defaults made the embedded weights.

What conditions the model and what judges it are trained on different worlds with different seeds, and measured on a
third that neither has seen.
"""

from pydantic import PositiveFloat, PositiveInt

from diffsensei.config.base import Config
from diffsensei.config.schema import NonNegativeInt, Rate, UNetConfig


class PoolRecipe(Config):
    """Pages to draw."""

    seed: NonNegativeInt
    num_series: PositiveInt
    pages_per_series: PositiveInt
    page_height: PositiveInt = 360


class FitRecipe(Config):
    """One optimisation: AdamW, linear warm-up, cosine decay to 2 % of the peak."""

    seed: NonNegativeInt
    steps: PositiveInt
    batch: PositiveInt
    learning_rate: PositiveFloat
    warmup_steps: NonNegativeInt = 100
    weight_decay: float = 0.01


class VaeRecipe(Config):
    """AutoencoderKL: 3 channels in, 4 latent channels, factor 4."""

    fit: FitRecipe = FitRecipe(seed=11, steps=5000, batch=6, learning_rate=2e-3, weight_decay=1e-4)
    large_rate: Rate = 0.15
    """Share of batches drawn from panels of twice the size."""
    block_out_channels: tuple[PositiveInt, ...] = (16, 32, 64)
    layers_per_block: PositiveInt = 1
    edge_weight: float = 1.0
    """Weight of the L1 distance of pixel differences beside the L1 distance of pixels."""
    kl_weight: float = 2e-2
    """Weight of the mean KL divergence per latent number."""


class TextRecipe(Config):
    """CLIP text encoder; the image tower of the contrast is thrown away."""

    fit: FitRecipe
    hidden_size: PositiveInt
    num_layers: PositiveInt = 3
    num_heads: PositiveInt
    projection_dim: PositiveInt | None
    """Size of the pooled, projected output; null for an encoder without one, as SDXL's first."""
    language_weight: float = 0.2
    """Weight of predicting the next word from the penultimate states: they must carry words in context."""


class ImageEncoderRecipe(Config):
    """A vision transformer on crops of characters, or on panels and crops."""

    fit: FitRecipe
    image_size: PositiveInt
    patch_size: PositiveInt = 8
    hidden_size: PositiveInt = 128
    num_layers: PositiveInt = 4
    num_heads: PositiveInt = 4
    initializer_range: PositiveFloat = 0.08
    """About 1 / sqrt(hidden size): with the large models' 0.02, so narrow a transformer hardly learns at first."""


class JudgeClipRecipe(Config):
    """CLIP with both towers kept."""

    fit: FitRecipe = FitRecipe(seed=41, steps=1500, batch=48, learning_rate=1e-3)
    image_size: PositiveInt = 64
    patch_size: PositiveInt = 8
    hidden_size: PositiveInt = 128
    num_vision_layers: PositiveInt = 4
    num_text_layers: PositiveInt = 3
    num_heads: PositiveInt = 4
    projection_dim: PositiveInt = 128
    initializer_range: PositiveFloat = 0.08
    """Of the patch embedding; as in `ImageEncoderRecipe`."""


class LanguageModelRecipe(Config):
    """Llama over captions and the image-slot template."""

    fit: FitRecipe = FitRecipe(seed=31, steps=800, batch=32, learning_rate=2e-3)
    hidden_size: PositiveInt = 128
    num_layers: PositiveInt = 4
    num_heads: PositiveInt = 4
    intermediate_size: PositiveInt = 344
    max_positions: PositiveInt = 512
    template_rate: Rate = 0.25
    """Share of batches that end in the image slots the adapter uses."""


class UNetRecipe(Config):
    """The text-to-image UNet that pre-training starts from. Its architecture is the tiny preset's."""

    fit: FitRecipe = FitRecipe(seed=12, steps=6000, batch=16, learning_rate=1.5e-3, warmup_steps=200)
    caption_drop_rate: Rate = 0.08
    architecture: UNetConfig = UNetConfig(
        block_out_channels=(64, 128),
        transformer_layers_per_block=(1, 1),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        addition_time_embed_dim=32,
    )


class DetectorRecipe(Config):
    """The dialog detector."""

    fit: FitRecipe = FitRecipe(seed=43, steps=2000, batch=16, learning_rate=2e-3)
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (16, 32, 64, 96)
    large_rate: Rate = 0.2
    """Share of batches drawn from panels of twice the size."""
    box_weight: float = 1.0


class StateProbeRecipe(Config):
    """The probe that reads states off crops of characters."""

    fit: FitRecipe = FitRecipe(seed=44, steps=1200, batch=64, learning_rate=2e-3, weight_decay=0.05)
    side: PositiveInt = 64
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (16, 32, 64, 96)


class FoundationRecipes(Config):
    """Everything `train_foundations` makes."""

    conditioning_pool: PoolRecipe = PoolRecipe(seed=101, num_series=300, pages_per_series=4)
    conditioning_pool_large: PoolRecipe = PoolRecipe(seed=101, num_series=60, pages_per_series=2, page_height=720)
    drawing_pool: PoolRecipe = PoolRecipe(seed=101, num_series=900, pages_per_series=4)
    judging_pool: PoolRecipe = PoolRecipe(seed=202, num_series=300, pages_per_series=4)
    judging_pool_large: PoolRecipe = PoolRecipe(seed=202, num_series=60, pages_per_series=2, page_height=720)
    held_out_pool: PoolRecipe = PoolRecipe(seed=303, num_series=48, pages_per_series=3)
    held_out_pool_large: PoolRecipe = PoolRecipe(seed=303, num_series=12, pages_per_series=2, page_height=720)
    vae: VaeRecipe = VaeRecipe()
    text_encoder: TextRecipe = TextRecipe(
        fit=FitRecipe(seed=21, steps=1500, batch=64, learning_rate=1e-3),
        hidden_size=96,
        num_heads=8,
        projection_dim=None,
    )
    text_encoder_2: TextRecipe = TextRecipe(
        fit=FitRecipe(seed=22, steps=1500, batch=64, learning_rate=1e-3),
        hidden_size=128,
        num_heads=8,
        projection_dim=128,
    )
    unet: UNetRecipe = UNetRecipe()
    clip_image_encoder: ImageEncoderRecipe = ImageEncoderRecipe(
        fit=FitRecipe(seed=23, steps=1800, batch=64, learning_rate=1e-3), image_size=48
    )
    magi_image_encoder: ImageEncoderRecipe = ImageEncoderRecipe(
        fit=FitRecipe(seed=24, steps=1800, batch=64, learning_rate=1e-3), image_size=48
    )
    llm: LanguageModelRecipe = LanguageModelRecipe()
    judge_clip: JudgeClipRecipe = JudgeClipRecipe()
    judge_dino: ImageEncoderRecipe = ImageEncoderRecipe(
        fit=FitRecipe(seed=42, steps=1500, batch=48, learning_rate=1e-3), image_size=64
    )
    judge_detector: DetectorRecipe = DetectorRecipe()
    judge_states: StateProbeRecipe = StateProbeRecipe()
