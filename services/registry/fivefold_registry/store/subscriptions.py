"""Who hears of what by mail, in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from fivefold_registry.names import MODELS, ModelName, VersionName
from fivefold_registry.store.lookup import model_and_version
from fivefold_registry.store.outgoing import Activity, Listener, SubscriptionRecord
from fivefold_registry.store.outgoing_tables import followers, people, subscriptions
from fivefold_registry.store.records import EventRecord
from fivefold_registry.store.rows import Row, moment
from fivefold_registry.store.tables import models, versions
from fivefold_runtime.clock import micros
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.principal import Principal
from fivefold_runtime.sql import Database

_SHOWN = 1_000  # followed versions in one answer


class SqlSubscriptions:
    """Keeps the promises of SubscriptionStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = sqlite.insert if database.is_sqlite else postgresql.insert

    def get(self, name: ModelName, subject: str) -> SubscriptionRecord:
        with self._database.read() as tx:
            model_id = model_and_version(tx, name.model, None).id
            mine = and_(subscriptions.c.subject == subject, subscriptions.c.model_id == model_id)
            row = tx.execute(select(subscriptions).where(mine)).one_or_none()
            followed = tx.execute(
                select(followers.c.number)
                .where(followers.c.subject == subject, followers.c.model_id == model_id)
                .order_by(followers.c.number.desc())
                .limit(_SHOWN)
            ).scalars()
            return _record(row, name.model, tuple(followed))

    def list(self, subject: str, after: str, limit: int, authorizer: Authorizer) -> list[SubscriptionRecord]:
        query = (
            select(subscriptions, models.c.name)
            .join(models, models.c.id == subscriptions.c.model_id)
            .where(
                subscriptions.c.subject == subject,
                models.c.name > after,
                authorizer.may_read(literal(f"{MODELS}/").concat(models.c.name)),
            )
            .order_by(models.c.name)
            .limit(limit)
        )
        with self._database.read() as tx:
            return [_record(row, row.name, ()) for row in tx.execute(query)]

    def update(self, name: ModelName, subject: str, activity: Activity | None, email: str | None) -> SubscriptionRecord:
        given = {"activity": activity, "email": email}
        changed = {field: value for field, value in given.items() if value is not None}
        with self._database.write() as tx:
            row = {
                "subject": subject,
                "model_id": model_and_version(tx, name.model, None).id,
                "activity": activity or Activity.FOLLOWED,
                "email": email or "",
                "updated": micros(self._database.clock.now()),
            }
            upsert = self._insert(subscriptions).values(row)
            key = [subscriptions.c.subject, subscriptions.c.model_id]
            tx.execute(upsert.on_conflict_do_update(index_elements=key, set_=changed | {"updated": row["updated"]}))
            return self.get(name, subject)

    def follow(self, name: VersionName, subject: str) -> None:
        with self._database.write() as tx:
            self._follow(tx, model_and_version(tx, name.model, name.number).id, name.number, subject)

    def unfollow(self, name: VersionName, subject: str) -> None:
        with self._database.write() as tx:
            model_id = model_and_version(tx, name.model, name.number).id
            mine = and_(followers.c.model_id == model_id, followers.c.number == name.number)
            tx.execute(delete(followers).where(mine, followers.c.subject == subject))

    def acted(self, event: EventRecord) -> None:
        mine = and_(followers.c.model_id == event.model_id, followers.c.number == event.number)
        with self._database.read() as tx:
            if tx.execute(select(followers.c.number).where(mine, followers.c.subject == event.user)).first():
                return
        self._database.run(lambda tx: self._follow(tx, event.model_id, event.number, event.user))

    def listeners(self, event: EventRecord) -> Sequence[Listener]:
        with self._database.read() as tx:
            asked = {
                row.subject: row
                for row in tx.execute(select(subscriptions).where(subscriptions.c.model_id == event.model_id))
            }
            follow = select(followers.c.subject).where(
                followers.c.model_id == event.model_id, followers.c.number == event.number
            )
            wanting = {subject for subject, row in asked.items() if row.activity == Activity.ALL}
            wanting |= {
                subject
                for subject in tx.execute(follow).scalars()
                if subject not in asked or asked[subject].activity != Activity.MUTE
            }
            wanting.discard(event.user)
            known = {row.subject: row for row in tx.execute(select(people).where(people.c.subject.in_(wanting)))}
        found = []
        for subject in sorted(wanting):
            email = asked[subject].email if subject in asked else ""
            person = known.get(subject)
            groups = frozenset(person.groups) if person is not None else frozenset()
            email = email or (person.email if person is not None else "")
            if email:
                found.append(Listener(Principal(subject, groups), email))
        return found

    def known(self, subject: str) -> Principal:
        with self._database.read() as tx:
            groups = tx.execute(select(people.c.groups).where(people.c.subject == subject)).scalar()
        return Principal(subject, frozenset(groups or ()))

    def met(self, principal: Principal) -> None:
        row = {"subject": principal.subject, "email": principal.email, "groups": sorted(principal.groups)}
        upsert = self._insert(people).values(row).on_conflict_do_update(index_elements=[people.c.subject], set_=row)
        with self._database.write() as tx:
            tx.execute(upsert)

    def _follow(self, tx: Connection, model_id: str, number: int, subject: str) -> None:
        """Follows the version, unless it is gone."""
        columns = [followers.c.model_id, followers.c.number, followers.c.subject]
        there = select(versions.c.model_id, versions.c.number, literal(subject)).where(
            versions.c.model_id == model_id, versions.c.number == number
        )
        tx.execute(self._insert(followers).from_select(columns, there).on_conflict_do_nothing())


def _record(row: Row | None, model: str, followed: tuple[int, ...]) -> SubscriptionRecord:
    return SubscriptionRecord(
        model=model,
        activity=Activity.FOLLOWED if row is None else Activity(row.activity),
        email="" if row is None else row.email,
        followed=followed,
        updated=None if row is None else moment(row.updated),
    )
