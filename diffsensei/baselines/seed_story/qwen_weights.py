"""Where Qwen-VL's visual tower lies: in a state dict of its own, or under a prefix in the shards of Qwen-VL.

The published code takes it out of Qwen-VL-Chat into a file of its own; here Qwen-VL itself will do. Of a hub id, only
the shards that hold the tower are downloaded.
"""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

from diffsensei.foundations.locations import Location, resolve
from diffsensei.models.weights import below
from diffsensei.released.layout import read_object
from diffsensei.released.stored import State, pickled_state, safetensors_state

STATE_DICT = "qwen_vit_G.pt"
"""The published name of the tower's own state dict."""
PREFIX = "transformer.visual."
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True, eq=False)
class TowerWeights:
    """The tower's tensors, and what to call their source in messages."""

    state: State
    source: str


def find_tower(reference: str) -> TowerWeights | None:
    """The tower that ``reference`` names: a file of its state dict, a folder with ``qwen_vit_G.pt``, or Qwen-VL as a
    folder or hub id; None for anything else.

    Raises ValueError where Qwen-VL's weights are not all there, or damaged.
    """
    path = Path(reference).expanduser()
    for weights in (path, path / STATE_DICT):
        if weights.is_file():
            return TowerWeights(_read(weights), str(weights))
    location = resolve(reference)
    config = _fetch(location, "config.json")
    if config is None or read_object(config).get("model_type") != "qwen":
        return None
    return TowerWeights(_from_shards(location), f"{reference} ({PREFIX.rstrip('.')})")


def _from_shards(location: Location) -> State:
    index = next((path for name in _INDICES if (path := _fetch(location, name)) is not None), None)
    if index is None:
        raise ValueError(f"{location.reference}: expected {' or '.join(_INDICES)}, found none; download Qwen-VL whole")
    place_of = read_object(index).get("weight_map")
    if not isinstance(place_of, dict):
        raise ValueError(f"{index}: expected a weight_map, found none; download the file again")
    tower = below(PREFIX, place_of)
    shards = {}
    for name in sorted(set(tower.values())):
        shard = _fetch(location, name)
        if shard is None:
            raise ValueError(f"{location.reference}: expected the shard {name}, found none; download it again")
        shards[name] = below(PREFIX, _read(shard))
    absent = sorted(name for name, shard in tower.items() if name not in shards[shard])
    if absent:
        raise ValueError(f"{index}: {absent[:5]} are not in the shards it names; download Qwen-VL again")
    return {name: shards[shard][name] for name, shard in tower.items()}


def _fetch(location: Location, name: str) -> Path | None:
    """A file of the folder or hub repository; None where there is none, or none that can be reached."""
    if not location.is_hub:
        path = location.folder() / name
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(location.source, name, subfolder=location.subfolder))
    except (OSError, HfHubHTTPError):
        return None


def _read(weights: Path) -> State:
    return safetensors_state(weights) if weights.suffix == ".safetensors" else pickled_state(weights)
