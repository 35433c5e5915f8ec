"""Where and with what a job runs: interpreter, machine, GPUs, distributions, source revision."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import distributions
from pathlib import Path

from infra.jobs.process import this_host
from infra.manifest import Environment, GitState

SOURCE = Path(__file__).resolve().parents[1]
"""Folder that holds this package and its neighbours."""


def environment() -> Environment:
    """The machine and the software of this process."""
    num_cores = len(os.sched_getaffinity(0))
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        host=this_host(),
        cpu=_cpu_model(),
        num_cores=num_cores,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        num_threads=int(os.environ.get("OMP_NUM_THREADS") or num_cores),
        gpus=gpu_names(),
        packages=_packages(),
    )


def gpu_names() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs that the driver shows; empty without a driver."""
    if shutil.which("nvidia-smi") is None:
        return ()
    return tuple(_output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]).splitlines())


def git_state(folder: Path = SOURCE) -> GitState:
    """Commit of the repository around ``folder`` and whether files differ from it; no commit outside a repository."""
    commit = _output(["git", "-C", str(folder), "rev-parse", "HEAD"]).strip()
    if not commit:
        return GitState()
    changed = _output(["git", "--no-optional-locks", "-C", str(folder), "status", "--porcelain"])
    return GitState(commit=commit, dirty=bool(changed.strip()))


def _packages() -> dict[str, str]:
    metadata = [item.metadata for item in distributions()]  # each access parses the file again
    return {item["Name"]: item["Version"] for item in metadata}


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
