"""A fingerprint changes with the files and with nothing else."""

import os
from pathlib import Path

import pytest

from diffsensei.data.sources.fingerprint import fingerprint


def test_it_follows_names_sizes_and_times(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    file = tmp_path / "a" / "b" / "1.png"
    file.write_bytes(b"1")
    seen = [fingerprint([tmp_path / "a"])]
    assert fingerprint([tmp_path / "a"]) == seen[0]
    file.write_bytes(b"12")
    seen.append(fingerprint([tmp_path / "a"]))
    os.utime(file, (1, 1))
    seen.append(fingerprint([tmp_path / "a"]))
    file.rename(tmp_path / "a" / "1.png")
    seen.append(fingerprint([tmp_path / "a"]))
    assert len(set(seen)) == len(seen)
    with pytest.raises(ValueError, match="does not exist"):
        fingerprint([tmp_path / "none"])
