"""Between the contract's messages and what upkeep, verification, profiles and lineage found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features import names
from fivefold_features.store import Compaction, Edge, Vacuumed
from fivefold_features.wire import TYPE

if TYPE_CHECKING:
    from fivefold_features.consistency import Checked
    from fivefold_features.drift import Drift
    from fivefold_features.profiling import Profile
    from fivefold_features.verifying import Verification


def to_compaction(table: str, done: Compaction) -> pb.CompactTableResponse:
    return pb.CompactTableResponse(
        table_version=names.version_name(table, done.version) if done.version else "",
        files_before=done.files_before,
        rows_before=done.rows_before,
        rows_after=done.rows_after,
    )


def to_vacuum(table: str, done: Vacuumed) -> pb.VacuumTableResponse:
    return pb.VacuumTableResponse(
        table_versions=[names.version_name(table, number) for number in done.given_up],
        pinned_versions=[names.version_name(table, number) for number in done.pinned],
        files=done.files,
        size_bytes=done.size_bytes,
    )


def to_verification(found: Verification) -> pb.VerifyTrainingSetResponse:
    return pb.VerifyTrainingSetResponse(
        verified=not found.differences,
        label_digest=found.label_digest,
        stored_digest=found.stored_digest,
        rebuilt_digest=found.rebuilt_digest,
        differences=[
            pb.TrainingSetDifference(
                part=pb.TrainingSetDifference.Part.Value(f"PART_{one.part}"),
                column=one.column,
                row=one.row,
                rows=one.rows,
                message=one.message,
            )
            for one in found.differences
        ],
    )


def to_profile(table: str, version: int, found: Profile) -> pb.TableProfile:
    return pb.TableProfile(
        table_version=names.version_name(table, version),
        rows=found.rows,
        keys=found.keys,
        columns=[
            pb.ColumnProfile(
                name=one.column.name,
                type=TYPE[one.column.kind],
                nulls=one.nulls,
                nans=one.nans,
                distinct=one.distinct,
                minimum=one.minimum,
                maximum=one.maximum,
                mean=one.mean,
                standard_deviation=one.standard_deviation,
                quantiles=one.quantiles,
                quantile_levels=one.quantile_levels,
                top_values=[pb.TopValue(value=value, count=count) for value, count in one.top_values],
            )
            for one in found.columns
        ],
    )


def to_lineage(upstream: Iterable[Edge], downstream: Iterable[Edge], *, truncated: bool) -> pb.GetLineageResponse:
    return pb.GetLineageResponse(
        upstream=map(_to_edge, upstream), downstream=map(_to_edge, downstream), truncated=truncated
    )


def _to_edge(edge: Edge) -> pb.LineageEdge:
    message = pb.LineageEdge(source=edge.source, target=edge.target, creator=edge.creator)
    message.create_time.FromMicroseconds(edge.created)
    return message


def to_consistency(found: Checked, moment: int) -> pb.CheckConsistencyResponse:
    message = pb.CheckConsistencyResponse(
        rows=found.rows,
        values=found.values,
        different_values=found.differing,
        inconsistencies=[
            pb.Inconsistency(
                row=one.row,
                keys=one.keys,
                feature=one.feature,
                online_value=one.online[0],
                online_status=one.online[1],  # type: ignore[arg-type]
                offline_value=one.offline[0],
                offline_status=one.offline[1],  # type: ignore[arg-type]
            )
            for one in found.told
        ],
        table_versions=found.versions,
    )
    message.as_of.FromMicroseconds(moment)
    return message


def to_comparison(table: str, base: int, other: int, found: Drift) -> pb.CompareTableVersionsResponse:
    return pb.CompareTableVersionsResponse(
        base_version=names.version_name(table, base),
        version=names.version_name(table, other),
        base_rows=found.base_rows,
        rows=found.rows,
        columns=[
            pb.ColumnDrift(
                name=one.column.name,
                type=TYPE[one.column.kind],
                psi=one.psi,
                ks_statistic=one.ks_statistic,
                ks_p_value=one.ks_p_value,
                base_null_share=one.base_null_share,
                null_share=one.null_share,
                base_mean=one.base_mean,
                mean=one.mean,
                new_values=one.new_values,
            )
            for one in found.columns
        ],
    )
