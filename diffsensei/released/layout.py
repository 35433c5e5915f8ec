"""Names in the released folder (hub: jianzongwu/DiffSensei), its JSON files, and what they leave unsaid.

The agent's file comes without configuration: its head count does not show in tensor shapes, so it is that of the
release unless a ``config.json`` beside the weights (as `writing` leaves it) says otherwise. `settings` does the same
for the image generator.
"""

import json
from pathlib import Path
from typing import Any

IMAGE_GENERATOR = "image_generator"
MLLM = "mllm"
RESAMPLER = "image_proj_model"
"""In the image generator's folder."""
PICKLED = "pytorch_model.bin"

AGENT_DEFAULTS: dict[str, Any] = {"heads": 32, "max_caption_tokens": 77}


def is_released(folder: Path) -> bool:
    """Whether ``folder`` has the released layout."""
    return (folder / IMAGE_GENERATOR / "model_index.json").is_file()


def require_file(path: Path) -> Path:
    """``path``. Raises ValueError where there is no such file."""
    if not path.is_file():
        raise ValueError(f"expected {path.name} in {path.parent}, found none; download that file of the release")
    return path


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ValueError if the file is missing or holds anything else."""
    try:
        value = json.loads(require_file(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected JSON, got {error}; download the file again") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(value).__name__}; download the file again")
    return value


def settings_beside(weights: Path, defaults: dict[str, Any]) -> dict[str, Any]:
    """``defaults``, overridden by those of their names that ``config.json`` beside ``weights`` sets."""
    config = weights.parent / "config.json"
    own = read_object(config) if config.is_file() else {}
    return {name: own.get(name, value) for name, value in defaults.items()}
