"""Every knob of the compared methods: their own recipes, and what we decided where the paper is silent."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from diffsensei.config.base import Config, NonNegativeInt, Rate
from diffsensei.config.schema import GeneratorStageConfig, SamplingConfig, TrainStageConfig


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


class GroundingConfig(Config):
    """MS-Diffusion's grounding resampler: a perceiver whose queries know the subject's phrase and box."""

    dim: PositiveInt
    depth: PositiveInt
    heads: PositiveInt
    head_dim: PositiveInt
    num_queries: PositiveInt
    """Tokens per subject."""


class DropConfig(Config):
    """Probabilities, per panel, that conditions are missing in training, so that guidance has a null to start from."""

    image_rate: Rate
    """References alone become blank; boxes stay."""
    text_rate: Rate
    """The caption alone becomes empty."""
    both_rate: Rate
    grounding_rate: Rate
    """Subjects get the learnt queries instead of those made of phrase and box; independent of the others."""


class MsDiffusionConfig(Config):
    """Grounding resampler and masked subject attention on the manga text-to-image model; a row of the table without
    dialogs, and one with DiffSensei's dialog embedding (the paper's dagger)."""

    clip_image_encoder: str
    """Its own image encoder (hub id, folder or ``embedded:<name>``)."""
    phrase: str
    """What every subject is called: MangaZero has no phrases."""
    grounding: GroundingConfig
    drops: DropConfig
    training: GeneratorStageConfig
    """The row without dialogs. As published, ``trained`` is ip: the UNet stays frozen."""
    dialogs_training: GeneratorStageConfig
    """The row with dialogs. ``trained`` is full, as in DiffSensei's stage 1: to a frozen UNet (new) one dialog vector
    can hardly teach bubbles, and the paper's dialog F1 of 0.720 for this row says that its UNet learnt them. The paper
    does not say what it trained."""
    sampling: SamplingConfig


class StableDiffusionParts(Config):
    """Where the parts of Stable Diffusion 1.5 come from: hub ids, folders or ``embedded:<name>``."""

    unet: str
    vae: str
    text_encoder: str


class StoryGenDrops(Config):
    """What is missing in StoryGen's second stage, and how many earlier panels a batch reads."""

    text_rate: Rate
    """Empty captions."""
    context_rate: Rate
    """No earlier panels: zero images with empty captions."""
    all_rate: Rate
    """The whole window."""
    all_but_one_rate: Rate
    """The window without its oldest panel; else only the newest."""


class StoryGenConfig(Config):
    """The UNet's own features of earlier panels, on Stable Diffusion 1.5."""

    window: PositiveInt
    """Earlier panels that are read."""
    context_side: PositiveInt
    """Edge (pixels) of the square that earlier panels are squashed to."""
    mask_dialogs: bool
    """Leave dialogs out of the loss, as the published recipe does with text: bubbles are then never learnt."""
    drops: StoryGenDrops
    single: TrainStageConfig
    """First stage: self-attention, panels by themselves."""
    context: TrainStageConfig
    """Second stage: the attention to earlier panels."""
    context_guidance_scale: Annotated[float, Field(ge=0.0)]
    """Weight of the earlier panels; the captions' is ``sampling.guidance_scale``."""
    sampling: SamplingConfig


class BlipConfig(Config):
    """BLIP: a hub id or folder (for image-text retrieval), or ``random`` with the sizes below."""

    reference: str
    image_side: PositiveInt
    """Edge (pixels) of the square that earlier panels are squashed to."""
    patch_side: PositiveInt
    vision_dim: PositiveInt
    num_layers: PositiveInt
    num_heads: PositiveInt


class ArLdmConfig(Config):
    """Earlier images with their captions, through BLIP, on Stable Diffusion 1.5; all of it trained."""

    blip: BlipConfig
    window: Annotated[int, Field(ge=1, le=4)]
    """Earlier panels that are seen."""
    caption_length: PositiveInt
    """Tokens of an earlier caption; longer ones are cut."""
    drop_rate: Rate
    """Targets that are told neither caption nor history."""
    training: TrainStageConfig
    sampling: SamplingConfig


class SeedStoryLanguageConfig(Config):
    """What is trained of the language model, and how long its parts are."""

    lora_rank: PositiveInt
    lora_alpha: PositiveFloat
    lora_dropout: Rate
    num_slots: PositiveInt
    """Image slots of a panel, a square number."""
    resampler_heads: PositiveInt
    max_caption_tokens: PositiveInt
    max_written_tokens: PositiveInt
    """Longest caption of its own."""


class FeatureResamplerConfig(Config):
    """From image features to what the de-tokenizer's UNet reads instead of text."""

    dim: PositiveInt
    depth: PositiveInt
    heads: PositiveInt
    head_dim: PositiveInt
    num_queries: PositiveInt


class SeedStoryConfig(Config):
    """A language model over interleaved captions and image features, and an SDXL that draws features."""

    visual_encoder: str
    """What panels are known by: Qwen-VL's tower, as the hub id or folder of Qwen-VL, a folder with ``qwen_vit_G.pt`` or
    a file of its state dict; or, at small sizes, the patch tokens of a CLIP vision tower (hub id, folder or
    ``embedded:<name>``)."""
    llm: str
    """Llama with image slots in its vocabulary, tokenizer beside it."""
    language: SeedStoryLanguageConfig
    resampler: FeatureResamplerConfig
    window: PositiveInt
    """Earlier panels that are read; the oldest leave first."""
    drop_rate: Rate
    """Panels whose features become blank in training the de-tokenizer, so that guidance has a null to start from."""
    language_training: TrainStageConfig
    detokenizer_training: TrainStageConfig
    sampling: SamplingConfig


class BaselinesConfig(Config):
    """The methods of the paper's Table 2."""

    seed_story: SeedStoryConfig
    ar_ldm: ArLdmConfig
    storygen: StoryGenConfig
    stable_diffusion: StableDiffusionParts
    """What AR-LDM and StoryGen start from."""
    ms_diffusion: MsDiffusionConfig
    storydiffusion: StoryDiffusionConfig
