"""``provenance.json`` repeats the manifests, and repeats itself."""

import json
from pathlib import Path

from diffsensei.config import config_digest, load_preset
from infra.manifest import JobRecord, Origin, StageRecord
from infra.store import Store
from tasks.lineage import write_provenance


def test_provenance_tells_of_every_result(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "weights.txt").write_text("12345")
    origin = Origin(
        stage=StageRecord(name="stage1", version=3, key="ab" * 32, attempt=2),
        inputs={"panels": "cd" * 32},
        job=JobRecord(backend="local", id="7", started="2025-01-01T00:00:00+00:00", wall_s=12.5, exit=0),
    )
    ref = store.publish_object(tmp_path / "made", "stage1", origin)
    config = load_preset("tiny")
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_provenance(config=config, workspace=tmp_path, output=tmp_path / name, stage1=ref.path)
        written.append((tmp_path / name / "provenance.json").read_bytes())
    assert written[0] == written[1]
    record = json.loads(written[0])
    assert record["config_digest"] == config_digest(config)
    assert record["stages"].keys() == {"stage1"}
    told = record["stages"]["stage1"]
    assert (told["digest"], told["num_files"], told["num_bytes"]) == (ref.digest, 1, 5)
    assert told["stage"] == {"name": "stage1", "version": 3, "key": "ab" * 32, "attempt": 2}
    assert (told["inputs"], told["job"]["wall_s"]) == ({"panels": "cd" * 32}, 12.5)
