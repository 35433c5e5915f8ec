"""Reads the frozen features of the training panels, stored by `features` or computed by the same encoders."""

import hashlib
import mmap
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from diffsensei.config.schema import BucketConfig
from diffsensei.data.panels.buckets import Bucket
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.foundations.loading import ImageEncoder, TextEncoder
from diffsensei.foundations.locations import foundation_digest
from diffsensei.models.character_features import encode_characters
from diffsensei.models.text import encode_text


class FeatureSources(BaseModel):
    """sha256 of each thing that features are a function of; what a reader cannot know is None."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    panels: str
    """The panel set: its tables, with the check sums of its images."""
    buckets: str
    """The table of training sizes."""
    vae: str
    text: str | None = None
    """Text encoders with their tokenizers."""
    characters: str | None = None
    """Image encoders with their preprocessing, and how many patches Magi's sees."""

    @classmethod
    def of(
        cls,
        panels: PanelSet,
        buckets: BucketConfig,
        vae: str,
        *,
        text_encoders: Sequence[str] = (),
        image_encoders: Sequence[str] = (),
        magi_patches: Literal["all", "masked"] = "all",
    ) -> "FeatureSources":
        """Models are named by their references, and count by content where that is at hand (`foundation_digest`)."""
        return cls(
            panels=panels.digest(),
            buckets=_sha256(buckets.model_dump_json()),
            vae=foundation_digest([vae]),
            text=foundation_digest(text_encoders) if text_encoders else None,
            characters=_sha256(f"{foundation_digest(image_encoders)} {magi_patches}") if image_encoders else None,
        )


_SOURCE_NAMES = {
    "panels": "another panel set",
    "buckets": "another table of buckets",
    "vae": "another VAE",
    "text": "other text encoders or tokenizers",
    "characters": "other image encoders or preprocessing",
}


class FeatureIndex(BaseModel):
    """``index.json`` of a feature folder, written last."""

    buckets: list[tuple[int, int, int]]
    """Height, width and tier index of each bucket."""
    scaling_factor: float
    """Multiplies VAE latents to about unit variance."""
    latent_channels: int
    num_panels: int
    num_crops: int
    sources: FeatureSources
    shard_rows: int
    text: bool
    """Whether text features are stored."""
    characters: bool
    """Whether character features are stored."""
    crc32: dict[str, int]
    """CRC-32 of each file, by its path in the folder."""

    def require(self, expected: FeatureSources, folder: Path) -> None:
        """Raises ValueError naming what the features in ``folder`` were made of instead of ``expected``.

        Features that are not stored, and sources that the reader does not name, make no difference.
        """
        ignored = {name for name in ("text", "characters") if not getattr(self, name)}
        wanted, given = expected.model_dump(exclude_none=True, exclude=ignored), self.sources.model_dump()
        for name, digest in wanted.items():
            if given[name] != digest:
                raise ValueError(
                    f"{folder} holds the features of {_SOURCE_NAMES[name]}: expected {name} {digest[:12]}, "
                    f"got {str(given[name])[:12]}; run stage features again"
                )

    def write(self, folder: Path) -> None:
        (folder / "index.json").write_text(self.model_dump_json(indent=1))


class TextFeatures(Protocol):
    """Text features by row of the distinct captions."""

    def __call__(self, captions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Text tokens (B, T, C) and pooled text (B, P), float32."""


class CharacterFeatures(Protocol):
    """Image features by row of the crop table."""

    def __call__(self, crops: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """CLIP tokens (K, S, clip_dim) and Magi CLS (K, magi_dim), float32."""


class StoredRows:
    """Rows of an array kept in shards on disk, each checked when it is first mapped."""

    def __init__(self, folder: Path, name: str, index: FeatureIndex) -> None:
        self._folder, self._name, self._index = folder, name, index
        self._shard_rows = index.shard_rows
        self._shards: dict[int, NDArray[np.float16]] = {}

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """``rows`` (b,) in the order asked for: (b, ...) float32."""
        if not len(rows):
            return torch.zeros(0, *self._shard(0).shape[1:])
        picked = [self._shard(int(row) // self._shard_rows)[int(row) % self._shard_rows] for row in rows]
        return torch.from_numpy(np.stack(picked)).float()

    def _shard(self, index: int) -> NDArray[np.float16]:
        if index not in self._shards:
            path = shard_path(self._folder, self._name, index)
            require_intact(path, self._index.crc32.get(path.relative_to(self._folder).as_posix()))
            self._shards[index] = np.load(path, mmap_mode="r")
        return self._shards[index]


class PanelMoments:
    """VAE moments of the training panels."""

    def __init__(self, folder: Path, index: FeatureIndex) -> None:
        self.buckets = tuple(Bucket(*size) for size in index.buckets)
        require_intact(folder / "panel_buckets.npy", index.crc32.get("panel_buckets.npy"))
        self.panel_buckets: NDArray[np.int64] = np.load(folder / "panel_buckets.npy")
        self.scaling_factor = index.scaling_factor
        self.latent_channels = index.latent_channels
        self._rows_in_bucket = np.empty_like(self.panel_buckets)
        for bucket in range(len(self.buckets)):
            members = np.flatnonzero(self.panel_buckets == bucket)
            self._rows_in_bucket[members] = np.arange(len(members))
        self._stored = [StoredRows(folder, f"moments/{bucket:03d}", index) for bucket in range(len(self.buckets))]

    def read(self, bucket: int, panels: NDArray[np.int64]) -> Tensor:
        """Moments (b, 2C, h, w) of ``panels`` (b,), all of ``bucket``."""
        return self._stored[bucket].read(self._rows_in_bucket[panels])


class StoredText:
    def __init__(self, folder: Path, index: FeatureIndex) -> None:
        self._tokens = StoredRows(folder, "text_tokens", index)
        self._pooled = StoredRows(folder, "pooled_text", index)

    def __call__(self, captions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return self._tokens.read(captions), self._pooled.read(captions)


class EncodedText:
    """Text features computed when asked for."""

    def __init__(self, encoders: Sequence[TextEncoder], captions: list[str]) -> None:
        self._encoders, self._captions = encoders, captions

    @torch.no_grad()
    def __call__(self, captions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        tokens, pooled = encode_text(self._encoders, [self._captions[row] for row in captions])
        return tokens.float(), pooled.float()


class StoredCharacters:
    def __init__(self, folder: Path, index: FeatureIndex) -> None:
        self._clip = StoredRows(folder, "clip_tokens", index)
        self._magi = StoredRows(folder, "magi_cls", index)

    def __call__(self, crops: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        rows = 2 * crops + mirrored
        return self._clip.read(rows), self._magi.read(rows)


class EncodedCharacters:
    """Character features computed when asked for."""

    def __init__(self, clip: ImageEncoder, magi: ImageEncoder, panel_set: PanelSet) -> None:
        self._clip, self._magi, self._panel_set = clip, magi, panel_set

    @torch.no_grad()
    def __call__(self, crops: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        # Without any crop one is encoded all the same, for the widths of the empty result.
        images = crop_images(self._panel_set, 2 * crops + mirrored) or [np.zeros((1, 1), np.uint8)]
        clip_tokens, magi_cls = encode_characters(self._clip, self._magi, images)
        return clip_tokens[: len(crops)].float(), magi_cls[: len(crops)].float()


def read_index(folder: Path) -> FeatureIndex:
    """The index of the features in ``folder``. Raises ValueError where there is none."""
    path = folder / "index.json"
    if not path.exists():
        raise ValueError(f"expected features in {folder}, found no index.json; run stage features first")
    try:
        return FeatureIndex.model_validate_json(path.read_text())
    except ValidationError:
        raise ValueError(f"{path} is damaged or of another version; run stage features again") from None


def crop_images(panel_set: PanelSet, rows: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """Grey images of ``rows`` = 2 * crop + mirrored."""
    crops = [panel_set.crop_image(int(row) // 2) for row in rows]
    return [crop[:, ::-1] if row % 2 else crop for crop, row in zip(crops, rows, strict=True)]


def file_crc32(path: Path) -> int:
    """CRC-32 of a file's bytes, some gigabytes a second. Raises ValueError where the file is absent or empty."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return zlib.crc32(data)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"{path} is absent or empty ({error}); run stage features again") from None


def require_intact(path: Path, crc32: int | None) -> None:
    """Raises ValueError unless the file has the check sum that the index names."""
    if file_crc32(path) != crc32:
        raise ValueError(f"{path} is damaged (its check sum is not the index's); run stage features again")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def shard_path(folder: Path, name: str, index: int) -> Path:
    return folder / name / f"{index:05d}.npy"
