"""Mail through a real SMTP server: who gets what, how often, after which failures, and never what a header must not hold."""

from __future__ import annotations

import email
import email.policy
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope
from hypothesis import given
from hypothesis import strategies as st

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold_registry.__main__ import Config, build
from fivefold_registry.courier import Courier
from fivefold_registry.lifecycle import Stage
from fivefold_registry.mail.letters import TOLD, is_address, message, write
from fivefold_registry.mail.sending import MailFailed, Smtp
from fivefold_registry.store.records import EventRecord, EventType
from fivefold_runtime.keys import KEY, make_key
from fivefold_runtime.settings import StartError
from fivefold_runtime.testing import Running, serve
from tests.registry.client import PRODUCTION, STAGING
from tests.registry.conftest import url_of
from tests.registry.hooks import Hooks
from tests.registry.test_process import Process
from tests.runtime import certificates

PATIENCE_SECONDS = 60
MANAGE, READ = 5, 1


class Mailbox:
    """What the server took. `answer` says what it answers to a message."""

    def __init__(self) -> None:
        self.answer: Callable[[Envelope], str] = lambda _: "250 OK"
        self.refused: set[str] = set()  # addresses
        self.taken: list[tuple[str, EmailMessage]] = []
        self.seen = 0
        self.news = threading.Condition()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        if address in self.refused:
            with self.news:
                self.seen += 1
                self.news.notify_all()
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        said = self.answer(envelope)
        with self.news:
            self.seen += 1
            if said.startswith("250"):
                parsed = email.message_from_bytes(envelope.content or b"", policy=email.policy.default)  # type: ignore[arg-type]
                self.taken.append((envelope.rcpt_tos[0], parsed))  # type: ignore[arg-type]
            self.news.notify_all()
        return said

    def wait(self, until: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(until, PATIENCE_SECONDS), f"{self.seen} messages came"

    def take(self, count: int) -> list[tuple[str, str]]:
        """Waits until so many letters were taken; returns (address, subject) of each."""
        self.wait(lambda: len(self.taken) >= count)
        return [(to, letter["Subject"]) for to, letter in self.taken]


class Server(Controller):
    """aiosmtpd on a free port, which its own probe of the start knows nothing of."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        with socket.create_connection(("127.0.0.1", self.port)):
            self._factory_invoked.wait(PATIENCE_SECONDS)

    def __enter__(self) -> int:
        self.start()
        return self.port

    def __exit__(self, *_: object) -> None:
        self.stop()


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp(mailbox: Mailbox) -> Iterator[int]:
    """Serves the mailbox; the port."""
    with Server(mailbox, hostname="127.0.0.1", port=0) as port:
        yield port


class Town:
    """A registry with mail and JWT, and people whose tokens carry an address."""

    def __init__(self, running: Running, keys: Path) -> None:
        self.running = running
        self._key = (keys / KEY).read_bytes()

    def settle(self) -> None:
        """Waits until letters are made of all that has happened: who follows from now on is not told of it."""
        courier = next(work for work in self.running.app.background if isinstance(work, Courier))
        while courier._reached != courier._outbox.latest():
            time.sleep(0.01)

    def as_(self, subject: str, groups: tuple[str, ...] = (), **claims: object) -> Hooks:
        expiry = datetime.now(UTC) + timedelta(hours=1)
        body = {"sub": subject, "aud": "fivefold", "exp": expiry, "groups": list(groups)}
        body |= {"email": f"{subject}@example.com"} | claims
        return Hooks(self.running.channel, jwt.encode(body, self._key, algorithm="EdDSA"))


def settings(data: Path, keys: Path, port: int, **more: Any) -> Config:
    return Config(
        data=str(data),
        auth="jwt",
        jwt_keys=str(make_key(keys)),
        smtp_host="127.0.0.1",
        smtp_port=port,
        smtp_tls="off",
        mail_from="registry@example.com",
        webhook_retry_seconds=0.02,
        **more,
    )


@pytest.fixture(params=["sqlite"])
def town(request: pytest.FixtureRequest, data: Path, tmp_path: Path, smtp: int) -> Iterator[Town]:
    url = "" if request.param == "sqlite" else url_of(request.getfixturevalue("empty_postgres"))
    keys = tmp_path / "keys"
    with serve(build, settings(data, keys, smtp, store_url=url, mail_cap=3, mail_domains="example.com")) as running:
        yield Town(running, keys)


both = pytest.mark.parametrize("town", ["sqlite", "postgresql"], indirect=True)


def shared(town: Town, *readers: str) -> tuple[Hooks, str]:
    """Makes a model that others may read, with a version; returns its owner and the version."""
    mia = town.as_("mia")
    mia.registry.model()
    mia.registry.grant("models/churn", mia=MANAGE, **dict.fromkeys(readers, READ))
    version = mia.version()
    town.settle()
    return mia, version


@both
def test_who_acted_on_a_version_hears_of_it_and_who_acts_does_not_hear_of_himself(town: Town, mailbox: Mailbox) -> None:
    mia, version = shared(town, "ada", "bob")
    ada, bob = town.as_("ada"), town.as_("bob")
    ada.registry.comment(version, "first")
    request = bob.registry.ask(version, STAGING, "please").name
    mia.registry.approve(request)
    bob.registry.comment(mia.version(), "of another version")
    told = mailbox.take(7)
    assert sorted(told[:3]) == [
        ("ada@example.com", "[churn] bob asks to move version 1 of churn from None to Staging."),
        ("mia@example.com", "[churn] ada commented on version 1 of churn."),
        ("mia@example.com", "[churn] bob asks to move version 1 of churn from None to Staging."),
    ]
    moves = {(to, subject) for to, subject in told if "moved" in subject}
    assert moves == {
        (f"{who}@example.com", "[churn] mia moved version 1 of churn from None to Staging.") for who in ("ada", "bob")
    }
    assert ada.subscription().followed_versions == [version]
    text = next(letter for _, letter in mailbox.taken if "bob asks" in letter["Subject"]).get_content()
    assert "> please" in text and "Model: churn" in text


def test_all_activity_mute_follow_and_unfollow(town: Town, mailbox: Mailbox) -> None:
    mia, version = shared(town, "all", "mute", "follower", "gone", "plain")
    town.as_("all").subscribe(activity="ALL_ACTIVITY")
    mute, follower, gone = town.as_("mute"), town.as_("follower"), town.as_("gone")
    for person in (mute, follower, gone):
        person.follow(version)
    mute.subscribe(activity="MUTE")
    gone.unfollow(version)
    mia.registry.move(version, PRODUCTION)
    mia.version()
    mia.registry.move(version, STAGING)
    told = mailbox.take(5)
    assert sorted(to for to, _ in told) == ["all@example.com"] * 3 + ["follower@example.com"] * 2


def test_a_person_gets_so_many_letters_of_a_kind_a_day_and_is_told_so(town: Town, mailbox: Mailbox) -> None:
    mia, version = shared(town, "ada")
    town.as_("ada").follow(version)
    for number in range(6):
        mia.registry.comment(version, f"number {number}")
    mia.registry.move(version, STAGING)
    told = mailbox.take(4)
    assert [subject for _, subject in told].count("[churn] mia commented on version 1 of churn.") == 3
    assert len(told) == 4, "a move is of another kind"
    last = [letter.get_content() for _, letter in mailbox.taken if "> number 2" in letter.get_content()]
    assert "the last of 3 letters about comments" in last[0]
    assert sum("the last of" in letter.get_content() for _, letter in mailbox.taken) == 1


def test_letters_come_again_after_a_failure_with_the_same_id_and_in_order(town: Town, mailbox: Mailbox) -> None:
    mia, version = shared(town, "ada")
    town.as_("ada").follow(version)
    attempts: list[str] = []
    left = iter(["451 later", "421 going down"])

    def answer(envelope: Envelope) -> str:
        attempts.append(email.message_from_bytes(envelope.content)["Message-ID"])  # type: ignore[arg-type]
        return next(left, "250 OK")

    mailbox.answer = answer
    mia.registry.move(version, STAGING)
    mia.registry.move(version, PRODUCTION)
    subjects = [subject for _, subject in mailbox.take(2)]
    assert ["Staging." in subject for subject in subjects] == [True, False]
    assert attempts == [attempts[0]] * 3 + [attempts[3]]


def test_an_address_that_is_refused_for_good_is_not_tried_for_a_day(town: Town, mailbox: Mailbox) -> None:
    mia, version = shared(town, "ada", "bob")
    mailbox.refused.add("ada@example.com")
    for who in ("ada", "bob"):
        town.as_(who).follow(version)
    mia.registry.move(version, STAGING)
    mia.registry.comment(version, "second")
    assert {to for to, _ in mailbox.take(2)} == {"bob@example.com"}
    mailbox.wait(lambda: mailbox.seen == 4)


def test_who_may_no_longer_read_the_model_gets_no_letter(town: Town, mailbox: Mailbox) -> None:
    mia, version = shared(town, "ada", "bob")
    for who in ("ada", "bob"):
        town.as_(who).follow(version)
    mia.registry.grant("models/churn", mia=MANAGE, bob=READ)
    mia.registry.move(version, STAGING)
    assert [to for to, _ in mailbox.take(1)] == ["bob@example.com"]
    assert len(mailbox.taken) == 1


def test_the_groups_of_the_last_token_count(town: Town, mailbox: Mailbox) -> None:
    mia, version = shared(town)
    mia.registry.grant("models/churn", **{"mia": MANAGE, "group:team": READ})
    town.as_("ada", ("team",)).follow(version)
    mia.registry.move(version, STAGING)
    assert [to for to, _ in mailbox.take(1)] == ["ada@example.com"]


def test_the_subscriptions_address_comes_before_the_tokens(town: Town, mailbox: Mailbox) -> None:
    mia, version = shared(town, "ada", "bob", "cleo")
    ada = town.as_("ada")
    ada.follow(version)
    ada.subscribe(email="elsewhere@example.com")
    town.as_("bob", email_verified=False).follow(version)
    town.as_("cleo", email="cleo@evil.example\r\nBcc: all@example.com").follow(version)
    mia.registry.move(version, STAGING)
    mia.registry.move(version, PRODUCTION)
    assert {to for to, _ in mailbox.take(2)} == {"elsewhere@example.com"}, "not an unverified one, not a forged one"
    assert len(mailbox.taken) == 2


def test_hostile_names_and_texts_stay_where_they_belong(town: Town, mailbox: Mailbox) -> None:
    evil = 'x" <root@evil.example>, =Bcc: ünï'.replace(":", "=")
    mia = town.as_("mia\r\nBcc: victim@evil.example", email="mia@example.com")
    mia.registry.model(evil)
    version = mia.version(evil)
    town.settle()
    mia.registry.grant(f"models/{evil}", **{"mia\r\nBcc: victim@evil.example": MANAGE, "ada": READ})
    town.as_("ada").follow(version)
    mia.registry.comment(
        version, "hi\r\n.\r\nMAIL FROM:<x@evil.example>\r\n\r\n-- \r\nBcc: victim@evil.example\x1b[31m"
    )
    mailbox.take(1)
    ((to, letter),) = mailbox.taken
    assert to == "ada@example.com"
    assert set(letter.keys()) == {
        *("From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version"),
        *("Content-Type", "Content-Transfer-Encoding"),
    } | ({"X-Peer", "X-MailFrom", "X-RcptTo"} & set(letter.keys()))
    assert letter["Subject"].startswith(f"[{evil}] mia Bcc: victim@evil.example commented")
    lines = letter.get_content().splitlines()
    assert "> MAIL FROM:<x@evil.example>" in lines and "> ." in lines
    assert not any("\x1b" in line or line.startswith("Bcc") for line in lines)


PRINTED = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)


@given(user=PRINTED, model=PRINTED, comment=PRINTED, type=st.sampled_from(sorted(TOLD)))
def test_no_letter_has_a_header_too_many(user: str, model: str, comment: str, type: EventType) -> None:
    event = EventRecord(
        position=1,
        type=EventType(type),
        model_id="m",
        model=model,
        number=3,
        from_stage=Stage.NONE,
        to_stage=Stage.STAGING,
        user=user,
        subject="",
        readers=frozenset(),
        time=datetime.now(UTC),
    )
    letter = write(event, "ada@example.com", comment, last=0)
    sent = message(letter, "registry@example.com", "ada-1").as_bytes()
    back = email.message_from_bytes(sent, policy=email.policy.default)
    assert len(back.keys()) == 8 and back["To"] == "ada@example.com"
    assert back["Subject"].replace(" ", "") == letter.subject.replace(" ", "")
    assert all(len(line) <= 998 for line in sent.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "ada",
            "@example.com",
            "ada@",
            "a@b@c",
            "ada@exa mple.com",
            "ada@example.com\n",
            "ada@example.com,b@c.de",
        ),
        *("Ada <ada@example.com>", "<ada@example.com>", '"a b"@example.com', "ada@[127.0.0.1]", "ädа@example.com"),
        *("ada@example.com\r\nBcc: x@y.zz", "ada(comment)@example.com", "a" * 65 + "@example.com", "a@" + "b" * 300),
    ],
)
def test_what_is_no_plain_address_is_not_taken_for_one(text: str) -> None:
    assert not is_address(text)


def test_an_address_of_another_domain_or_form_is_refused_in_a_subscription(town: Town) -> None:
    from tests.runtime.asserting import refused

    mia, _ = shared(town)
    for wrong in ("mia@evil.example", "Mia <mia@example.com>", "mia@example.com\r\nX: y"):
        with refused("FIELD_INVALID"):
            mia.subscribe(email=wrong)
    assert mia.subscribe(email="mia@Example.com").email == "mia@Example.com"


def test_mail_is_off_without_a_server_but_people_follow_what_they_act_on(data: Path) -> None:
    with serve(build, Config(data=str(data))) as running:
        hooks = Hooks(running.channel)
        hooks.registry.model()
        version = hooks.version()
        hooks.registry.comment(version, "so")
        while hooks.subscription().followed_versions != [version]:
            pass
        with running.app.database.read() as tx:  # type: ignore[union-attr]
            assert tx.exec_driver_sql("SELECT count(*) FROM deliveries").scalar_one() == 0


def test_a_killed_service_sends_what_it_had_not_sent(data: Path, mailbox: Mailbox, smtp: int) -> None:
    mailbox.answer = lambda _: "451 not now"
    arguments = ["--smtp-host", "127.0.0.1", "--smtp-port", str(smtp), "--smtp-tls", "off"]
    arguments += ["--mail-from", "registry@example.com", "--webhook-retry-seconds", "0.05"]
    with Process(data, *arguments) as process:
        hooks = Hooks(process.channel)
        hooks.registry.model()
        hooks.subscribe(activity="ALL_ACTIVITY", email="local@example.com")
        version = hooks.version()
    # Alone one hears of nobody, so another one acts: straight in the store, as a replica would.
    from fivefold_registry.store.sql import MIGRATIONS
    from fivefold_runtime.sql import Database, sqlite_in
    from tests.registry.drivers import StoreDriver

    database = Database.open(sqlite_in(data), migrations=MIGRATIONS)
    driver = StoreDriver(database)
    for text in ("one", "two"):
        driver.store.journal.comment(_parsed(version), text, "somebody")
    database.close()
    with Process(data, *arguments):
        mailbox.wait(lambda: mailbox.seen >= 2)
    mailbox.answer = lambda _: "250 OK"
    with Process(data, *arguments):
        mailbox.take(2)
    texts = [letter.get_content() for _, letter in mailbox.taken]
    assert "> one" in texts[0] and "> two" in texts[1]


def _parsed(version: str):  # type: ignore[no-untyped-def]
    from fivefold_registry.names import VersionName

    return VersionName.parse(version)


@pytest.mark.filterwarnings(
    "ignore:Requiring AUTH while not requiring TLS"
)  # aiosmtpd does not count TLS from the start
@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_the_servers_certificate_is_verified_and_the_user_logs_in(tmp_path: Path, mailbox: Mailbox, tls: str) -> None:
    paths = certificates.make(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths.cert, paths.key)
    given: list[bytes] = []

    def login(server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given.append(data.password)
        return AuthResult(success=data.password == b"right", handled=False)

    shared_options = {"authenticator": login, "auth_required": True, "auth_require_tls": tls == "starttls"}
    how = {"ssl_context": context} if tls == "tls" else {"tls_context": context}
    letter = EmailMessage()
    letter["Subject"] = "x"

    def server(password: str, ca: str) -> Smtp:
        return Smtp(
            host="localhost", port=port, tls=tls, user="me", password=password, timeout_seconds=10.0, ca_file=ca
        )

    with Server(mailbox, hostname="127.0.0.1", port=0, server_hostname="x", **shared_options, **how) as port:
        server("right", paths.ca).send(letter, "a@example.com", "b@example.com")
        with pytest.raises(MailFailed, match="did not accept user"):
            server("wrong", paths.ca).send(letter, "a@example.com", "b@example.com")
        with pytest.raises(MailFailed, match="certificate does not verify"):
            server("right", "").send(letter, "a@example.com", "b@example.com")
    assert given[:2] == [b"right", b"wrong"] and b"right" not in given[1:], "no password before the certificate is good"
    assert "right" not in repr(server("right", ""))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"smtp_host": "x"}, "--mail-from"),
        ({"smtp_host": "x", "mail_from": "a@b.c", "smtp_user": "u", "smtp_tls": "off"}, "in the clear"),
        ({"smtp_port": 0}, "--smtp-port"),
        ({"mail_cap": 0}, "--mail-cap"),
        ({"delivery_workers": 0}, "--delivery-workers"),
        ({"webhook_timeout_seconds": 0.0}, "--webhook-timeout-seconds"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_the_start(given: dict[str, Any], said: str) -> None:
    with pytest.raises(StartError, match=said):
        Config(**given).check()


def test_a_deleted_versions_followers_are_forgotten(town: Town) -> None:
    mia, version = shared(town)
    mia.follow(version)
    assert mia.subscription().followed_versions == [version]
    mia.registry.stub.DeleteModel(pb.DeleteModelRequest(name="models/churn"))
    mia.registry.model()
    assert mia.subscription().followed_versions == []
