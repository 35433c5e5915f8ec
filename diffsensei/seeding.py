"""Named random streams: every draw comes from (seed, purpose, index), never from a global generator.

So a stream is the same whatever ran before it, in whichever process, after whatever resume.
"""

import hashlib

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called ``names`` under ``seed``: stable over processes and versions."""
    digest = hashlib.sha256("/".join([str(seed), *map(str, names)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for the stream called ``names`` under ``seed``."""
    return np.random.default_rng(stream_seed(seed, *names))
