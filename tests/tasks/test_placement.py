"""From the configuration of jobs to backends and to what each stage may take."""

from pathlib import Path

import pytest

from diffsensei.config import load_preset
from infra.jobs.kubernetes_manifest import KubernetesOptions
from infra.stage import Stage, stage_key
from tasks.placement import configured_backend, placed

STAGES = [Stage(name="download", version=1, entry="m:f"), Stage(name="train", version=1, entry="m:f")]


def test_limits_hold_for_every_stage_and_change_no_key() -> None:
    overrides = ["jobs.backend=slurm", "jobs.walltime_h=2", "jobs.max_total_h=10", 'jobs.here=["download"]']
    download, train = placed(STAGES, load_preset("tiny", [*overrides, "jobs.grace_s=60", "jobs.max_attempts=7"]))
    asked = train.resources
    assert (asked.walltime_s, asked.max_total_s, asked.grace_s, asked.max_attempts) == (7200.0, 36000.0, 60.0, 7)
    assert (download.resources.here, train.resources.here) == (True, False)
    assert [stage_key(stage, {}, {}) for stage in (download, train)] == [stage_key(stage, {}, {}) for stage in STAGES]


def test_a_stage_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=r"jobs\.here names no stage: downlaod; known: download, train"):
        placed(STAGES, load_preset("tiny", ['jobs.here=["downlaod"]']))


def test_the_backend_is_the_configured_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured_backend(load_preset("tiny").jobs).name == "local"
    monkeypatch.setenv("PATH", str(tmp_path))
    jobs = load_preset("tiny", ["jobs.backend=slurm", "jobs.slurm.account=me", "jobs.slurm.poll_s=3"]).jobs
    with pytest.raises(ValueError, match="no sbatch on PATH"):
        configured_backend(jobs)
    (tmp_path / "sbatch").touch(mode=0o755)
    backend = configured_backend(jobs)
    assert (backend.name, backend.poll_s, backend.options["account"]) == ("slurm", 3.0, "me")


def test_every_setting_of_kubernetes_is_an_option_of_its_backend() -> None:
    overrides = ["jobs.backend=kubernetes", "jobs.kubernetes.image=here", "jobs.kubernetes.store_claim=store"]
    options = load_preset("tiny", overrides).jobs.kubernetes.model_dump(mode="json")
    assert KubernetesOptions.model_validate(options).model_dump(mode="json") == options
