from pathlib import Path

from infra.jobs.spec import Home
from infra.launch import job_spec
from infra.stage import Resources, Stage

SPEC = Path("/attempt/spec.json")
HOME = Home(python="/venv/python", cwd="/project")


def _stage(resources: Resources) -> Stage:
    return Stage(name="train", version=1, entry="m:f", launcher="accelerate", resources=resources)


def test_one_process_is_started_directly_with_all_threads_and_no_gpu_in_sight() -> None:
    job = job_spec(_stage(Resources(cpus=4)), SPEC, {"EXTRA": "1"}, HOME)
    assert job.argv == ("/venv/python", "-m", "infra.jobs.entry", "/attempt/spec.json")
    assert job.cwd == "/project"
    assert job.env["OMP_NUM_THREADS"] == "4"
    assert job.env["CUDA_VISIBLE_DEVICES"] == ""
    assert job.env["EXTRA"] == "1"


def test_processes_are_launched_by_torchrun_and_may_save_for_as_long_as_the_job() -> None:
    job = job_spec(_stage(Resources(gpus=8, cpus=32, num_processes=8, walltime_s=60.0, grace_s=50.0)), SPEC, {}, HOME)
    assert job.argv[2:6] == ("torch.distributed.run", "--nproc_per_node", "8", "--standalone")
    assert job.argv[job.argv.index("--shutdown_timeout") + 1] == "45"
    assert job.argv[-3:] == ("--module", "infra.jobs.entry", "/attempt/spec.json")
    assert job.env["OMP_NUM_THREADS"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in job.env
    assert (job.gpus, job.walltime_s, job.grace_s) == (8, 60.0, 50.0)


def test_on_several_nodes_each_launches_its_share() -> None:
    job = job_spec(_stage(Resources(gpus=16, cpus=64, num_processes=16, nodes=2)), SPEC, {}, HOME)
    assert job.argv[2:7] == ("torch.distributed.run", "--nproc_per_node", "8", "--nnodes", "2")
    assert "--standalone" not in job.argv
    assert (job.nodes, job.gpus) == (2, 16)
