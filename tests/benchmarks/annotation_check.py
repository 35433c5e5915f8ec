"""Time and peak memory of checking an annotation file of MangaZero's size.

The check runs in a process of its own, whose peak the operating system reports.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.data.validation.large_annotations import write_large

PAGES = 50_000
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from diffsensei.config.presets import paper
from diffsensei.data.validation.annotation_check import check_annotations
config = paper()
start = time.perf_counter()
check = check_annotations(Path(sys.argv[1]), config.data.validation, config.data.buckets, sys.argv[2])
figures = {"seconds": time.perf_counter() - start, "counts": check.counts}
figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(figures))
"""


def measure_check(path: Path, text_encoder: str = "") -> dict:
    """``seconds``, ``peak_mb`` (MiB resident) and ``counts`` of one check of ``path`` in a fresh process."""
    command = [sys.executable, "-c", _CHILD, str(path), text_encoder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "annotations.json"
        num_panels = write_large(path, PAGES)
        figures = measure_check(path)
        megabytes = path.stat().st_size / 2**20
    print(
        f"{PAGES} pages, {num_panels} panels, {megabytes:.0f} MiB of JSON: "
        f"{figures['seconds']:.0f} s, peak {figures['peak_mb']:.0f} MiB"
    )
