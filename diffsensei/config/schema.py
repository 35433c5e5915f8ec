"""The knobs of DiffSensei's own pipeline, on one page: data, model, training, use."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from diffsensei.config.base import Config, NonNegativeInt, Rate

# ---------------------------------------------------------------- data


class SyntheticSource(Config):
    """The embedded data set: drawn manga with exact annotations."""

    kind: Literal["synthetic"] = "synthetic"
    num_series: Annotated[int, Field(ge=1, le=64)]
    """Series, each with its own art style and cast."""
    pages_per_series: PositiveInt
    """Double pages drawn for each series."""
    page_height: Annotated[int, Field(ge=96)]
    """Height of a page in pixels; a half is 2/3 as wide, a double page 4/3."""
    seed: NonNegativeInt
    """Seed of the world: style, cast, layout and states all follow from it."""
    defect_rate: Rate = 0.0
    """Share of pages that carry an injected defect (dead url, truncated image, bad box, bad path, ...)."""


class MangaZeroSource(Config):
    """The annotation file of the MangaZero data set; its images are one's own files, or downloaded from its urls."""

    kind: Literal["mangazero"] = "mangazero"
    annotations: str
    """Path of the annotation JSON (a list of pages)."""
    images: tuple[str, ...] = ()
    """Folders, CBZ or ZIP archives and PDFs of one's own, matched to the annotations before anything is downloaded."""
    hash_list: str = ""
    """JSON of sha256 and perceptual hash by url, as `diffsensei data hashes` writes it; helps to match files."""
    accept_download: bool = False
    """Downloading from outside is opt-in: set true only with the right to fetch these pages."""
    contact: str = ""
    """E-mail or url put into the User-Agent, as the image hosts require."""


class Manga109Source(Config):
    """Manga109 or Manga109-s as published: ``books.txt``, ``images/<title>/``, ``annotations/<title>.xml``."""

    kind: Literal["manga109"] = "manga109"
    root: str
    """Folder that holds the three."""
    accept_terms: bool = False
    """The data is for academic use and may not be passed on: set true only when its terms were agreed to."""
    books: tuple[str, ...] = ()
    """Titles to read; none means all of ``books.txt``."""
    pages_per_book: PositiveInt | None = None
    """Pages of each title, chosen by a rule; none means all with a panel."""


class FilesSource(Config):
    """Pages of one's own without annotation: each path a folder of images, a CBZ or ZIP archive or a PDF."""

    kind: Literal["files"] = "files"
    paths: tuple[str, ...]
    """Each is a series, called by its name; subfolders are chapters."""
    pdf_dpi: Annotated[int, Field(ge=36, le=1200)] = 300
    """Resolution at which pages of PDFs are drawn that are more than one scanned image."""


DataSource = Annotated[SyntheticSource | MangaZeroSource | Manga109Source | FilesSource, Field(discriminator="kind")]


class CaptionerConfig(Config):
    """The vision-language model that captions panels (paper sec. 3.2: LLaVA-v1.6-34B, prompt unpublished)."""

    backend: Literal["transformers", "openai"]
    """A LLaVA-NeXT folder or hub id in this process, or any server that speaks OpenAI's chat API."""
    model: str
    """Folder or hub id; for a server, the name it knows the model by."""
    server: str = ""
    """Base url of the server, such as http://127.0.0.1:8000/v1."""
    prompt: str
    max_new_tokens: PositiveInt
    batch_size: PositiveInt
    """Panels per forward pass, or requests in flight."""
    max_image_side: PositiveInt
    """Longer edge (pixels) of the picture shown to the model."""


class AnnotationConfig(Config):
    """How pages are annotated that came without: by Magi and a captioner, then corrected by people."""

    detector: str
    """Magi: hub id or local folder."""
    detection_batch_size: PositiveInt
    """Pages the detector reads at once: speed, not results."""
    captioner: CaptionerConfig
    edits: tuple[str, ...] = ()
    """Corrections by people, applied in order: edits JSONL, Label Studio JSON or CVAT 1.1 XML files."""


class DownloadConfig(Config):
    """How politely and how carefully pages are fetched."""

    requests_per_s: PositiveFloat
    """Ceiling of one limiter shared by all connections."""
    max_connections: PositiveInt
    timeout_s: PositiveFloat
    """Deadline of one request, body included."""
    max_attempts: PositiveInt
    """Tries for transient faults (5xx, time-out, reset); 404, 410 and 451 are final at once."""
    max_bytes: PositiveInt
    """Largest accepted image file."""
    max_megapixels: PositiveFloat
    """Largest accepted image area, checked before it is decoded."""
    allowed_hosts: tuple[str, ...]
    """Host suffixes that may be contacted over https; private addresses are always refused."""


class ValidationConfig(Config):
    """Thresholds of the data checks."""

    min_panel_side: PositiveInt
    """Panels with a shorter edge (pixels) are quarantined."""
    min_character_side: PositiveInt
    """Characters with a shorter edge (pixels) are counted as too small for a reference."""
    box_tolerance_px: NonNegativeInt
    """Boxes that leave their page by no more than this are clamped; others are quarantined."""
    min_share_inside_panel: Rate
    """A character or dialog with less of its area inside its panel is counted as a warning; at 0 it is quarantined."""
    max_quarantine_rate: Rate
    """More pages quarantined than this share stops the run."""
    waivers: str
    """JSON list of items to accept in spite of a check, ``[{"id": ..., "reason": ..., "note": ...}]``; "" for none."""
    compare_with: str
    """The statistics.json of another version of the data, whose distributions these should have; "" for none."""
    drift_warning: PositiveFloat
    """Population stability index (PSI) between the two above which a distribution is reported as changed."""
    drift_stop: PositiveFloat
    """PSI above which the run stops."""


class SplitConfig(Config):
    """Which pages are held out."""

    eval_pages_per_series: PositiveInt
    min_panels: PositiveInt
    """Only pages with at least so many panels qualify for evaluation."""


class BucketConfig(Config):
    """Training sizes: tiers of equal area, each with buckets over the aspect ratio."""

    tiers: tuple[PositiveInt, ...]
    """Edge (pixels) of the square bucket of each tier, ascending."""
    buckets_per_orientation: PositiveInt
    """Landscape (and portrait) buckets per tier, the square one included."""
    multiple: PositiveInt
    """Edges of the largest tier are multiples of this; smaller tiers are that tier scaled down."""


class ConditioningConfig(Config):
    """How a panel's conditions are drawn in training."""

    max_characters: PositiveInt
    max_dialogs: PositiveInt
    self_condition_rate: Rate
    """Probability that a character's reference is its own crop from the target panel."""
    character_drop_rate: Rate
    """Probability, per character, of dropping it (its area falls to the background tokens)."""
    caption_drop_rate: Rate
    flip_rate: Rate
    """Probability of mirroring a reference crop."""
    min_reference_side: PositiveInt
    """Reference crops must be larger than this (pixels) on both edges."""


class CacheConfig(Config):
    """Which frozen features are computed once, before training."""

    text: bool
    """Text embeddings per caption (318 KB a caption at SDXL size)."""
    characters: bool
    """Image features per reference crop and its mirror image (660 KB each at ViT-H size)."""


class DataConfig(Config):
    """From annotation to training set."""

    source: DataSource
    evaluation_source: Manga109Source | None = None
    """Pages beside the held-out ones that are only ever evaluated on (paper Table 2: Manga109)."""
    download: DownloadConfig
    annotation: AnnotationConfig
    validation: ValidationConfig
    split: SplitConfig
    buckets: BucketConfig
    conditioning: ConditioningConfig
    cache: CacheConfig


# ---------------------------------------------------------------- model


class Foundations(Config):
    """Where the frozen (or initial) parts come from: each a hub id, a local folder or ``embedded:<name>``."""

    vae: str
    text_encoder: str
    """Folder with ``tokenizer`` beside it: first CLIP text encoder of SDXL."""
    text_encoder_2: str
    unet: str
    """Initial UNet, or ``random`` to start from the architecture in `UNetConfig`."""
    clip_image_encoder: str
    """CLIP vision tower whose penultimate tokens describe a character."""
    magi_image_encoder: str
    """ViT-MAE whose CLS token describes a manga character."""
    ip_adapter: str
    """IP-Adapter-Plus weights for the resampler and the character K/V, or ``none``."""
    llm: str
    """Llama with image-slot tokens in its vocabulary, tokenizer beside it."""


class UNetConfig(Config):
    """Architecture of the SDXL UNet (used as it stands when `Foundations.unet` is ``random``)."""

    block_out_channels: tuple[PositiveInt, ...]
    transformer_layers_per_block: tuple[NonNegativeInt, ...]
    """Transformer blocks per attention module, one entry per level; 0 means a level without attention."""
    layers_per_block: PositiveInt
    attention_head_dim: tuple[PositiveInt, ...]
    """Number of attention heads per level (diffusers' historical name)."""
    addition_time_embed_dim: PositiveInt


class ResamplerConfig(Config):
    """The feature extractor: perceiver resampler over image tokens (IP-Adapter-Plus style)."""

    dim: PositiveInt
    depth: PositiveInt
    heads: PositiveInt
    head_dim: PositiveInt
    num_queries: PositiveInt
    """Tokens per character; as many background (dummy) tokens are learnt."""
    magi: bool = True
    """Read Magi's vector beside CLIP's tokens; without it, Table 3's row without Magi."""


class IdentityAdapterConfig(Config):
    """The MLLM adapter: LoRA and two resamplers around the language model."""

    lora_rank: PositiveInt
    lora_alpha: PositiveFloat
    lora_dropout: Rate
    resampler_heads: PositiveInt
    max_caption_tokens: PositiveInt
    lm_loss_scale: Annotated[float, Field(ge=0)]
    rec_loss_scale: Annotated[float, Field(ge=0)]
    diffusion_loss_scale: Annotated[float, Field(ge=0)]
    train_norms: bool = True
    """Train the language model's RMSNorms beside LoRA (reference code)."""
    train_image_tokens: bool = True
    """Train the rows of the image tokens in embedding and head (the reference code trains all rows)."""


class LayoutConfig(Config):
    """How boxes reach the UNet: what the paper proposes (``mask``), and what its Table 3 compares it with."""

    characters: Literal["mask", "fourier", "none"] = "mask"
    """Masked cross-attention; Fourier embeddings of the boxes added to the characters' tokens; or no boxes at all."""
    dialogs: Literal["mask", "fourier", "none"] = "mask"
    """An embedding inside the boxes; Fourier embeddings of the boxes in the timestep embedding; or none at all."""


class FidelityConfig(Config):
    """Where we correct the reference code and where we follow it, so that weights run as they were trained.

    Two combinations make sense: `CORRECTED` for own training, `REFERENCE` for released weights.
    """

    mask: Literal["exact", "reference"]
    """Cells of a character's box: by their centres on the true grid, or with the reference's inclusive edges, guessed
    grid and padding boxes on the first cell."""
    boxes: Literal["corrected", "uncropped"]
    """Training boxes follow the centre crop of their panel, or stay relative to the whole panel."""
    magi_patches: Literal["all", "masked"]
    """Magi's ViT-MAE sees every patch, or hides the random share that its own configuration names."""
    empty_slots: Literal["zero", "resampled"]
    """In inference, slots without a character (all those of guidance's negative branch) hold zeros as in training, or
    the resampler's answer to zero features."""


CORRECTED = FidelityConfig(mask="exact", boxes="corrected", magi_patches="all", empty_slots="zero")
REFERENCE = FidelityConfig(mask="reference", boxes="uncropped", magi_patches="masked", empty_slots="resampled")


class ModelConfig(Config):
    foundations: Foundations
    unet: UNetConfig
    resampler: ResamplerConfig
    adapter: IdentityAdapterConfig
    layout: LayoutConfig
    fidelity: FidelityConfig


# ---------------------------------------------------------------- training


class TrainStageConfig(Config):
    """One training stage of the paper."""

    steps: PositiveInt
    """Optimizer steps."""
    learning_rate: PositiveFloat
    warmup_steps: NonNegativeInt
    decay_steps: NonNegativeInt
    """The last steps, over which the rate falls linearly to zero; 0 keeps it constant."""
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: PositiveFloat | None
    """Clip the gradient norm here; null leaves gradients as they are."""
    global_batch_size: tuple[PositiveInt, ...]
    """Panels per optimizer step, one entry per size tier."""
    micro_batch_size: tuple[PositiveInt, ...]
    """Panels per process and forward pass, one entry per size tier."""
    checkpoint_every_steps: PositiveInt
    ema_decay: Rate | None = None
    """Keep a moving average of the trained weights that forgets 1 - this a step, and end with it; null ends with the
    last step's weights."""


class GeneratorStageConfig(TrainStageConfig):
    """Stage 1 or a compared method of its kind, which may train less than the whole UNet. The resampler is always
    trained."""

    trained: Literal["full", "lora", "new", "ip"] = "full"
    """Of the UNet: all of it; LoRA on the attention and the characters' keys and values; what the conditions added;
    or the characters' keys and values alone (reference code)."""
    lora_rank: PositiveInt = 128
    """Only with ``trained`` lora."""
    lora_alpha: PositiveFloat = 128.0


Precision = Literal["no", "bf16"]
BucketDraw = Literal["step", "part"]


class TrainingConfig(Config):
    pretrain: TrainStageConfig
    """Text-to-image pre-training of the SDXL UNet on manga."""
    stage1: GeneratorStageConfig
    """Image generator with character and dialog conditions."""
    stage2: TrainStageConfig
    """MLLM adapter, image generator frozen."""
    num_processes: PositiveInt
    """Processes (GPUs) that share a global batch."""
    mixed_precision: Precision
    bucket_draw: BucketDraw = "step"
    """Whether all panels of a step are of one size, or each part (micro batch) of it draws its own size, as each rank
    of the reference code does: then a step is a mixture, and takes as long as its slowest process."""


# ---------------------------------------------------------------- use


class SamplingConfig(Config):
    """How a panel is drawn."""

    steps: PositiveInt
    guidance_scale: Annotated[float, Field(ge=0.0)]
    """Weight of the conditions against none of them; at 1 and below they act as they are, in half the time."""
    character_scale: Annotated[float, Field(ge=0.0)]
    """Weight of the character attention beside the text attention (alpha)."""
    adapter_blend: Rate
    """Share of the MLLM's character tokens in the blend with the source's (beta)."""
    negative_prompt: str
    batch_size: PositiveInt
    min_side: PositiveInt = 8
    """Panels with a shorter edge (pixels) are refused."""
    max_side: PositiveInt = 2048
    """Panels with a longer edge (pixels) are refused."""


class JudgeConfig(Config):
    """The encoders that score; never those that condition."""

    clip: str
    further_clip: tuple[str, ...]
    """CLIP models scored beside ``clip``, each in a column of its own: the model moves CLIP by more than methods do."""
    dino: str
    dialog_detector: str
    states: str
    """The probe that reads drawn characters' states, or ``none``: only of a drawn world the truth is known."""
    fid_features: str
    """``embedded:<name>`` or the path of ``inception-2015-12-05.pt``."""
    fit: Literal["processor", "pad", "squash"]
    """How a panel meets a square encoder: its processor's centre crop, padding to a square, or squashing."""


class EvaluationConfig(Config):
    judges: JudgeConfig
    panel_size: Literal["native", "bucket"]
    """Score at the panel's own size (rounded to 8 pixels) or at its training bucket."""
    seeds: tuple[NonNegativeInt, ...]
    iou_threshold: Rate
    iou_sweep: tuple[Rate, ...]
    """Further thresholds of dialog F1, each in a column of its own."""
    dialog_truth: Literal["fed", "all"]
    """Dialog F1 counts the dialogs that the generator was given, or all of the panel."""
    detection_scope: Literal["panel", "page"]
    """Dialogs are looked for on each panel, or on a sheet of all panels of a page."""
    detection_threshold: Rate
    min_crop_side: PositiveInt
    """Character crops smaller than this are skipped by DINO-C and counted."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None
    """Send true and generated panels through JPEG of this quality before FID and its kin; null leaves them."""
    bootstrap_resamples: PositiveInt
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)]


class StudyConfig(Config):
    """The human preference study (paper sec. 5.1 and app. C)."""

    form: Literal["pairs", "best_of_all"]
    """Two methods at a time, or all of them as in the paper; either way "no difference" is an answer."""
    num_raters: Annotated[int, Field(ge=1, le=1000)]
    items_per_rater: Annotated[int, Field(ge=1, le=100)]
    """Page sets a rater judges, checks and repetitions not counted."""
    raters_per_item: PositiveInt
    """How many judge the same set: more tells how far raters agree, fewer covers more pages."""
    checks_per_rater: NonNegativeInt
    """Sets with an obvious answer: a true page beside its ruin."""
    repeats_per_rater: NonNegativeInt
    """Sets shown a second time, mirrored."""
    max_failed_checks: NonNegativeInt
    """A rater who fails more of them is left out."""
    min_median_s: Annotated[float, Field(ge=0)]
    """So is one whose median time per set is shorter."""
    page_width: Annotated[int, Field(ge=240, le=2400)]
    """Pixels of a composed page."""
    bootstrap_resamples: PositiveInt
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)]


class PagesLicence(Config):
    """By what right some of the pages were used."""

    pages: str = "*"
    """Which: a pattern of their paths, such as ``Series/*``."""
    licence: Annotated[str, Field(pattern=r"^[^\r\n]*\S[^\r\n]*$")]
    """Licence or permission, as it stands on the model card."""


class ReleaseConfig(Config):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    licence: str
    """Of the weights."""
    pages_licences: tuple[PagesLicence, ...] = ()
    """Of pages from outside (mangazero, files). What was made from a page that none of them names is not released."""


class ReportConfig(Config):
    """What the report shows beside the run's own results."""

    study: str = ""
    """Folder of an analysed study (``study.json``, and ``power.json`` where it was simulated), or empty."""
    images: Literal["none", "thumb", "full"] = "full"
    """Pictures in it: none (boxes and scores only, for data that may not be shown), thumbnails of 256 pixels, or also
    views of 768."""


class SlurmDaskConfig(Config):
    """Dask workers as Slurm jobs, for data that one machine is too small for: what each job asks for."""

    queue: str | None = None
    """Partition; None: the cluster's default."""
    account: str | None = None
    cores: PositiveInt = 8
    """Also the worker processes of a job, of one thread each."""
    memory_gb: PositiveFloat = 16.0
    walltime_min: PositiveInt = 240
    interface: str | None = None
    """Network interface over which scheduler and workers meet, such as ib0."""
    directives: tuple[str, ...] = ()
    """Further ``#SBATCH`` lines, such as ``--constraint=avx2``."""


Parallelism = Literal["replicate", "shard"]


class RuntimeConfig(Config):
    """Speed, not results: kept out of every stage key."""

    num_threads: PositiveInt
    """CPU threads of a compute job."""
    dask_workers: PositiveInt
    """Processes that share data work."""
    dask: Literal["local"] | SlurmDaskConfig = "local"
    """Where they run: on the stage's machine, or as Slurm jobs."""
    parallel_jobs: PositiveInt = 1
    """Jobs of networks that run side by side on this machine, each with the GPUs it asks for; on a cluster its queue
    decides."""
    log_every_steps: PositiveInt
    parallelism: Parallelism = "replicate"
    """Whether each training process holds all weights and optimizer state, or a part (FSDP2): the same result to
    rounding, in less memory, but with more to send. For networks that one GPU cannot hold."""
    gradient_checkpointing: Literal["none", "llm", "all"] = "none"
    """Networks whose activations are computed again in the backward pass: less memory, a third more time."""
    compile: Literal["none", "blocks"] = "none"
    """torch.compile for the transformer blocks of the UNet in training: the same result to rounding, after a wait at
    the first step. Needs a C++ compiler."""
    prompt_row_tokens: PositiveInt | None = None
    """Tokens in a row of the language model's training batch, which several prompts then share: the same result to
    rounding. None gives each prompt a row, padded to the longest."""
    compile_drawing: Literal["none", "blocks"] = "none"
    """The same when DiffSensei's own methods and MS-Diffusion draw: for benchmarks with few sizes of panels."""
    cuda_graphs: bool = False
    """Those methods record a denoising step on the GPU once a batch and repeat it: the same result to the bit, and no
    wait for Python between kernels, which small panels are made of."""
