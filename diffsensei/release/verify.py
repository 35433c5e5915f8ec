"""Checks a bundle the way a stranger would: checksums first, then load it and draw its sample again."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from diffsensei.config.schema import SamplingConfig
from diffsensei.inference.request import read_requests
from diffsensei.progress import Progress
from diffsensei.release.bundle import load_bundled_pipeline
from diffsensei.release.manifest import check_manifest

MAX_DIFFERENCE = 1
"""Grey levels a pixel may move: float rounding differs between machines and thread counts."""


def verify_bundle(*, bundle: Path, workspace: Path, output: Path) -> None:
    """Write ``verification.json``.

    Raises ValueError where a file is missing, extra or changed, where the pipeline does not load, or where the sample
    comes out other than it was by more than `MAX_DIFFERENCE` grey levels.
    """
    progress = Progress(workspace / "progress.json", "Verifying the bundle", 3, "checks")
    manifest = check_manifest(bundle)
    progress.advance()
    pipeline = load_bundled_pipeline(bundle)
    progress.advance()
    sampling = SamplingConfig.model_validate_json((bundle / "sample" / "sampling.json").read_text())
    requests = read_requests(bundle / "sample" / "panels.jsonl")
    images = pipeline(requests, bundle / "sample", sampling)
    worst = 0
    for request, image in zip(requests, images, strict=True):
        with Image.open(bundle / "sample" / f"{request.panel_id}.png") as kept:
            expected = np.asarray(kept.convert("L"), dtype=np.int16)
        drawn = np.asarray(image, dtype=np.int16)
        if drawn.shape != expected.shape:
            raise ValueError(
                f"sample {request.panel_id}: expected {expected.shape}, drew {drawn.shape}; build the bundle again"
            )
        worst = max(worst, int(np.abs(drawn - expected).max()))
    if worst > MAX_DIFFERENCE:
        raise ValueError(
            f"the bundle draws its sample differently: pixels differ by up to {worst} grey levels, "
            f"expected at most {MAX_DIFFERENCE}; build the bundle again and check the package versions"
        )
    progress.advance()
    certificate = {
        "passed": True,
        "name": manifest.name,
        "version": manifest.version,
        "num_files": len(manifest.files),
        "num_samples": len(requests),
        "max_difference": worst,
        "tolerance": MAX_DIFFERENCE,
    }
    (output / "verification.json").write_text(json.dumps(certificate, indent=1) + "\n")
