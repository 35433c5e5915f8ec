"""What the tests of several methods start from: arguments all training stages share, and a pre-trained UNet."""

from pathlib import Path
from typing import Any

from diffsensei.config.presets import tiny
from diffsensei.training.stages import pretrain

TEXT = ("text_encoder", "text_encoder_2")


def folders(root: Path) -> dict[str, Path]:
    made = {name: root / name for name in ("workspace", "output")}
    for path in made.values():
        path.mkdir(parents=True, exist_ok=True)
    return made


def common(world: Any, root: Path) -> dict[str, Any]:
    settings = {"seed": 0, "num_processes": 1, "mixed_precision": "no", "num_threads": 1, "log_every_steps": 1}
    settings["buckets"] = tiny().data.buckets
    return settings | {"panels": world.panels, "features": world.features, **folders(root)}


def run_pretrain(world: Any, experiment: Any, root: Path) -> Path:
    """The output of a few steps of text-to-image pre-training."""
    pretrain(
        stage=experiment.training.pretrain,
        unet=experiment.model.unet,
        unet_weights="random",
        caption_drop_rate=0.05,
        gradient_checkpointing="none",
        compilation="none",
        **world.named("vae", *TEXT),
        **common(world, root),
    )
    return root / "output"
