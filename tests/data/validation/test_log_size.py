"""A source with a million faulty rows: what is said of them does not grow with their number."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

NUM_PAGES, PANELS, DIALOGS = 500, 4, 500
NUM_FAULTY = NUM_PAGES * PANELS * DIALOGS
MAX_SAID_BYTES = 64 * 1024


def _write(path: Path) -> None:
    """Panels whose dialogs all lie far outside them, each somewhere else."""
    with path.open("w") as file:
        for number in range(NUM_PAGES):
            frames = [
                {
                    "bbox": [10.0 + 200 * panel, 10.0, 190.0 + 200 * panel, 390.0],
                    "caption": f"a person looks at page {number}, panel {panel}",
                    "characters": [],
                    "dialogs": [{"bbox": [900.0 + each, 900.0, 950.0 + each, 960.0]} for each in range(DIALOGS)],
                }
                for panel in range(PANELS)
            ]
            meta = {f"url{n}": f"https://uploads.invalid/data/{number:032x}/{n}-{number:064x}.png" for n in (1, 2)}
            page = {"image_path": f"s/c/{number}.jpg", "frames": frames, "meta": meta | {"width1": 800, "width2": 800}}
            file.write(("[" if number == 0 else ",") + json.dumps(page))
        file.write("]")


@pytest.mark.long
def test_a_million_faulty_rows_are_a_few_lines(tmp_path: Path) -> None:
    assert NUM_FAULTY == 1_000_000
    _write(tmp_path / "annotations.json")
    command = [Path(sys.executable).with_name("diffsensei"), "data", "check", tmp_path / "annotations.json"]
    done = subprocess.run([*command, "-o", tmp_path / "found"], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "1,000,000" in done.stdout or "1000000" in done.stdout, done.stdout[-2000:]
    assert len(done.stdout) + len(done.stderr) < MAX_SAID_BYTES
    listed = pd.concat(pd.read_parquet(path) for path in (tmp_path / "found").rglob("quarantine*.parquet"))
    assert len(listed) == NUM_FAULTY, "what is not said is written down"
