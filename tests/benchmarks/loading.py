"""A training batch of panels: from cut panels and from stored VAE moments, against decoding the page for each panel."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import diffsensei.models  # noqa: F401  before diffusers: torchvision must be importable beside a CPU build of torch

# isort: split

import numpy as np
import pandas as pd
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffsensei.config.presets import paper
from diffsensei.config.schema import CacheConfig
from diffsensei.data.panels.bucket_sampler import BucketSampler
from diffsensei.data.panels.buckets import Bucket, build_buckets, fit_panel
from diffsensei.data.panels.cutting import pixel_bounds
from diffsensei.data.panels.panel_set import PanelSet
from diffsensei.data.tables import boxes_of
from diffsensei.foundations.loading import load_vae
from diffsensei.geometry import cover_size
from diffsensei.training.feature_store import PanelMoments, read_index
from diffsensei.training.features import encode_features, encode_moments
from tests.benchmarks import pages
from tests.benchmarks.interleaved import Case

BATCH = 8


@dataclass(frozen=True)
class Batch:
    """Panels of one training step, and every place they can be read from."""

    bucket_index: int
    bucket: Bucket
    rows: NDArray[np.int64]
    panel_set: PanelSet
    moments: PanelMoments
    vae: AutoencoderKL
    page_folder: Path
    frames: NDArray[np.int64]
    """Pixel boxes (b, 4) of the panels on their pages."""


def cases() -> Iterator[Case]:
    batch = _batch()
    size = f"{batch.bucket.height}x{batch.bucket.width}"
    yield Case(
        name=f"batch of {BATCH} panels {size}: cut panels, or page by page",
        check=partial(_check_pixels, batch),
        plain=partial(_from_pages, batch),
        ours=partial(_from_panels, batch),
        goal=8.0,
    )
    yield Case(
        name=f"batch of {BATCH} panels {size}: stored moments, or page by page",
        check=partial(_check_moments, batch),
        plain=partial(_from_pages, batch),
        ours=partial(_from_moments, batch),
        goal=50.0,
    )


def _batch() -> Batch:
    validated, panels = pages.drawn_pages()
    root = Path(mkdtemp(dir=panels.parent))
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
    )
    vae.save_pretrained(root / "vae")
    for name in ("workspace", "features"):
        (root / name).mkdir()
    buckets = paper().data.buckets
    encode_features(
        vae=str(root / "vae"),
        text_encoder="none",
        text_encoder_2="none",
        clip_image_encoder="none",
        magi_image_encoder="none",
        magi_patches="all",
        buckets=buckets,
        cache=CacheConfig(text=False, characters=False),
        num_threads=1,
        panels=panels,
        workspace=root / "workspace",
        output=root / "features",
    )
    moments = PanelMoments(root / "features", read_index(root / "features"))
    sizes = build_buckets(buckets)
    step = BucketSampler(moments.panel_buckets, [BATCH] * len(sizes), seed=0).batch(0)
    panel_set = pages.panel_set()
    table = pd.read_parquet(validated / "panels.parquet").set_index("panel_id")
    chosen = table.loc[panel_set.panels["panel_id"].iloc[step.panels]]
    page = pages.PAGE_HEIGHT, 2 * round(pages.PAGE_HEIGHT * 2 / 3)
    return Batch(
        step.bucket,
        sizes[step.bucket],
        step.panels,
        panel_set,
        moments,
        load_vae(str(root / "vae")),
        validated / "pages",
        pixel_bounds(boxes_of(chosen), *page),
    )


def _from_pages(batch: Batch) -> NDArray[np.uint8]:
    """(b, h, w, 3): the page decoded in colour, cropped, resized and cropped again, as the reference does."""
    images = []
    for row, frame in zip(batch.rows, batch.frames.tolist(), strict=True):
        page_id = batch.panel_set.panels["page_id"].iat[int(row)]
        with Image.open(batch.page_folder / f"{page_id}.png") as page:
            panel = page.convert("RGB").crop(frame)
        height, width = cover_size(panel.height, panel.width, batch.bucket.height, batch.bucket.width)
        left, top = (width - batch.bucket.width) // 2, (height - batch.bucket.height) // 2
        panel = panel.resize((width, height), Image.Resampling.BICUBIC)
        images.append(np.asarray(panel.crop((left, top, left + batch.bucket.width, top + batch.bucket.height))))
    return np.stack(images)


def _from_panels(batch: Batch) -> NDArray[np.uint8]:
    """(b, h, w) grey."""
    return np.stack([fit_panel(batch.panel_set.panel_image(int(row)), batch.bucket) for row in batch.rows])


def _from_moments(batch: Batch) -> Tensor:
    return batch.moments.read(batch.bucket_index, batch.rows)


def _check_pixels(batch: Batch) -> None:
    np.testing.assert_array_equal(_from_pages(batch), _from_panels(batch)[..., None].repeat(3, axis=3))


@torch.no_grad()
def _check_moments(batch: Batch) -> None:
    encoded = encode_moments(batch.vae, _from_pages(batch)[..., 0])
    torch.testing.assert_close(_from_moments(batch), torch.from_numpy(encoded).float(), atol=1e-3, rtol=1e-3)
