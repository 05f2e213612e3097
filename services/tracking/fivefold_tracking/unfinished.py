"""RPCs of the contract that have no implementation yet. The servicer's own methods win; this module ends with the last."""

from __future__ import annotations


def _not_yet(self, request, context):
    raise NotImplementedError


class Unfinished:
    """Answers UNIMPLEMENTED."""

    PurgeExperiment = DeleteRuns = UndeleteRuns = PurgeRuns = ExportRuns = CompareRuns = _not_yet
    LogOutputs = ListDatasets = CreateLoggedModel = GetLoggedModel = SearchLoggedModels = _not_yet
    UpdateLoggedModel = DeleteLoggedModel = GetUpload = DeleteArtifact = _not_yet
