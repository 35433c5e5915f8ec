from pathlib import Path

from infra.launch import job_spec
from infra.stage import Resources, Stage

SPEC = Path("/attempt/spec.json")


def _stage(resources: Resources) -> Stage:
    return Stage(name="train", version=1, entry="m:f", launcher="accelerate", resources=resources)


def test_one_process_is_started_directly_with_all_threads_and_no_gpu_in_sight() -> None:
    job = job_spec(_stage(Resources(cpus=4)), SPEC, {"EXTRA": "1"})
    assert job.argv[1:] == ("-m", "infra.jobs.entry", "/attempt/spec.json")
    assert job.env["OMP_NUM_THREADS"] == "4"
    assert job.env["CUDA_VISIBLE_DEVICES"] == ""
    assert job.env["EXTRA"] == "1"


def test_gpus_are_launched_by_accelerate() -> None:
    job = job_spec(_stage(Resources(gpus=8, cpus=32, num_processes=8, walltime_s=60.0)), SPEC, {})
    assert "accelerate.commands.launch" in job.argv
    assert job.argv[job.argv.index("--num_processes") + 1] == "8"
    assert job.argv[-3:] == ("--module", "infra.jobs.entry", "/attempt/spec.json")
    assert job.env["OMP_NUM_THREADS"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in job.env
    assert (job.gpus, job.walltime_s) == (8, 60.0)
