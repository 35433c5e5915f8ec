"""The Kubernetes objects that a job is: a batch/v1 Job, indexed by node, and the service by which its nodes meet."""

import math
import shlex
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from infra.jobs.attempt import Attempt
from infra.jobs.spec import ID_VARIABLE, TOKEN_VARIABLE, JobSpec

if TYPE_CHECKING:
    from kubernetes import client

MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "diffsensei"
TOKEN_LABEL = "diffsensei/token"
_PORT = 29400
_STORE = "store"


class KubernetesOptions(BaseModel):
    """How jobs reach the code and the store."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    image: Annotated[str, Field(min_length=1)]
    store_claim: Annotated[str, Field(min_length=1)]
    """PersistentVolumeClaim with the store."""
    store_mount: str = "/diffsensei"
    """Where it is mounted, in the jobs as well as where the flow runs."""
    namespace: str = "default"
    context: str | None = None
    workdir: str = "/app"
    python: str = "python"
    gpu_resource: str = "nvidia.com/gpu"
    service_account: str | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    keep_finished_s: PositiveInt = 86400
    poll_s: PositiveFloat = 15.0
    unlisted_s: PositiveFloat = 600.0


def job_name(attempt: Attempt, token: str) -> str:
    """One name for one token, so that the API itself refuses a second job."""
    return f"ds-{attempt.path.absolute().parents[1].name[:12]}-{attempt.number}-{token[:8]}"


def job_object(spec: JobSpec, attempt: Attempt, token: str, options: KubernetesOptions) -> "client.V1Job":
    """The job. Its first pod has the runner; further ones run the command alone, beside it."""
    from kubernetes import client

    name = job_name(attempt, token)
    labels = {MANAGED_BY: OURS, TOKEN_LABEL: token}
    variables = dict(spec.env) | {TOKEN_VARIABLE: token, ID_VARIABLE: name}
    if spec.nodes > 1:
        variables |= {"PET_RDZV_BACKEND": "c10d", "PET_RDZV_ID": token}
        variables |= {"PET_RDZV_ENDPOINT": f"{name}-0.{name}:{_PORT}"}
    container = client.V1Container(
        name="work",
        image=options.image,
        command=_command(spec, attempt, options),
        working_dir=options.workdir,
        env=[client.V1EnvVar(name=key, value=value) for key, value in variables.items()],
        resources=client.V1ResourceRequirements(requests=_requests(spec, options), limits=_limits(spec, options)),
        volume_mounts=[client.V1VolumeMount(name=_STORE, mount_path=options.store_mount)],
    )
    claim = client.V1PersistentVolumeClaimVolumeSource(claim_name=options.store_claim)
    pod = client.V1PodSpec(
        containers=[container],
        restart_policy="Never",
        termination_grace_period_seconds=math.ceil(spec.grace_s),
        subdomain=name,
        service_account_name=options.service_account,
        node_selector=options.node_selector or None,
        volumes=[client.V1Volume(name=_STORE, persistent_volume_claim=claim)],
    )
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=labels), spec=pod)
    job = client.V1JobSpec(
        template=template,
        completions=spec.nodes,
        parallelism=spec.nodes,
        completion_mode="Indexed",
        backoff_limit=0,
        active_deadline_seconds=math.ceil(spec.walltime_s),
        ttl_seconds_after_finished=options.keep_finished_s,
    )
    metadata = client.V1ObjectMeta(name=name, labels=labels)
    return client.V1Job(api_version="batch/v1", kind="Job", metadata=metadata, spec=job)


def meeting_service(job: Any) -> "client.V1Service":
    """The headless service that gives the pods of ``job`` (a V1Job as created) their names; it goes with the job."""
    from kubernetes import client

    name = job.metadata.name
    owner = client.V1OwnerReference(api_version="batch/v1", kind="Job", name=name, uid=job.metadata.uid)
    metadata = client.V1ObjectMeta(name=name, labels=job.metadata.labels, owner_references=[owner])
    selector = {TOKEN_LABEL: job.metadata.labels[TOKEN_LABEL]}
    # Pods meet before they are ready to be met by others.
    spec = client.V1ServiceSpec(
        cluster_ip="None",
        selector=selector,
        publish_not_ready_addresses=True,
        ports=[client.V1ServicePort(name="meeting", port=_PORT)],
    )
    return client.V1Service(api_version="v1", kind="Service", metadata=metadata, spec=spec)


def _command(spec: JobSpec, attempt: Attempt, options: KubernetesOptions) -> list[str]:
    folder, log = str(attempt.path.absolute()), shlex.quote(str(attempt.log_path.absolute()))
    runner = [options.python, "-m", "infra.jobs.runner", "--stay", folder]
    first = f"exec {shlex.join(runner)} >>{log} 2>&1"
    rest = f"exec {shlex.join(spec.argv)} >>{log} 2>&1"
    return ["sh", "-c", first if spec.nodes == 1 else f'if [ "$JOB_COMPLETION_INDEX" = 0 ]; then {first}; fi; {rest}']


def _requests(spec: JobSpec, options: KubernetesOptions) -> dict[str, str]:
    asked = {"cpu": str(math.ceil(spec.cpus / spec.nodes))}
    if spec.memory_gb:
        asked["memory"] = f"{math.ceil(1024 * spec.memory_gb / spec.nodes)}Mi"
    return asked | _limits(spec, options)


def _limits(spec: JobSpec, options: KubernetesOptions) -> dict[str, str]:
    return {options.gpu_resource: str(math.ceil(spec.gpus / spec.nodes))} if spec.gpus else {}
