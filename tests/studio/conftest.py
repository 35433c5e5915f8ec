"""The studio around a pipeline of random weights on the embedded foundations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.pipeline import build_pipeline
from diffsensei.studio.exchange import Drawer
from tests.inference.conftest import sampling, trained  # noqa: F401  fixtures


@pytest.fixture(scope="session")
def drawer(trained: Any, sampling: SamplingConfig) -> Drawer:  # noqa: F811  the fixtures
    torch.set_num_threads(1)
    pipeline = build_pipeline(trained.foundations, trained.stage1, trained.stage2, torch.device("cpu"))
    return Drawer(pipeline, sampling, panel_side=32)


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image file of a character called Mika."""
    path = tmp_path_factory.mktemp("cast") / "Mika.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)).save(path)
    return path
