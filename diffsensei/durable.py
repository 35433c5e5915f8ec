"""Files that a power cut must not take back."""

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Make a file's content (or a folder's entries) durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
