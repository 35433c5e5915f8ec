"""Sizes of published networks as their ``config.json`` has them: hub ids are priced without being downloaded."""

from typing import Any

Sizes = dict[str, Any]

_SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
_SD = "stable-diffusion-v1-5/stable-diffusion-v1-5"
_VAE: Sizes = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
}


def _transformer(hidden: int, inner: int, layers: int, heads: int, **more: Any) -> Sizes:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        **more,
    }


def _vision(hidden: int, inner: int, layers: int, heads: int, patch: int, image: int = 224) -> Sizes:
    return _transformer(hidden, inner, layers, heads, patch_size=patch, image_size=image)


_CLIP_L_TEXT = _transformer(768, 3072, 12, 12, projection_dim=768)
_BIGG_TEXT = _transformer(1280, 5120, 32, 20, projection_dim=1280)

PUBLISHED: dict[str, Sizes] = {
    f"{_SDXL}/vae": _VAE,
    f"{_SDXL}/text_encoder": _CLIP_L_TEXT,
    f"{_SDXL}/text_encoder_2": _BIGG_TEXT,
    f"{_SD}/vae": _VAE,
    f"{_SD}/text_encoder": _CLIP_L_TEXT,
    f"{_SD}/unet": {"cross_attention_dim": 768},  # all else as diffusers' defaults, which are this UNet's
    "h94/IP-Adapter/models/image_encoder": _vision(1280, 5120, 32, 16, patch=14),
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k": {"vision_config": _vision(1664, 8192, 48, 16, patch=14)},
    "AILab-CVC/SEED-X-17B/seed_x/llm": _transformer(5120, 13824, 40, 40, vocab_size=32330),
    "ragavsachdeva/magi": {
        "crop_embedding_model_config": _vision(768, 3072, 12, 12, patch=16),
        # Conditional DETR's defaults on ResNet 50; the number of queries hardly matters.
        "detection_model_config": {"num_queries": 305, "backbone": "resnet50"},
        "detection_image_preprocessing_config": {"size": {"shortest_edge": 800, "longest_edge": 1333}},
    },
    "Salesforce/blip-itm-large-coco": {
        "vision_config": _vision(1024, 4096, 24, 16, patch=16, image=384),
        "text_config": _transformer(768, 3072, 12, 12, encoder_hidden_size=1024, vocab_size=30524),
    },
    # Qwen-VL's tower (ViT-G) and the pooling of its 1024 patches to 256 tokens.
    "Qwen/Qwen-VL-Chat": {
        "width": 1664,
        "layers": 48,
        "heads": 16,
        "inner": 8192,
        "patch": 14,
        "positions": 256,
        "num_tokens": 256,
        "dim": 4096,
    },
    "openai/clip-vit-large-patch14": {
        "vision_config": _vision(1024, 4096, 24, 16, patch=14),
        "text_config": _CLIP_L_TEXT,
        "projection_dim": 768,
    },
    "openai/clip-vit-base-patch32": {
        "vision_config": _vision(768, 3072, 12, 12, patch=32),
        "text_config": _transformer(512, 2048, 12, 8, projection_dim=512),
        "projection_dim": 512,
    },
    # Its processor cuts squares of 224 pixels; positions are learnt at 518.
    "facebook/dinov2-base": _transformer(768, 3072, 12, 12, patch_size=14, image_size=518, crop_size=224),
    "llava-hf/llava-v1.6-34b-hf": {
        "vision_config": _vision(1024, 4096, 24, 16, patch=14, image=336),
        "text_config": _transformer(7168, 20480, 60, 56, num_key_value_heads=8, vocab_size=64064),
    },
}
"""Hub id -> what its networks are built from."""
