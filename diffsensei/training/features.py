"""Frozen features of the training panels, computed once before training: nothing random is lost by it.

A panel has no random augmentation (resize and centre crop only), so its VAE moments, mean and log variance, hold all
that training needs: latents are drawn from them anew at every step. Reference crops are mirrored at random, so both
sides are kept; a dropped caption is the empty one, which is kept as well.
"""

import io
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray

from diffsensei.config.schema import BucketConfig, CacheConfig
from diffsensei.data.panels.buckets import Bucket, assign_buckets, build_buckets, fit_panel
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.data.panels.training_panels import distinct_captions
from diffsensei.devices import own_device
from diffsensei.durable import link, write_whole
from diffsensei.foundations.loading import load_clip_image_encoder, load_magi_image_encoder, load_text_encoder, load_vae
from diffsensei.models.character_features import encode_characters
from diffsensei.models.text import encode_text
from diffsensei.progress import Progress
from diffsensei.training.feature_store import FeatureIndex, FeatureSources, crop_images, file_crc32, shard_path

SHARD_ROWS = 1024
"""Rows per file: the unit of resuming."""
BATCH_ROWS, BATCH_PIXELS = 64, 2**23
"""Images encoded at once: at most so many, and at most so many pixels."""

Rows = range
Encode = Callable[[Rows], tuple[NDArray[np.generic], ...]]


def encode_features(
    *,
    vae: str,
    text_encoder: str,
    text_encoder_2: str,
    clip_image_encoder: str,
    magi_image_encoder: str,
    magi_patches: Literal["all", "masked"],
    buckets: BucketConfig,
    cache: CacheConfig,
    num_threads: int,
    panels: Path,
    workspace: Path,
    output: Path,
) -> None:
    """Encode the training panels of stage ``panels`` into ``output`` (read by `feature_store`).

    Configuration: ``vae, text_encoder, text_encoder_2, clip_image_encoder, magi_image_encoder`` from
    ``model.foundations.*``, ``magi_patches`` from ``model.fidelity.magi_patches``, ``buckets`` from ``data.buckets``,
    ``cache`` from ``data.cache``, ``num_threads`` from ``runtime.num_threads``. Finished shards in
    ``workspace`` are not computed again.
    """
    torch.set_num_threads(num_threads)
    device = own_device()
    panel_set = PanelSet(panels / "train")
    sizes = build_buckets(buckets)
    panel_buckets = assign_buckets(panel_set.panels["height"], panel_set.panels["width"], sizes, buckets)
    captions, _ = distinct_captions(panel_set.panels["caption"])
    num_crops = len(panel_set.crops)
    total = len(panel_buckets) + len(captions) * cache.text + 2 * num_crops * cache.characters
    shards = _Shards(workspace, output, total)

    autoencoder = load_vae(vae).to(device)  # type: ignore[arg-type]
    with torch.inference_mode(), ThreadPoolExecutor(num_threads) as readers:
        for bucket_index, bucket in enumerate(sizes):
            members = np.flatnonzero(panel_buckets == bucket_index)

            def moments(rows: Rows, bucket: Bucket = bucket, members: NDArray[np.int64] = members) -> tuple[NDArray]:
                images = readers.map(lambda row: fit_panel(panel_set.panel_image(int(members[row])), bucket), rows)
                return (encode_moments(autoencoder, np.stack(list(images))),)

            batch_rows = max(1, min(BATCH_ROWS, BATCH_PIXELS // (bucket.height * bucket.width)))
            shards.write((f"moments/{bucket_index:03d}",), len(members), batch_rows, moments)
        if cache.text:
            encoders = [load_text_encoder(reference) for reference in (text_encoder, text_encoder_2)]
            for encoder in encoders:
                encoder.model.to(device)  # type: ignore[arg-type]

            def text(rows: Rows) -> tuple[NDArray, ...]:
                return _half(encode_text(encoders, [captions[row] for row in rows]))

            shards.write(("text_tokens", "pooled_text"), len(captions), BATCH_ROWS, text)
        if cache.characters:
            clip = load_clip_image_encoder(clip_image_encoder)
            magi = load_magi_image_encoder(magi_image_encoder, patches=magi_patches)
            clip.model.to(device)  # type: ignore[arg-type]
            magi.model.to(device)  # type: ignore[arg-type]

            def characters(rows: Rows) -> tuple[NDArray, ...]:
                return _half(encode_characters(clip, magi, crop_images(panel_set, np.array(rows))))

            shards.write(("clip_tokens", "magi_cls"), 2 * num_crops, BATCH_ROWS, characters)

    np.save(output / "panel_buckets.npy", panel_buckets)
    crc32 = shards.crc32 | {"panel_buckets.npy": file_crc32(output / "panel_buckets.npy")}
    FeatureIndex(
        buckets=[(bucket.height, bucket.width, bucket.tier_index) for bucket in sizes],
        scaling_factor=autoencoder.config.scaling_factor,
        latent_channels=autoencoder.config.latent_channels,
        num_panels=len(panel_buckets),
        num_crops=num_crops,
        sources=FeatureSources.of(
            panel_set,
            buckets,
            vae,
            text_encoders=(text_encoder, text_encoder_2),
            image_encoders=(clip_image_encoder, magi_image_encoder),
            magi_patches=magi_patches,
        ),
        shard_rows=SHARD_ROWS,
        text=cache.text,
        characters=cache.characters,
        crc32=crc32,
    ).write(output)


def encode_moments(vae: AutoencoderKL, images: NDArray[np.uint8]) -> NDArray[np.float16]:
    """VAE moments (B, 2C, h, w) of grey ``images`` (B, H, W): mean and log variance, in half precision.

    The reference code rounds latents to bfloat16 right after encoding, eight times coarser.
    """
    pixels = torch.from_numpy(images).to(vae.device).float() / 127.5 - 1.0
    parameters = vae.encode(pixels[:, None].expand(-1, 3, -1, -1)).latent_dist.parameters
    return parameters.half().cpu().numpy()


def _half(tensors: tuple[torch.Tensor, ...]) -> tuple[NDArray[np.float16], ...]:
    return tuple(tensor.half().cpu().numpy() for tensor in tensors)


class _Shards:
    """Arrays in shards: computed in the workspace, each committed by a rename, then linked into the output."""

    def __init__(self, workspace: Path, output: Path, total: int) -> None:
        self._shards, self._output = workspace / "shards", output
        self.crc32: dict[str, int] = {}
        """Check sum of each finished shard by its path in the output."""
        self._progress = Progress(workspace / "progress.json", "encode features", total, unit="rows")

    def write(self, names: tuple[str, ...], count: int, batch_rows: int, encode: Encode) -> None:
        """``encode(rows)`` gives one array per name for consecutive ``rows``; store all ``count`` rows."""
        for start in range(0, count, SHARD_ROWS):
            end = min(start + SHARD_ROWS, count)
            paths = [shard_path(self._shards, name, start // SHARD_ROWS) for name in names]
            if all(_is_intact(path) for path in paths):
                self._progress.advance(end - start)
            else:
                self._compute(paths, range(start, end), batch_rows, encode)
            for name, path in zip(names, paths, strict=True):
                target = shard_path(self._output, name, start // SHARD_ROWS)
                link(path, target)
                self.crc32[target.relative_to(self._output).as_posix()] = int(_check_sum_path(path).read_text())

    def _compute(self, paths: list[Path], rows: Rows, batch_rows: int, encode: Encode) -> None:
        batches = []
        for first in range(rows.start, rows.stop, batch_rows):
            batch = range(first, min(first + batch_rows, rows.stop))
            batches.append(encode(batch))
            self._progress.advance(len(batch))
        for path, parts in zip(paths, zip(*batches, strict=True), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            np.save(content, np.concatenate(parts))
            data = content.getvalue()
            write_whole(_check_sum_path(path), str(zlib.crc32(data)).encode())
            write_whole(path, data)


def _check_sum_path(shard: Path) -> Path:
    """Beside each shard of the workspace, written before it."""
    return shard.with_suffix(".crc32")


def _is_intact(shard: Path) -> bool:
    return shard.exists() and _check_sum_path(shard).read_text() == str(file_crc32(shard))
