import os
from collections.abc import Iterator

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread, and no accelerator state left over from a test with another precision."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
