"""Values that presets share: where frozen parts come from, and manners."""

from diffsensei.config.baselines import (
    StableDiffusionParts,
)
from diffsensei.config.gate import AgainstMethod, AgainstPrevious, GateRule
from diffsensei.config.schema import (
    AnnotationConfig,
    CaptionerConfig,
    DownloadConfig,
    Foundations,
    JudgeConfig,
)

EMBEDDED_FOUNDATIONS = Foundations(
    vae="embedded:vae",
    text_encoder="embedded:text_encoder",
    text_encoder_2="embedded:text_encoder_2",
    unet="embedded:unet",
    clip_image_encoder="embedded:clip_image_encoder",
    magi_image_encoder="embedded:magi_image_encoder",
    ip_adapter="none",
    llm="embedded:llm",
)

EMBEDDED_JUDGES = JudgeConfig(
    clip="embedded:judge_clip",
    further_clip=(),
    dino="embedded:judge_dino",
    dialog_detector="embedded:judge_detector",
    states="embedded:judge_states",
    fid_features="embedded:judge_clip",
    fit="squash",
)

PAPER_JUDGES = JudgeConfig(
    clip="openai/clip-vit-large-patch14",
    further_clip=("openai/clip-vit-base-patch32",),
    dino="facebook/dinov2-base",
    dialog_detector="ragavsachdeva/magi",
    states="none",
    fid_features="inception-2015-12-05.pt",
    fit="processor",
)
JUDGE_PROFILES: dict[str, JudgeConfig] = {"paper": PAPER_JUDGES, "ours": PAPER_JUDGES.replaced(fit="pad")}
"""The same judges twice: as the papers of this field show panels to them, and so that they see whole panels."""

DEMO_NEGATIVE_PROMPT = "think lines, pure black background, colored, lowres, bad anatomy, worst quality, low quality"
POLITE_DOWNLOAD = DownloadConfig(
    requests_per_s=2.0,
    max_connections=2,
    timeout_s=60.0,
    max_attempts=5,
    max_bytes=32 * 2**20,
    max_megapixels=40.0,
    allowed_hosts=("mangadex.org", "mangadex.network"),
)

MACHINE_ANNOTATION = AnnotationConfig(
    detector="ragavsachdeva/magi",
    detection_batch_size=4,
    captioner=CaptionerConfig(
        backend="transformers",
        model="llava-hf/llava-v1.6-34b-hf",
        prompt=(
            "Describe this manga panel in one paragraph of at most 60 words: who is there, what they do, their "
            "expressions, the setting and the framing. Ignore speech bubbles and any text. Do not guess names."
        ),
        max_new_tokens=128,
        batch_size=8,
        max_image_side=672,
    ),
)

EMBEDDED_STABLE_DIFFUSION = StableDiffusionParts(
    unet="embedded:unet", vae="embedded:vae", text_encoder="embedded:text_encoder"
)
STABLE_DIFFUSION = StableDiffusionParts(
    unet="stable-diffusion-v1-5/stable-diffusion-v1-5/unet",
    vae="stable-diffusion-v1-5/stable-diffusion-v1-5/vae",
    text_encoder="stable-diffusion-v1-5/stable-diffusion-v1-5/text_encoder",
)


def release_rules(min_pages: int) -> tuple[GateRule, ...]:
    """The mechanisms do their job (against the model that sees the caption only), and no release loses what the last
    one had."""
    alone = AgainstMethod(method="sdxl_t2i")
    claims = (
        GateRule(
            name="identity",
            metric="dino_c",
            against=alone,
            direction="higher",
            claim="superior",
            margin=0.0,
            alpha=0.05,
            min_pages=min_pages,
        ),
        GateRule(
            name="dialogs",
            metric="dialog_f1",
            against=alone,
            direction="higher",
            claim="superior",
            margin=0.1,
            alpha=0.05,
            min_pages=min_pages,
        ),
        GateRule(
            name="caption",
            metric="clip",
            against=alone,
            direction="higher",
            claim="not_inferior",
            margin=0.02,
            alpha=0.05,
            min_pages=min_pages,
        ),
    )
    kept = {"dino_c": 0.05, "dialog_f1": 0.05}
    return claims + tuple(
        GateRule(
            name=f"keeps_{metric}",
            metric=metric,
            against=AgainstPrevious(),
            direction="higher",
            claim="not_inferior",
            margin=margin,
            alpha=0.05,
            min_pages=min_pages,
        )
        for metric, margin in kept.items()
    )
