"""Jobs of Kubernetes, by the official client: one batch/v1 Job for each attempt, with the store as a shared volume.

The job's name is made of its token, so the API itself refuses to have two of it.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.files import write_json
from infra.jobs.attempt import Attempt
from infra.jobs.kubernetes_api import KubernetesApi, KubernetesError
from infra.jobs.kubernetes_manifest import MANAGED_BY, OURS, TOKEN_LABEL, KubernetesOptions, job_object, meeting_service
from infra.jobs.scheduled import ScheduledJobs, is_deaf
from infra.jobs.spec import BackendUnavailable, Home, JobRef, JobSpec, JobStatus, JobUsage, SubmitError

_log = logging.getLogger(__name__)


class KubernetesBackend:
    """See `infra.jobs.spec.Backend`."""

    name = "kubernetes"

    def __init__(self, options: KubernetesOptions) -> None:
        """Raises ValueError where no cluster is configured or the client is missing."""
        self._options = options
        self.poll_s = options.poll_s
        self._api = KubernetesApi(options.namespace, options.context)
        self._jobs = ScheduledJobs(options.unlisted_s, self._delete)

    @property
    def home(self) -> Home:
        """The image's."""
        return Home(python=self._options.python, cwd=self._options.workdir)

    @property
    def options(self) -> dict[str, Any]:
        """Everything that was configured."""
        return self._options.model_dump(mode="json")

    def submit(self, spec: JobSpec, attempt: Attempt, token: str) -> JobRef:
        """Create the job, and where it has several nodes the service by which they meet."""
        folder = attempt.path.absolute()
        if not folder.is_relative_to(self._options.store_mount):
            raise SubmitError(
                f"the store must lie below jobs.kubernetes.store_mount {self._options.store_mount}, here as in the "
                f"jobs; {folder} does not; set DIFFSENSEI_STORE"
            )
        try:
            job = self._api.create_job(job_object(spec, attempt, token, self._options))
            if spec.nodes > 1:
                self._api.create_service(meeting_service(job))
        except KubernetesError as error:
            raise SubmitError(str(error)) from None
        return self._note(attempt, token, job.metadata.name)

    def find(self, attempt: Attempt, token: str) -> JobRef | None:
        """The job by what the attempt's folder says, or by its label."""
        found = attempt.found(token)
        if found is not None:
            return found
        try:
            jobs = self._api.jobs(f"{TOKEN_LABEL}={token}")
        except KubernetesError as error:
            raise BackendUnavailable(str(error)) from None
        return self._note(attempt, token, jobs[0].metadata.name) if jobs else None

    def poll(self, refs: Sequence[JobRef]) -> dict[JobRef, JobStatus]:
        """States by one list of all jobs, by the pods of those that failed, and by exit.json."""
        wanted = {ref.token for ref in refs}
        try:
            jobs = {job.metadata.labels.get(TOKEN_LABEL): job for job in self._api.jobs(f"{MANAGED_BY}={OURS}")}
            words = {token: self._api.state(job) for token, job in jobs.items() if token in wanted}
        except (KubernetesError, BackendUnavailable):
            return {ref: self._jobs.without_word(ref) for ref in refs}
        return {ref: self._jobs.status(ref, words.get(ref.token)) for ref in refs}

    def cancel(self, ref: JobRef) -> None:
        """Leave the request for the runner; delete a job that has not started, or has not heeded an earlier request."""
        attempt = Attempt(Path(ref.attempt))
        attempt.request_cancel()
        if attempt.running() is None or is_deaf(attempt):
            self._delete(ref)

    def tail(self, ref: JobRef, num_lines: int = 40) -> str:
        """The last lines of the attempt's log."""
        return Attempt(Path(ref.attempt)).tail(num_lines)

    def usage(self, ref: JobRef) -> JobUsage | None:
        """Wall time, peak memory and GPU time of a job that is over."""
        return Attempt(Path(ref.attempt)).usage()

    def _note(self, attempt: Attempt, token: str, name: str) -> JobRef:
        ref = JobRef(backend=self.name, id=name, token=token, attempt=str(attempt.path.absolute()))
        write_json(attempt.submitted_path, ref.model_dump(mode="json"))
        return ref

    def _delete(self, ref: JobRef) -> None:
        try:
            self._api.delete_job(ref.id)
        except (KubernetesError, BackendUnavailable) as trouble:
            _log.warning("job %s could not be deleted now: %s", ref.id, trouble)
