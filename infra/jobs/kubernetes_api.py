"""What is asked of the Kubernetes API, and what its answers mean. A question without an answer is no failed job."""

import json
import os
from collections.abc import Callable
from typing import Any

from infra.jobs.kubernetes_manifest import TOKEN_LABEL
from infra.jobs.spec import BackendUnavailable, JobState

_NOT_THERE, _ALREADY_THERE, _TRY_AGAIN = 404, 409, (408, 429)
_PATIENCE: dict[str, Any] = {"_request_timeout": 30.0}
_NODE_TROUBLE = {"DeletionByTaintManager", "DeletionByPodGC"}
"""Reasons of a pod's condition DisruptionTarget that mean a lost node; the others make room for someone else."""


class KubernetesError(RuntimeError):
    """The API said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class KubernetesApi:
    """Jobs, their pods and services in one namespace. Raises KubernetesError, BackendUnavailable.

    Making one raises ValueError where the client is not installed or no cluster is configured.
    """

    def __init__(self, namespace: str, context: str | None) -> None:
        try:
            from kubernetes import client, config
        except ImportError:
            raise ValueError(
                "jobs.backend is kubernetes, but its client is not installed; pip install -c constraints.txt kubernetes"
            ) from None
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ and context is None:
                config.load_incluster_config()
            else:
                config.load_kube_config(os.environ.get("KUBECONFIG"), context)
        except config.ConfigException as error:
            raise ValueError(f"jobs.backend is kubernetes, but no cluster is configured: {error}") from None
        self._namespace = namespace
        self._batch, self._core = client.BatchV1Api(), client.CoreV1Api()

    def create_job(self, body: Any) -> Any:
        """The V1Job, made now or found there."""
        try:
            return _ask(lambda: self._batch.create_namespaced_job(self._namespace, body, **_PATIENCE))
        except KubernetesError as error:
            if error.status != _ALREADY_THERE:
                raise
        return _ask(lambda: self._batch.read_namespaced_job(body.metadata.name, self._namespace, **_PATIENCE))

    def create_service(self, body: Any) -> None:
        """Make the service, unless it is there."""
        try:
            _ask(lambda: self._core.create_namespaced_service(self._namespace, body, **_PATIENCE))
        except KubernetesError as error:
            if error.status != _ALREADY_THERE:
                raise

    def jobs(self, selector: str) -> list[Any]:
        """The V1Jobs with the labels."""
        listed = _ask(lambda: self._batch.list_namespaced_job(self._namespace, label_selector=selector, **_PATIENCE))
        return list(listed.items)

    def delete_job(self, name: str) -> None:
        """The job and its pods, which are given their time to save; no error where it is gone."""
        try:
            _ask(
                lambda: self._batch.delete_namespaced_job(
                    name, self._namespace, propagation_policy="Background", **_PATIENCE
                )
            )
        except KubernetesError as error:
            if error.status != _NOT_THERE:
                raise

    def state(self, job: Any) -> JobState:
        """Where a V1Job stands, as the API tells it."""
        for condition in job.status.conditions or []:
            if condition.status != "True":
                continue
            if condition.type == "Complete":
                return JobState.SUCCEEDED
            if condition.type == "Failed":
                return JobState.TIMEOUT if condition.reason == "DeadlineExceeded" else self._why_failed(job)
        return JobState.RUNNING if job.status.active and job.status.ready else JobState.PENDING

    def _why_failed(self, job: Any) -> JobState:
        selector = f"{TOKEN_LABEL}={job.metadata.labels[TOKEN_LABEL]}"
        listed = _ask(lambda: self._core.list_namespaced_pod(self._namespace, label_selector=selector, **_PATIENCE))
        for pod in listed.items:
            for condition in pod.status.conditions or []:
                if condition.type == "DisruptionTarget" and condition.status == "True":
                    return JobState.NODE_FAIL if condition.reason in _NODE_TROUBLE else JobState.PREEMPTED
            for container in pod.status.container_statuses or []:
                ended = container.state.terminated if container.state else None
                if ended is not None and ended.reason == "OOMKilled":
                    return JobState.OOM
        return JobState.FAILED


def _ask(question: Callable[[], Any]) -> Any:
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return question()
    except ApiException as error:
        if not error.status or error.status >= 500 or error.status in _TRY_AGAIN:
            raise BackendUnavailable(f"the Kubernetes API answered {error.status} {error.reason}") from None
        raise KubernetesError(error.status, f"{error.status} {error.reason}: {_message(error.body)}") from None
    except HTTPError as error:
        raise BackendUnavailable(f"the Kubernetes API gave no answer: {type(error).__name__}") from None


def _message(body: Any) -> str:
    """The sentence in the Status object that the API sends with a refusal."""
    try:
        return str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(body)
