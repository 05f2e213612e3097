"""What every registry promises about names, aliases, copies, comments and searches: both databases, both doors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fivefold_registry.lifecycle import Stage
from fivefold_runtime.sql import Database
from tests.registry.client import Registry
from tests.registry.drivers import Driver, ServiceDriver, StoreDriver, refused

NONE, STAGING, PRODUCTION, ARCHIVED = Stage.NONE, Stage.STAGING, Stage.PRODUCTION, Stage.ARCHIVED


class DepthContract:
    """`registry` comes from the subclass."""

    def test_a_renamed_model_keeps_all_that_belongs_to_it(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        registry.alias("champion", 1)
        registry.comment(version, "good")
        asked = registry.ask(version, STAGING)
        story = registry.told("models/churn")

        registry.rename("churn", "attrition")

        assert registry.models() == ["attrition"]
        assert registry.aliases("attrition") == {"champion": 1}
        assert registry.told("models/attrition") == story
        registry.approve(asked.replace("churn", "attrition"))
        assert registry.stage("models/attrition/versions/1") is STAGING
        assert registry.verify(id="attrition").fault is None
        assert registry.events()[5:6] == ["registered_model_renamed models/attrition"]
        with refused("RESOURCE_NOT_FOUND"):
            registry.stage(version)

    def test_the_name_that_a_model_had_is_free_again(self, registry: Driver) -> None:
        registry.model()
        registry.version()
        registry.rename("churn", "attrition")
        registry.model("churn")
        assert registry.version("churn") == "models/churn/versions/1"
        assert registry.version("attrition") == "models/attrition/versions/2"

    @pytest.mark.parametrize("stage", [STAGING, PRODUCTION])
    def test_a_model_in_use_is_not_renamed(self, registry: Driver, stage: Stage) -> None:
        registry.model()
        registry.move(registry.version(), stage)
        before = registry.events(), registry.told("models/churn")
        with refused("VERSION_IN_USE") as facts:
            registry.rename("churn", "attrition")
        assert facts["versions"] == "1"
        assert (registry.events(), registry.told("models/churn")) == before

    def test_a_model_is_not_renamed_to_a_name_that_is_taken(self, registry: Driver) -> None:
        registry.model("churn")
        registry.model("fraud")
        for taken in ("fraud", "churn"):
            with refused("RESOURCE_EXISTS"):
                registry.rename("churn", taken)
        assert registry.models() == ["churn", "fraud"]
        assert len(registry.events()) == 2

    def test_the_number_of_a_deleted_version_is_never_given_out_again(self, registry: Driver) -> None:
        registry.model()
        first, second = registry.version(), registry.version()
        registry.move(second, ARCHIVED)
        registry.delete_version(second)
        with refused("RESOURCE_NOT_FOUND"):
            registry.stage(second)
        assert registry.version() == "models/churn/versions/3"
        assert registry.versions("churn") == ["churn 3", "churn 1"]
        assert registry.stage(first) is NONE

    def test_what_happened_to_a_deleted_version_stays_told(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        registry.comment(version, "bad")
        registry.delete_version(version)
        told = registry.told("models/churn")
        assert [one.split()[0] for one in told] == ["NEW_COMMENT", "DELETED_VERSION"]
        assert registry.events()[-1] == "model_version_deleted models/churn"
        assert registry.verify().fault is None

    def test_a_rollback_passes_over_versions_that_are_gone(self, registry: Driver) -> None:
        registry.model()
        versions = [registry.version() for _ in range(3)]
        for version in versions:
            registry.move(version, PRODUCTION, archive_existing=True)
        registry.delete_version(versions[1])
        assert registry.roll_back() == (versions[0], [versions[2]])
        registry.delete_version(versions[2])
        with refused("NOTHING_TO_ROLL_BACK"):
            registry.roll_back()

    @pytest.mark.parametrize("stage", [STAGING, PRODUCTION])
    def test_a_version_in_use_is_not_deleted(self, registry: Driver, stage: Stage) -> None:
        registry.model()
        version = registry.version()
        registry.move(version, stage)
        before = registry.events(), registry.told("models/churn")
        with refused("VERSION_IN_USE") as facts:
            registry.delete_version(version)
        assert facts["stage"] == stage
        assert registry.stage(version) is stage
        assert (registry.events(), registry.told("models/churn")) == before

    def test_an_alias_means_what_it_was_set_to_last(self, registry: Driver) -> None:
        registry.model()
        first, second = registry.version(), registry.version()
        registry.alias("champion", 1)
        registry.alias("champion", 1)
        assert registry.meant("champion") == first
        registry.alias("champion", 2)
        registry.alias("rival", 2)
        assert registry.meant("champion") == second
        assert registry.aliases() == {"champion": 2, "rival": 2}
        registry.unalias("champion")
        with refused("RESOURCE_NOT_FOUND"):
            registry.meant("champion")
        assert [event.split()[0] for event in registry.events()[3:]] == [
            *["model_alias_set"] * 3,
            "model_alias_deleted",
        ]

    def test_an_alias_goes_with_its_version(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        registry.alias("champion", 1)
        registry.delete_version(version)
        assert registry.aliases() == {}

    def test_an_alias_means_a_version_that_is_there(self, registry: Driver) -> None:
        registry.model()
        for missing in (
            lambda: registry.alias("champion", 1),
            lambda: registry.unalias("champion"),
            lambda: registry.alias("champion", 1, "other"),
            lambda: registry.meant("champion"),
        ):
            with refused("RESOURCE_NOT_FOUND"):
                missing()
        assert len(registry.events()) == 1

    def test_an_alias_that_could_be_taken_for_something_else_is_refused(self, registry: Driver) -> None:
        registry.model()
        registry.version()
        for alias in ("latest", "Latest", "v3", "V12", "a.b", "a b", "a" * 256, "", "..", "a%2fb"):
            with refused("NAME_INVALID"):
                registry.alias(alias, 1)
        assert registry.aliases() == {}
        assert len(registry.events()) == 2

    def test_a_copy_is_the_next_version_of_its_model_and_tells_its_origin(self, registry: Driver) -> None:
        registry.model("churn")
        registry.model("fraud")
        registry.version("fraud")
        source = registry.version()
        registry.tag(source, team="a")
        registry.move(source, PRODUCTION)
        made = registry.copy(source, "fraud")
        assert made == "models/fraud/versions/2"
        assert registry.stage(made) is NONE
        assert registry.origin(made) == source
        assert registry.tags(made) == {"team": "a"}
        assert registry.events()[-1] == "model_version_created models/fraud"
        registry.move(source, ARCHIVED)
        registry.delete("churn")
        assert registry.tags(made) == {"team": "a"}

    def test_what_is_not_there_is_not_copied(self, registry: Driver) -> None:
        registry.model()
        source = registry.version()
        for missing in (
            lambda: registry.copy("models/churn/versions/2", "churn"),
            lambda: registry.copy("models/other/versions/1", "churn"),
            lambda: registry.copy(source, "other"),
        ):
            with refused("RESOURCE_NOT_FOUND"):
                missing()
        assert registry.version() == "models/churn/versions/2"

    def test_tags_change_one_at_a_time_and_each_new_value_is_told(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        registry.tag(version, a="1", b="2")
        registry.tag(version, b="3", a=None, c=None)
        assert registry.tags(version) == {"b": "3"}
        assert [event.split()[0] for event in registry.events()[2:]] == [
            "model_version_updated",
            "model_version_tag_set",
            "model_version_tag_set",
            "model_version_updated",
            "model_version_tag_set",
        ]

    def test_comments_are_edited_and_deleted_and_the_chain_holds(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        first, second = registry.remark(version, "one"), registry.remark(version, "two")
        registry.edit(first, "uno")
        registry.unsay(second)
        third = registry.remark(version, "three")
        registry.edit(third, "three")
        assert registry.remarks(version) == registry.remarks("models/churn") == ["uno", "three"]
        assert registry.told(version) == [
            "NEW_COMMENT v1",
            "NEW_COMMENT v1",
            "EDITED_COMMENT v1",
            "DELETED_COMMENT v1",
            "NEW_COMMENT v1",
        ]
        assert [event.split()[0] for event in registry.events()[2:]] == [
            "comment_created",
            "comment_created",
            "comment_updated",
            "comment_deleted",
            "comment_created",
        ]
        assert registry.verify().fault is None
        for gone in (lambda: registry.edit(second, "?"), lambda: registry.unsay(second)):
            with refused("RESOURCE_NOT_FOUND"):
                gone()

    def test_a_stage_has_its_owners_name_and_stays_what_it_is(self, registry: Driver) -> None:
        registry.model()
        version = registry.version()
        registry.call_stages({STAGING: "Candidate", PRODUCTION: "Live"})
        registry.move(version, PRODUCTION)
        assert (registry.stage(version), registry.stage_name(version)) == (PRODUCTION, "Live")
        registry.move(version, ARCHIVED)
        assert registry.stage_name(version) == "Archived"
        registry.call_stages({})
        registry.move(version, STAGING)
        assert registry.stage_name(version) == "Staging"

    def test_a_name_that_could_be_taken_for_another_stage_is_refused(self, registry: Driver) -> None:
        registry.model()
        for names in (
            {STAGING: "Production"},
            {STAGING: "archived"},
            {STAGING: "x", PRODUCTION: "X"},
            {NONE: " x"},
            {NONE: "a\nb"},
        ):
            with refused("FIELD_INVALID"):
                registry.call_stages(names)
        assert len(registry.events()) == 1

    def test_a_stage_tells_who_was_in_it_at_any_time(self, registry: Driver) -> None:
        registry.model()
        before = datetime.now(UTC)
        first, second = registry.version(), registry.version()
        made = datetime.now(UTC)
        registry.move(first, PRODUCTION)
        promoted = datetime.now(UTC)
        registry.move(second, PRODUCTION, archive_existing=True)
        replaced = datetime.now(UTC)
        registry.delete_version(first)

        assert registry.lookup(PRODUCTION, before) == registry.lookup(NONE, before) == []
        assert registry.lookup(NONE, made) == ["v1 by local", "v2 by local"]
        assert registry.lookup(PRODUCTION, promoted) == ["v1 by local"]
        assert registry.lookup(NONE, promoted) == ["v2 by local"]
        assert registry.lookup(PRODUCTION, replaced) == ["v2 by local"]
        assert registry.lookup(ARCHIVED, replaced) == ["v1 by local"]
        assert registry.lookup(ARCHIVED) == []
        assert registry.lookup(PRODUCTION) == ["v2 by local"]
        assert registry.lookup(PRODUCTION, datetime.now(UTC) + timedelta(days=9)) == ["v2 by local"]


class TestStore(DepthContract):
    @pytest.fixture
    def registry(self, database: Database) -> Driver:
        return StoreDriver(database)


class TestService(DepthContract):
    @pytest.fixture
    def registry(self, on_both: Registry) -> Driver:
        return ServiceDriver(on_both)
