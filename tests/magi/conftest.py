from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diffsensei.foundations.loading import load_magi
from diffsensei.magi.magi import Magi
from tests.magi.tiny_magi import write_tiny_magi


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def magi_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_magi(tmp_path_factory.mktemp("magi"))


@pytest.fixture(scope="session")
def magi(magi_folder: Path) -> Magi:
    return load_magi(str(magi_folder))


@pytest.fixture(scope="session")
def pages() -> list[NDArray[np.uint8]]:
    """Noise of two sizes, colour and grey, in an order that mixes the sizes."""
    rng = np.random.default_rng(0)
    shapes = ((90, 60, 3), (50, 70), (90, 60), (50, 70, 3), (90, 60, 3))
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
