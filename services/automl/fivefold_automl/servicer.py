"""fivefold.automl.v1 over the store, the queue of jobs and the Ray cluster: translate, call, translate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fivefold.automl.v1 import automl_pb2 as pb
from fivefold_automl.creation import Creation
from fivefold_automl.jobs import Jobs
from fivefold_automl.names import MODEL, TrialName, job_id, trial_of
from fivefold_automl.ray_cluster import RayCluster
from fivefold_automl.registration import Registration
from fivefold_automl.store.jobs import JobStore
from fivefold_automl.wire import cluster_to_wire, job_to_wire, spec_of, trial_to_wire
from fivefold_runtime import calls, paging
from fivefold_runtime.errors import NotFound
from fivefold_runtime.mutation import mutation, once
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

_PAGE, _LARGEST_PAGE = 100, 1000
_LOOK_SECONDS = 1.0  # between two questions whether a watcher is still there


class AutoMLServicer:
    """Serves jobs and trials. Policy has checked the caller's right before."""

    def __init__(
        self,
        database: Database,
        store: JobStore,
        authorizer: Authorizer,
        learners: Mapping[str, object],
        creation: Creation,
        registration: Registration,
        jobs: Jobs,
        cluster: RayCluster,
    ) -> None:
        self.database = database
        self._store = store
        self._authorizer = authorizer
        self._learners = learners
        self._creation = creation
        self._registration = registration
        self._jobs = jobs
        self._cluster = cluster

    def CreateJob(self, request: pb.CreateJobRequest, context: object) -> pb.Job:
        spec = spec_of(request.job, self._learners)

        def create() -> pb.Job:
            job = self._creation.create(spec)
            self._jobs.launch(job.id)
            return job_to_wire(job)

        return once(self.database, request, create)

    def GetJob(self, request: pb.GetJobRequest, context: object) -> pb.Job:
        return job_to_wire(self._store.get(job_id(request.name)))

    def ListJobs(self, request: pb.ListJobsRequest, context: object) -> pb.ListJobsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        (after,) = paging.key_of(request, paging.TEXT) or (None,)
        jobs = self._store.page(after, size + 1, self._authorizer)
        answer = pb.ListJobsResponse(jobs=map(job_to_wire, jobs[:size]))
        if len(jobs) > size:
            answer.next_page_token = paging.token_of(request, [jobs[size - 1].id])
        return answer

    @mutation
    def CancelJob(self, request: pb.CancelJobRequest, context: object) -> pb.Job:
        job = self._store.cancel(job_id(request.name), self.database.clock.now())
        self.database.after_commit(lambda: self._jobs.look(job.id))
        return job_to_wire(job)

    def WatchJob(self, request: pb.WatchJobRequest, context: object) -> Iterator[pb.WatchJobResponse]:
        job, seen = job_id(request.name), 0
        while True:
            found, trials = self._store.changes(job, seen)
            if found.revision > seen:
                seen = found.revision
                yield pb.WatchJobResponse(job=job_to_wire(found), trials=map(trial_to_wire, trials))
            if found.state.ended:
                return
            calls.check()
            self._store.wait(job, seen, _LOOK_SECONDS)

    def ListTrials(self, request: pb.ListTrialsRequest, context: object) -> pb.ListTrialsResponse:
        job = self._store.get(job_id(request.parent, "parent")).id
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        after = paging.key_of(request, paging.REAL, paging.NUMBER)
        found = self._store.ranked(job, after, size + 1)
        answer = pb.ListTrialsResponse(trials=[trial_to_wire(trial) for trial, _ in found[:size]])
        if len(found) > size:
            trial, rank = found[size - 1]
            answer.next_page_token = paging.token_of(request, [rank, trial.number])
        return answer

    def RegisterTrial(self, request: pb.RegisterTrialRequest, context: object) -> pb.RegisterTrialResponse:
        job = job_id(request.job, "job")
        trial = trial_of(request.trial) if request.trial else TrialName(job, 0)
        if trial.job != job:
            raise NotFound.of(request.trial)
        model = MODEL.format(**MODEL.parse(request.model, "model"))

        def register() -> pb.RegisterTrialResponse:
            version, registered = self._registration.register(
                job, trial.number, model, request.description, request.request_id
            )
            return pb.RegisterTrialResponse(model_version=version, trial=trial_to_wire(registered))

        return once(self.database, request, register)

    def GetCluster(self, request: pb.GetClusterRequest, context: object) -> pb.Cluster:
        return cluster_to_wire(self._cluster)
