"""Settings of jobs: what a command line may say, and what it is told when it may not."""

import pytest

from diffsensei.config import ConfigError, ExperimentConfig, load_preset


def test_jobs_are_set_like_everything_else() -> None:
    jobs = load_preset("paper", ["jobs.backend=slurm", 'jobs.slurm.command_prefix=["ssh","login"]']).jobs
    assert (jobs.backend, jobs.slurm.command_prefix) == ("slurm", ("ssh", "login"))


def test_stages_are_not_told_where_they_run() -> None:
    config = load_preset("tiny", ["jobs.backend=slurm", "jobs.walltime_h=3"])
    assert config.keyed() == load_preset("tiny").keyed()
    assert ExperimentConfig.model_validate(config.keyed()).jobs.backend == "local"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["jobs.backend=pbs"], r"jobs\.backend: Input should be 'local', 'slurm' or 'kubernetes', got 'pbs'"),
        (["jobs.slurm.partition=a; reboot"], r"jobs\.slurm\.partition: String should match"),
        (['jobs.slurm.directives=["--mem=1\\nreboot"]'], r"jobs\.slurm\.directives\.0: String should match"),
        (["jobs.slurm.gpu_request=--gres=gpu"], r"jobs\.slurm\.gpu_request: String should match"),
        (
            ["jobs.grace_s=7200", "jobs.walltime_h=1"],
            r"grace_s 7200 must be shorter than jobs\.walltime_h 1",
        ),
        (["jobs.backend=kubernetes"], r"jobs\.kubernetes\.image must be set where jobs\.backend is kubernetes"),
    ],
)
def test_a_wrong_setting_is_one_line(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_preset("tiny", overrides)


def test_processes_fill_nodes() -> None:
    jobs = load_preset("tiny", ["jobs.backend=slurm", "jobs.processes_per_node=4"]).jobs
    assert [jobs.num_nodes(processes) for processes in (1, 4, 8, 32)] == [1, 1, 2, 8]
    with pytest.raises(ValueError, match=r"6 does not fill nodes of jobs\.processes_per_node 4; use a multiple of it"):
        jobs.num_nodes(6)
    assert load_preset("tiny", ["jobs.processes_per_node=4"]).jobs.num_nodes(6) == 1
