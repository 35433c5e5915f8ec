"""Reads the frozen features of the training panels, stored by `features` or computed by the same encoders."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor

from diffsensei.data.panels.buckets import Bucket
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.foundations.loading import ImageEncoder, TextEncoder
from diffsensei.models.character_features import encode_characters
from diffsensei.models.text import encode_text


class FeatureIndex(BaseModel):
    """``index.json`` of a feature folder, written last."""

    buckets: list[tuple[int, int, int]]
    """Height, width and tier index of each bucket."""
    scaling_factor: float
    """Multiplies VAE latents to about unit variance."""
    latent_channels: int
    num_panels: int
    num_crops: int
    captions_sha256: str
    shard_rows: int
    text: bool
    """Whether text features are stored."""
    characters: bool
    """Whether character features are stored."""

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
    """Rows of an array kept in shards on disk."""

    def __init__(self, folder: Path, name: str, shard_rows: int) -> None:
        self._folder, self._name, self._shard_rows = folder, name, shard_rows
        self._shards: dict[int, NDArray[np.float16]] = {}

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """``rows`` (b,) in the order asked for: (b, ...) float32."""
        if not len(rows):
            return torch.zeros(0, *self._shard(0).shape[1:])
        picked = [self._shard(int(row) // self._shard_rows)[int(row) % self._shard_rows] for row in rows]
        return torch.from_numpy(np.stack(picked)).float()

    def _shard(self, index: int) -> NDArray[np.float16]:
        if index not in self._shards:
            self._shards[index] = np.load(shard_path(self._folder, self._name, index), mmap_mode="r")
        return self._shards[index]


class PanelMoments:
    """VAE moments of the training panels."""

    def __init__(self, folder: Path, index: FeatureIndex) -> None:
        self.buckets = tuple(Bucket(*size) for size in index.buckets)
        self.panel_buckets: NDArray[np.int64] = np.load(folder / "panel_buckets.npy")
        self.scaling_factor = index.scaling_factor
        self.latent_channels = index.latent_channels
        self._rows_in_bucket = np.empty_like(self.panel_buckets)
        for bucket in range(len(self.buckets)):
            members = np.flatnonzero(self.panel_buckets == bucket)
            self._rows_in_bucket[members] = np.arange(len(members))
        self._stored = [
            StoredRows(folder, f"moments/{bucket:03d}", index.shard_rows) for bucket in range(len(self.buckets))
        ]

    def read(self, bucket: int, panels: NDArray[np.int64]) -> Tensor:
        """Moments (b, 2C, h, w) of ``panels`` (b,), all of ``bucket``."""
        return self._stored[bucket].read(self._rows_in_bucket[panels])


class StoredText:
    def __init__(self, folder: Path, index: FeatureIndex) -> None:
        self._tokens = StoredRows(folder, "text_tokens", index.shard_rows)
        self._pooled = StoredRows(folder, "pooled_text", index.shard_rows)

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
        self._clip = StoredRows(folder, "clip_tokens", index.shard_rows)
        self._magi = StoredRows(folder, "magi_cls", index.shard_rows)

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
    return FeatureIndex.model_validate_json(path.read_text())


def crop_images(panel_set: PanelSet, rows: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """Grey images of ``rows`` = 2 * crop + mirrored."""
    crops = [panel_set.crop_image(int(row) // 2) for row in rows]
    return [crop[:, ::-1] if row % 2 else crop for crop, row in zip(crops, rows, strict=True)]


def captions_digest(captions: Sequence[str]) -> str:
    """sha256 of the distinct captions: tells whether features belong to a panel set."""
    return hashlib.sha256("\0".join(captions).encode()).hexdigest()


def shard_path(folder: Path, name: str, index: int) -> Path:
    return folder / name / f"{index:05d}.npy"
