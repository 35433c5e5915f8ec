"""Where a report's numbers come from: one ``provenance.json`` over the manifests of every result it rests on.

Itself a stage, so that it has a key: times and machines are those recorded when each result was made, and a second
identical run finds the same file.
"""

import json
from pathlib import Path

from diffsensei.config import ExperimentConfig, config_digest
from infra.manifest import Manifest


def write_provenance(*, config: ExperimentConfig, workspace: Path, output: Path, **results: Path) -> None:
    """Write ``output/provenance.json``: ``{config_digest, stages: {name: {...}}}`` from the stored ``results``.

    ``results`` maps a stage's name to the folder of its files; the manifest lies beside that folder.
    """
    stages = {}
    for name, folder in results.items():
        manifest = Manifest.model_validate_json((folder.parent / "manifest.json").read_text())
        stages[name] = {
            "digest": manifest.digest,
            "stage": manifest.stage.model_dump(mode="json") if manifest.stage else None,
            "inputs": manifest.inputs,
            "job": manifest.job.model_dump(mode="json") if manifest.job else None,
            "env": manifest.env.model_dump(mode="json") if manifest.env else None,
            "git": manifest.git.model_dump(mode="json"),
            "num_files": len(manifest.files),
            "num_bytes": sum(entry.size for entry in manifest.files),
            "created": manifest.created,
        }
    record = {"config_digest": config_digest(config), "stages": stages}
    (output / "provenance.json").write_text(json.dumps(record, indent=1))
