"""Where the numbers of the compared methods in preset ``paper`` come from: their publications, or our decision.

The paper says neither steps, rates, sizes nor context lengths of what it re-trained. Steps are ours throughout: every
method sees as many panels as DiffSensei's stage 1, methods with two stages in the proportion of their published steps.
"""

_AR_LDM = {
    "blip.reference": "published: BLIP large before fine-tuning; this is the closest that is on the hub",
    "blip.image_side": "published code: squashed to 224 px",
    "window": "published code: four earlier panels can ever be seen",
    "caption_length": "published code: 65 to 100, by data set",
    "drop_rate": "published code: 10 % of targets, text and history at once",
    "training.steps": "ours: budget of stage 1 (published: 50 epochs of its own data sets)",
    "training.learning_rate": "published code: 1e-5",
    "training.warmup_steps": "published code: one epoch",
    "training.decay_steps": "ours: linear to zero (published: cosine to zero)",
    "training.weight_decay": "published code: 1e-4",
    "sampling.steps": "published code: DDIM 250",
    "sampling.guidance_scale": "published code: 6",
}
_STORYGEN = {
    "window": "published code: three earlier panels",
    "context_side": "published code: 512 px",
    "mask_dialogs": "published code masks text out of the loss",
    "drops.text_rate": "published code: 5 %",
    "drops.context_rate": "published code: 10 %",
    "drops.all_rate": "published code: .3, .3, .4 for three, two, one",
    "drops.all_but_one_rate": "published code: .3, .3, .4 for three, two, one",
    "single.steps": "ours: budget of stage 1, divided as 15k to 50k (published)",
    "context.steps": "ours: budget of stage 1, divided as 15k to 50k (published)",
    **{
        f"{stage}.{name}": f"published code: {value}"
        for stage in ("single", "context")
        for name, value in (
            ("learning_rate", "1e-5"),
            ("warmup_steps", "constant rate"),
            ("decay_steps", "constant rate"),
            ("weight_decay", "0.01"),
            ("max_grad_norm", "1"),
        )
    },
    "context_guidance_scale": "published code: 3.5",
    "sampling.steps": "published code: DDIM 40",
    "sampling.guidance_scale": "published code: 7",
}
_SEED_STORY = {
    "visual_encoder": "published code: the visual tower of Qwen-VL-Chat",
    "llm": "ours: SEED-X's Llama, which has image slots (published: a 7B foundation of its own)",
    "language.lora_rank": "published configuration: 16",
    "language.lora_alpha": "published configuration: 32",
    "language.lora_dropout": "published configuration: 0.05",
    "language.num_slots": "published: 64 image slots",
    "language.resampler_heads": "published configuration: 32",
    "language.max_caption_tokens": "ours: ten panels in the published 1280 tokens",
    "language.max_written_tokens": "ours: as long as captions may be (published: 500 tokens, image included)",
    **{f"resampler.{name}": "published de-tokenizer" for name in ("dim", "depth", "heads", "head_dim", "num_queries")},
    "window": "published code: 8 images",
    "drop_rate": "ours: the first stage, which learns blank features, is left out (published: no drops)",
    "language_training.steps": "ours: budget of stage 1, divided as 6000 to 1600 (published)",
    "language_training.learning_rate": "published configuration: 1e-4",
    "language_training.warmup_steps": "published configuration: 100",
    "language_training.decay_steps": "ours: linear to zero (published: cosine to 5 %)",
    "language_training.weight_decay": "published configuration: 0.05",
    "detokenizer_training.steps": "ours: budget of stage 1, divided as 6000 to 1600 (published)",
    "detokenizer_training.learning_rate": "published configuration: 1e-4",
    "detokenizer_training.warmup_steps": "published configuration: 500",
    "detokenizer_training.decay_steps": "ours: linear to zero (published: cosine to 1 %)",
    "detokenizer_training.weight_decay": "published configuration: 0.03",
    "sampling.steps": "published code: Euler 50",
    "sampling.guidance_scale": "published code: 7.5",
}
_MS_DIFFUSION = {
    "clip_image_encoder": "published code: OpenCLIP ViT-bigG",
    "phrase": "ours: MangaZero has no phrases, so all subjects have one",
    **{f"grounding.{name}": "published adapter" for name in ("dim", "depth", "heads", "head_dim", "num_queries")},
    "drops.image_rate": "published code: 5 %",
    "drops.text_rate": "published code: 5 %",
    "drops.both_rate": "published code: 5 %",
    "drops.grounding_rate": "published code: 10 %",
    "training.steps": "ours: budget of stage 1 (published: one epoch of an in-house set)",
    "training.learning_rate": "published code: 1e-4",
    "training.warmup_steps": "published code: constant rate",
    "training.decay_steps": "published code: constant rate",
    "training.weight_decay": "published code: 0.01",
    "training.max_grad_norm": "published code: 1",
    "training.trained": "published code: the UNet is frozen",
    "dialogs_training.steps": "ours: budget of stage 1",
    "dialogs_training.learning_rate": "ours: as stage 1, whose rate is the paper's for a whole UNet",
    "dialogs_training.warmup_steps": "ours: as stage 1",
    "dialogs_training.decay_steps": "ours: as stage 1",
    "dialogs_training.weight_decay": "ours: as stage 1",
    "dialogs_training.max_grad_norm": "ours: as stage 1",
    "dialogs_training.trained": "ours: a frozen UNet hardly learns bubbles, and paper Table 2 has F1 0.720 here",
    "sampling.steps": "published code: Euler 30",
    "sampling.guidance_scale": "published code: 7.5",
    "sampling.character_scale": "published code: 0.6",
    "sampling.negative_prompt": "ours: the published one begins with monochrome, which manga is",
}
_STORYDIFFUSION = {
    "sharing.identity_panels": "published code: 3 to 4",
    "sharing.page_side": "ours: SDXL's own size (paper: a fixed resolution; published code: 768 px)",
    "sharing.sample_rate": "published code: half the tokens",
    "sharing.unshared_steps": "published code: 5",
    "sharing.early_steps": "published code: 20",
    "sharing.early_rate": "published code: 0.7",
    "sharing.late_rate": "published code: 0.9",
    "sampling.steps": "published code: DDIM 50",
    "sampling.guidance_scale": "published code: 5",
}
_BASES = dict.fromkeys(("unet", "vae", "text_encoder"), "published: Stable Diffusion 1.5")

BASELINE_SOURCES: dict[str, str] = {
    f"baselines.{method}.{field}": source
    for method, sources in (
        ("stable_diffusion", _BASES),
        ("ar_ldm", _AR_LDM),
        ("storygen", _STORYGEN),
        ("seed_story", _SEED_STORY),
        ("ms_diffusion", _MS_DIFFUSION),
        ("storydiffusion", _STORYDIFFUSION),
    )
    for field, source in sources.items()
}
"""Dotted path -> source, for `PAPER_SOURCES`."""
