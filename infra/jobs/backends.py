"""From a backend's name and options to the backend: for a run as configured, and for an attempt as written down."""

from collections.abc import Mapping
from typing import Any

from infra.jobs.kubernetes import KubernetesBackend
from infra.jobs.kubernetes_manifest import KubernetesOptions
from infra.jobs.local import LocalBackend
from infra.jobs.slurm import SlurmBackend
from infra.jobs.slurm_script import SlurmOptions
from infra.jobs.spec import Backend


def build_backend(name: str, options: Mapping[str, Any]) -> Backend:
    """The backend called ``name``. Raises ValueError for an unknown name or wrong options."""
    if name == "local":
        return LocalBackend()
    if name == "slurm":
        return SlurmBackend(SlurmOptions.model_validate(options))
    if name == "kubernetes":
        return KubernetesBackend(KubernetesOptions.model_validate(options))
    raise ValueError(f"unknown job backend {name!r}; known: local, slurm, kubernetes")
