"""What every registry promises about stages, requests and what it remembers: on both databases, through both doors."""

from __future__ import annotations

import pytest

from fivefold_registry.lifecycle import Stage
from fivefold_runtime.sql import Database
from tests.registry.client import Registry
from tests.registry.drivers import Driver, ServiceDriver, StoreDriver, refused

NONE, STAGING, PRODUCTION, ARCHIVED = Stage.NONE, Stage.STAGING, Stage.PRODUCTION, Stage.ARCHIVED


class RegistryContract:
    """`registry` comes from the subclass."""

    def test_versions_are_numbered_from_one_per_model(self, registry: Driver) -> None:
        registry.model("churn")
        registry.model("fraud")
        made = [registry.version(id) for id in ("churn", "churn", "fraud", "churn")]

        assert made == [
            "models/churn/versions/1",
            "models/churn/versions/2",
            "models/fraud/versions/1",
            "models/churn/versions/3",
        ]
        assert registry.stage(made[0]) is NONE

    def test_a_name_is_registered_once(self, registry: Driver) -> None:
        registry.model()
        with refused("RESOURCE_EXISTS"):
            registry.model()

    @pytest.mark.parametrize("target", [STAGING, PRODUCTION, ARCHIVED])
    def test_any_stage_follows_any_other_by_default(self, registry: Driver, target: Stage) -> None:
        registry.model()
        version = registry.version()
        for other in set(Stage) - {target, NONE}:
            registry.move(version, other)
            registry.move(version, target)
            assert registry.stage(version) is target

    def test_a_move_to_where_a_version_is_changes_nothing(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        registry.move(version, PRODUCTION)
        before = registry.told("models/churn"), registry.events(), registry.etag(version)
        assert registry.move(version, PRODUCTION) == []
        assert (registry.told("models/churn"), registry.events(), registry.etag(version)) == before

    def test_a_move_to_where_a_version_is_archives_the_others_there(self, registry: Driver) -> None:
        registry.model()
        first, second = registry.version(), registry.version()
        registry.move(first, PRODUCTION)
        registry.move(second, PRODUCTION)
        assert registry.move(first, PRODUCTION, archive_existing=True) == [second]
        assert (registry.stage(first), registry.stage(second)) == (PRODUCTION, ARCHIVED)
        assert registry.told("models/churn")[-1].startswith("SYSTEM_TRANSITION")

    def test_archiving_takes_every_other_version_out_and_tells_of_each(self, registry: Driver) -> None:
        registry.model()
        first, second, third = [registry.version() for _ in range(3)]
        registry.move(first, PRODUCTION)
        registry.move(second, PRODUCTION)

        assert registry.move(third, PRODUCTION, archive_existing=True) == [first, second]

        assert [registry.stage(name) for name in (first, second, third)] == [ARCHIVED, ARCHIVED, PRODUCTION]
        assert registry.told("models/churn")[2:] == [
            "APPLIED_TRANSITION v3 NONE>PRODUCTION",
            "SYSTEM_TRANSITION v1 PRODUCTION>ARCHIVED",
            "SYSTEM_TRANSITION v2 PRODUCTION>ARCHIVED",
        ]
        assert registry.told(first)[-1] == "SYSTEM_TRANSITION v1 PRODUCTION>ARCHIVED"
        assert registry.events()[-3:] == ["model_version_transitioned_stage models/churn"] * 3

    def test_versions_share_a_stage_when_nobody_archives(self, registry: Driver) -> None:
        registry.model()
        first, second = registry.version(), registry.version()
        registry.move(first, PRODUCTION)
        assert registry.move(second, PRODUCTION) == []
        assert registry.stage(first) is registry.stage(second) is PRODUCTION

    @pytest.mark.parametrize("target", [NONE, ARCHIVED])
    def test_archiving_goes_with_staging_and_production_only(self, registry: Driver, target: Stage) -> None:
        registry.model()
        version = registry.version()
        registry.move(version, STAGING)
        with refused("FIELD_INVALID"):
            registry.move(version, target, archive_existing=True)
        assert registry.stage(version) is STAGING

    def test_the_second_of_two_writers_with_an_etag_loses(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        etag = registry.etag(version)
        registry.move(version, STAGING, etag=etag)
        with refused("ETAG_MISMATCH"):
            registry.move(version, ARCHIVED, etag=etag)
        assert registry.stage(version) is STAGING

    def test_a_refused_move_leaves_no_trace(self, registry: Driver) -> None:
        registry.model(stepwise=True)
        version = registry.version()
        before = registry.told("models/churn"), registry.events(), registry.etag(version)
        with refused("STAGE_NOT_ALLOWED") as facts:
            registry.move(version, PRODUCTION)
        assert facts == {"current": "None", "target": "Production", "allowed": "Staging, Archived"}
        assert (registry.told("models/churn"), registry.events(), registry.etag(version)) == before

    def test_one_production_refuses_a_second(self, registry: Driver) -> None:
        registry.model(one_production=True)
        first, second = registry.version(), registry.version()
        registry.move(first, PRODUCTION)
        with refused("STAGE_NOT_ALLOWED") as facts:
            registry.move(second, PRODUCTION)
        assert (facts["rule"], facts["taken_by"], facts["allowed"]) == ("one_production", "1", "archive_existing")
        assert registry.move(second, PRODUCTION, archive_existing=True) == [first]
        registry.move(second, ARCHIVED)
        registry.move(first, PRODUCTION)

    def test_one_production_cannot_be_asked_for_while_there_are_several(self, registry: Driver) -> None:
        registry.model()
        first, second = registry.version(), registry.version()
        registry.move(first, PRODUCTION)
        registry.move(second, PRODUCTION)
        with refused("STAGE_NOT_ALLOWED"):
            registry.policy(one_production=True)
        registry.move(first, ARCHIVED)
        registry.policy(one_production=True)
        with refused("STAGE_NOT_ALLOWED"):
            registry.move(first, PRODUCTION)
        registry.policy(one_production=False)
        registry.move(first, PRODUCTION)

    def test_rollbacks_go_back_one_promotion_each(self, registry: Driver) -> None:
        registry.model(one_production=True)
        versions = [registry.version() for _ in range(3)]
        for version in versions:
            registry.move(version, PRODUCTION, archive_existing=True)

        assert registry.roll_back() == (versions[1], [versions[2]])
        assert registry.roll_back() == (versions[0], [versions[1]])
        with refused("NOTHING_TO_ROLL_BACK"):
            registry.roll_back()
        assert [registry.stage(name) for name in versions] == [PRODUCTION, ARCHIVED, ARCHIVED]
        assert registry.told("models/churn")[-2:] == [
            "APPLIED_TRANSITION v1 ARCHIVED>PRODUCTION rollback",
            "SYSTEM_TRANSITION v2 PRODUCTION>ARCHIVED rollback",
        ]

    def test_a_rollback_of_a_shared_stage_takes_away_what_came_last(self, registry: Driver) -> None:
        registry.model()
        first, second = registry.version(), registry.version()
        registry.move(first, PRODUCTION)
        registry.move(second, PRODUCTION)
        assert registry.roll_back() == (first, [second])
        assert [registry.stage(name) for name in (first, second)] == [PRODUCTION, ARCHIVED]
        with refused("NOTHING_TO_ROLL_BACK"):
            registry.roll_back()

    def test_an_approved_request_is_applied_with_its_approval(self, registry: Driver) -> None:
        registry.model()
        first, second = registry.version(), registry.version()
        registry.move(first, PRODUCTION)
        request = registry.ask(second, PRODUCTION)
        registry.approve(request, archive_existing=True)

        assert [registry.stage(name) for name in (first, second)] == [ARCHIVED, PRODUCTION]
        assert registry.told("models/churn")[-3:] == [
            "REQUESTED_TRANSITION v2 NONE>PRODUCTION",
            "APPROVED_REQUEST v2 NONE>PRODUCTION",
            "SYSTEM_TRANSITION v1 PRODUCTION>ARCHIVED",
        ]
        assert registry.roll_back() == (first, [second])

    def test_a_request_is_settled_once(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        for settle in (registry.approve, registry.reject, registry.cancel):
            target = PRODUCTION if registry.stage(version) is not PRODUCTION else STAGING
            request = registry.ask(version, target)
            settle(request)
            before = registry.told("models/churn")
            for again in (registry.approve, registry.reject, registry.cancel):
                with refused("REQUEST_SETTLED"):
                    again(request)
            assert registry.told("models/churn") == before

    def test_a_request_whose_move_became_impossible_stays_open(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        request = registry.ask(version, STAGING)
        registry.move(version, STAGING)
        with refused("STAGE_NOT_ALLOWED"):
            registry.approve(request)
        registry.reject(request)

    def test_one_may_not_approve_ones_own_request_where_the_policy_says_so(self, registry: Driver) -> None:
        registry.model(no_self_approval=True)
        request = registry.ask(registry.version(), STAGING)
        with refused("OWN_REQUEST"):
            registry.approve(request)
        registry.cancel(request)

    def test_what_happened_is_told_in_order(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        registry.comment(version, "looks good")
        registry.cancel(registry.ask(version, STAGING))
        registry.reject(registry.ask(version, STAGING))
        assert registry.told(version) == [
            "NEW_COMMENT v1",
            "REQUESTED_TRANSITION v1 NONE>STAGING",
            "CANCELLED_REQUEST v1 NONE>STAGING",
            "REQUESTED_TRANSITION v1 NONE>STAGING",
            "REJECTED_REQUEST v1 NONE>STAGING",
        ]
        assert registry.events() == [
            "registered_model_created models/churn",
            "model_version_created models/churn",
            "comment_created models/churn",
            "transition_request_created models/churn",
            "transition_request_settled models/churn",
            "transition_request_created models/churn",
            "transition_request_settled models/churn",
        ]

    @pytest.mark.parametrize("stage", [STAGING, PRODUCTION])
    def test_a_model_in_use_is_not_deleted(self, registry: Driver, stage: Stage) -> None:
        registry.model()
        version = registry.version()
        registry.move(version, stage)
        with refused("VERSION_IN_USE") as facts:
            registry.delete()
        assert facts["versions"] == "1"
        registry.move(version, ARCHIVED)
        registry.delete()
        with refused("RESOURCE_NOT_FOUND"):
            registry.stage(version)
        registry.model()
        assert registry.version() == version

    def test_what_is_not_there_is_not_found(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        for missing in (
            lambda: registry.move("models/other/versions/1", STAGING),
            lambda: registry.move("models/churn/versions/2", STAGING),
            lambda: registry.ask("models/churn/versions/2", STAGING),
            lambda: registry.approve(f"{version}/requests/9"),
            lambda: registry.comment("models/churn/versions/2", "?"),
            lambda: registry.told("models/other"),
            lambda: registry.told("models/churn/versions/2"),
            lambda: registry.roll_back("other"),
        ):
            with refused("RESOURCE_NOT_FOUND"):
                missing()


class TestStore(RegistryContract):
    @pytest.fixture
    def registry(self, database: Database) -> Driver:
        return StoreDriver(database)


class TestService(RegistryContract):
    @pytest.fixture
    def registry(self, on_both: Registry) -> Driver:
        return ServiceDriver(on_both)
