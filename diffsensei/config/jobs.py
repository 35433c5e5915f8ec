"""Where stages run as jobs, and what they may take there. None of it changes a result or enters a stage key."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from diffsensei.config.base import Config

Word = Annotated[str, Field(pattern=r"^[\w.:+@/=,&|*()\[\]-]+$")]
"""What may stand in one line of a job script without quotes."""
Line = Annotated[str, Field(pattern=r"^[^\n\r\x00]+$")]


class SlurmConfig(Config):
    """What Slurm is asked for, beyond what a stage needs. See docs/cluster.md."""

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    gpu_request: Annotated[str, Field(pattern=r"^--[\w.:+=-]*\{gpus\}$")] = "--gres=gpu:{gpus}"
    """The option that asks for GPUs, per node: also ``--gpus-per-node={gpus}`` or ``--gres=gpu:a100:{gpus}``."""
    requeue: bool = False
    """Whether Slurm itself may start a preempted job or one whose node failed again; a new attempt does it if not."""
    directives: tuple[Annotated[str, Field(pattern=r"^--?[a-z][^\n\r\x00]*$")], ...] = ()
    """Further ``#SBATCH`` options, such as ``--exclusive``."""
    prologue: tuple[Line, ...] = ()
    """Shell lines before the work, such as ``module load cuda``."""
    command_prefix: tuple[Word, ...] = ()
    """Words before ``sbatch``, ``squeue``, ``sacct`` and ``scancel``, such as ``["ssh", "login"]``; the store must lie
    under the same path on both sides."""
    poll_s: PositiveFloat = 15.0
    unlisted_s: PositiveFloat = 600.0
    """A job that Slurm has not known for so long, and that does not report itself, is lost."""


class KubernetesConfig(Config):
    """How jobs of Kubernetes reach the code and the store. See docs/cluster.md."""

    image: str = ""
    """Container image with this project installed; needed."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] = "default"
    context: str | None = None
    """Of the kubeconfig; None: the current one, or the pod's own service account."""
    store_claim: str = ""
    """PersistentVolumeClaim (ReadWriteMany) that holds the store; needed."""
    store_mount: Annotated[str, Field(pattern=r"^/[^\n\r\x00]*$")] = "/diffsensei"
    """Where it is mounted: in the jobs as well as where the flow runs."""
    workdir: Annotated[str, Field(pattern=r"^/[^\n\r\x00]*$")] = "/app"
    """Folder of the project in the image."""
    python: str = "python"
    gpu_resource: str = "nvidia.com/gpu"
    service_account: str | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    keep_finished_s: PositiveInt = 86400
    """Seconds after which the cluster removes a finished job."""
    poll_s: PositiveFloat = 15.0
    unlisted_s: PositiveFloat = 600.0


class JobsConfig(Config):
    """The backend, and limits that hold for each stage."""

    backend: Literal["local", "slurm", "kubernetes"] = "local"
    """Where stages run: as detached processes of this machine, or by a scheduler whose nodes see the store, too."""
    here: tuple[str, ...] = ()
    """Stages that run as local jobs all the same, such as ``download`` where compute nodes have no way out."""
    processes_per_node: PositiveInt = 8
    """GPUs of a node; a training of more processes takes several nodes."""
    memory_gb_per_process: Annotated[float, Field(ge=0.0)] = 16.0
    """Host memory of each process of a job of networks; 0: all that the node has."""
    walltime_h: PositiveFloat = 24.0
    """Hours of one job; the work goes on in the next one from its checkpoint."""
    grace_s: PositiveFloat = 120.0
    """Seconds before the end of the wall time, or after a request to stop, in which a checkpoint must be saved."""
    max_attempts: PositiveInt = 5
    """Jobs that one run may start for a stage before time-outs, preemption and lost nodes end it."""
    max_total_h: PositiveFloat | None = None
    """Hours that all jobs of a stage may take together; None: no limit."""
    slurm: SlurmConfig = SlurmConfig()
    kubernetes: KubernetesConfig = KubernetesConfig()

    @model_validator(mode="after")
    def _grace_fits(self) -> "JobsConfig":
        if self.grace_s >= self.walltime_h * 3600:
            raise ValueError(
                f"jobs.grace_s {self.grace_s:g} must be shorter than jobs.walltime_h "
                f"{self.walltime_h:g} ({self.walltime_h * 3600:g} s)"
            )
        return self

    @model_validator(mode="after")
    def _kubernetes_is_complete(self) -> "JobsConfig":
        if self.backend == "kubernetes":
            for field in ("image", "store_claim"):
                if not getattr(self.kubernetes, field):
                    raise ValueError(f"jobs.kubernetes.{field} must be set where jobs.backend is kubernetes")
        return self

    def num_nodes(self, processes: int) -> int:
        """Nodes for so many processes. Raises ValueError where they do not fill whole nodes."""
        if self.backend == "local" or processes <= self.processes_per_node:
            return 1
        if processes % self.processes_per_node:
            raise ValueError(
                f"training.num_processes {processes} does not fill nodes of jobs.processes_per_node "
                f"{self.processes_per_node}; use a multiple of it"
            )
        return processes // self.processes_per_node
