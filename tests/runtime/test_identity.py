"""Who calls and what they may: tokens, keys that change, levels, permissions, visibility."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
from datetime import UTC, datetime, timedelta

import certificates
import grpc
import jwt
import pytest
from asserting import refused
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from notes import Config, build
from notes_stubs import notes_pb2 as pb
from notes_stubs import notes_pb2_grpc

from fivefold.permissions.v1 import permissions_pb2, permissions_pb2_grpc
from fivefold_runtime.identity import TokenInvalid, Verifier
from fivefold_runtime.keys import KEY, make_key, sign_token
from fivefold_runtime.settings import StartError
from fivefold_runtime.testing import serve

NOW = datetime.now(UTC)
FUTURE = int((NOW + timedelta(hours=1)).timestamp())
CLAIMS = {"sub": "ann", "aud": "fivefold", "exp": FUTURE}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    make_key(folder)
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory, keys):
    config = Config(
        data=str(tmp_path_factory.mktemp("data")),
        auth="jwt",
        jwt_keys=str(keys / "jwks.json"),
        admins="root,group:admins",
        standing_levels="group:readers=CAN_READ, group:editors = CAN_EDIT",
    )
    with serve(build, config) as service:
        yield service


@pytest.fixture(scope="module")
def stub(running):
    return notes_pb2_grpc.NotesServiceStub(running.channel)


@pytest.fixture(scope="module")
def permissions(running):
    return permissions_pb2_grpc.PermissionsServiceStub(running.channel)


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


@pytest.fixture(scope="module")
def as_(keys):
    return lambda subject, *groups: bearer(sign_token(keys, subject, groups))


def make(stub, metadata, name: str) -> None:
    stub.CreateNote(pb.CreateNoteRequest(note=pb.Note(name=name, text="x")), metadata=metadata)


def whoami(stub, metadata=None) -> str:
    return stub.Act(pb.Note(text="caller"), metadata=metadata).text


# Tokens


def test_a_good_token_names_the_caller_and_their_groups(stub, as_):
    answer = stub.Act(pb.Note(text="caller"), metadata=as_("ann", "b", "a"))
    assert (answer.text, list(answer.words)) == ("ann", ["a", "b"])


def test_without_a_token_only_public_methods_answer(stub):
    assert whoami(stub) == "anonymous"
    with refused("TOKEN_MISSING") as refusal:
        stub.ListNotes(pb.ListNotesRequest())
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    with refused("TOKEN_MISSING"):
        list(stub.WatchNotes(pb.ListNotesRequest()))
    with refused("TOKEN_MISSING"):
        list(stub.Echo(iter([pb.Note()])))


def test_a_caller_without_a_token_learns_nothing_of_what_is_wrong_with_the_request(running):
    with refused("TOKEN_MISSING"):
        running.channel.unary_unary("/fivefold.notes.v1.NotesService/GetNote")(b"\xff\xff")


def forged(header: dict, claims: dict, signature: bytes = b"x") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def signed(keys, claims: dict, **header: str) -> str:
    key = form.load_pem_private_key((keys / KEY).read_bytes(), None)
    return jwt.encode(claims, key, algorithm="EdDSA", headers=header)


def hmac_with_public_key(keys) -> str:
    """The classic confusion: the public key used as the secret of a symmetric signature."""
    public = base64.urlsafe_b64decode(json.loads((keys / "jwks.json").read_text())["keys"][0]["x"] + "==")
    return jwt.encode(CLAIMS, public, algorithm="HS256")


BAD = {
    "expired": lambda keys: sign_token(keys, "ann", now=NOW - timedelta(hours=13)),
    "wrong audience": lambda keys: sign_token(keys, "ann", audience="other"),
    "no expiry": lambda keys: signed(keys, {"sub": "ann", "aud": "fivefold"}),
    "no audience": lambda keys: signed(keys, {"sub": "ann", "exp": FUTURE}),
    "no subject": lambda keys: signed(keys, {"aud": "fivefold", "exp": FUTURE}),
    "empty subject": lambda keys: signed(keys, CLAIMS | {"sub": ""}),
    "subject that is a group": lambda keys: signed(keys, CLAIMS | {"sub": "group:admins"}),
    "groups that are no list": lambda keys: signed(keys, CLAIMS | {"groups": "admins"}),
    "not yet valid": lambda keys: signed(keys, CLAIMS | {"nbf": FUTURE}),
    "unknown key id": lambda keys: signed(keys, CLAIMS, kid="other"),
    "algorithm none": lambda keys: forged({"alg": "none", "typ": "JWT"}, CLAIMS, b""),
    "symmetric algorithm": hmac_with_public_key,
    "forged signature": lambda keys: forged({"alg": "EdDSA", "typ": "JWT"}, CLAIMS, b"x" * 64),
    "foreign key": lambda keys: jwt.encode(CLAIMS, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
    "no token": lambda keys: "nonsense",
    "empty": lambda keys: "",
    "huge": lambda keys: "x" * 17_000,
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused_even_where_none_is_needed(stub, keys, kind):
    token = BAD[kind](keys)
    for method, request in ((stub.ListNotes, pb.ListNotesRequest()), (stub.Act, pb.Note())):
        with refused("TOKEN_INVALID") as refusal:
            method(request, metadata=bearer(token))
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        assert len(token) < 10 or token[:10] not in refusal.message


def test_a_header_of_another_scheme_is_refused(stub):
    with refused("TOKEN_INVALID"):
        stub.ListNotes(pb.ListNotesRequest(), metadata=[("authorization", "Basic YTpi")])


@pytest.mark.parametrize("kind", ["EdDSA", "ES256", "RS256"])
def test_every_allowed_algorithm_verifies_from_a_pem_file(tmp_path, kind):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = {
        "EdDSA": Ed25519PrivateKey.generate,
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
    }
    key = made[kind]()
    pem = tmp_path / "keys.pem"
    pem.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    verifier = Verifier(str(pem), audience="fivefold")
    token = jwt.encode(CLAIMS, key, algorithm=kind, headers={"kid": "whatever"})
    assert verifier.principal({"authorization": f"Bearer {token}"}).subject == "ann"


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email": "ann@example.com"}, "ann@example.com"),
        ({"email": "ann@example.com", "email_verified": True}, "ann@example.com"),
        ({"email": "ann@example.com", "email_verified": False}, ""),
        ({"email": ["ann@example.com"]}, ""),
        ({"email": "a" * 255}, ""),
        ({}, ""),
    ],
)
def test_an_email_that_the_issuer_stands_for_is_carried(keys, claims, email):
    verifier = Verifier(str(keys / "jwks.json"), audience="fivefold")
    token = signed(keys, {"sub": "ann", "aud": "fivefold", "exp": FUTURE, **claims})
    principal = verifier.principal({"authorization": f"Bearer {token}"})
    assert principal.email == email
    assert not email or email not in repr(principal)


def test_an_issuer_that_is_asked_for_must_match(keys):
    verifier = Verifier(str(keys / "jwks.json"), audience="fivefold", issuer="https://good")
    good = sign_token(keys, "ann", issuer="https://good")
    assert verifier.principal({"authorization": f"bearer {good}"}).subject == "ann"
    for issuer in ("", "https://bad"):
        with pytest.raises(TokenInvalid):
            verifier.principal({"authorization": f"Bearer {sign_token(keys, 'ann', issuer=issuer)}"})


def test_keys_are_read_again_when_their_file_changes_and_a_broken_file_changes_nothing(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    served = tmp_path / "jwks.json"
    served.write_bytes(make_key(old).read_bytes())
    verifier = Verifier(str(served), audience="fivefold")

    def accepts(folder) -> bool:
        try:
            return verifier.principal({"authorization": f"Bearer {sign_token(folder, 'ann')}"}).subject == "ann"
        except TokenInvalid:
            return False

    make_key(new)
    assert accepts(old) and not accepts(new)
    served.write_text("{ half a fi")
    assert accepts(old)
    served.write_bytes((new / "jwks.json").read_bytes())
    assert accepts(new) and not accepts(old)


def test_keys_come_from_an_https_url_without_redirects(tmp_path, keys):
    paths = certificates.make(tmp_path)
    jwks = (keys / "jwks.json").read_bytes()

    class Issuer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302 if self.path == "/elsewhere" else 200)
            self.send_header("Location", "/jwks")
            self.end_headers()
            self.wfile.write(jwks if self.path == "/jwks" else b"")

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Issuer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths.cert, paths.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"https://localhost:{server.server_port}"
        verifier = Verifier(f"{address}/jwks", audience="fivefold", ca_file=paths.ca)
        token = sign_token(keys, "ann")
        assert verifier.principal({"authorization": f"Bearer {token}"}).subject == "ann"
        for wrong in (f"{address}/elsewhere", f"{address}/empty"):
            with pytest.raises(StartError, match=r"cannot read the keys|has no Ed25519"):
                Verifier(wrong, audience="fivefold", ca_file=paths.ca)
        with pytest.raises(StartError, match="cannot read the keys"):
            Verifier(f"{address}/jwks", audience="fivefold")  # an authority that this machine does not trust
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "No such file"),
        ("", "has no Ed25519"),
        ("{}", "holds no keys"),
        ('{"keys": []}', "keys"),
        ("secret", "has no Ed25519"),
    ],
)
def test_keys_that_cannot_be_used_keep_the_server_from_starting(tmp_path, content, line):
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StartError, match=line) as caught:
        Verifier(str(path), audience="fivefold")
    assert "\n" not in str(caught.value)


def test_keys_over_plain_http_are_refused():
    with pytest.raises(StartError, match="must be https"):
        Verifier("http://127.0.0.1/jwks", audience="fivefold")


def test_the_development_key_is_private_and_stays_the_same(tmp_path):
    make_key(tmp_path / "k")
    before = (tmp_path / "k" / KEY).read_bytes()
    make_key(tmp_path / "k")
    assert (tmp_path / "k" / KEY).read_bytes() == before
    assert (tmp_path / "k" / KEY).stat().st_mode & 0o777 == 0o600
    assert "d" not in json.loads((tmp_path / "k" / "jwks.json").read_text())["keys"][0]


def test_no_token_is_logged_or_shown(stub, as_, caplog):
    [(_, header)] = metadata = as_("ann")
    with caplog.at_level("DEBUG"):
        whoami(stub, metadata)
    assert header[7:] not in " ".join(str(vars(record)) for record in caplog.records)
    from fivefold_runtime.principal import Principal

    assert "hush" not in repr(Principal("ann", frozenset(), "hush"))


# Levels

METHODS = {
    "GetNote": lambda name: pb.GetNoteRequest(name=name),
    "JudgeNote": lambda name: pb.GetNoteRequest(name=name),
    "UpdateNote": lambda name: pb.UpdateNoteRequest(note=pb.Note(name=name, text="+")),
    "DeleteNote": lambda name: pb.GetNoteRequest(name=name),
}
LEVELS = ["", "CAN_READ", "CAN_EDIT", "CAN_MANAGE_STAGING_VERSIONS", "CAN_MANAGE_PRODUCTION_VERSIONS", "CAN_MANAGE"]
NEEDED = {"GetNote": 1, "JudgeNote": 1, "UpdateNote": 2, "DeleteNote": 5}


@pytest.mark.parametrize("granted", range(6))
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("principal", ["bob", "group:team"])
def test_each_method_needs_its_level_and_no_more(stub, permissions, as_, method, granted, principal):
    name = f"notes/{method}-{granted}-{principal.replace(':', '-')}"
    make(stub, as_("ann"), name)
    grants = [permissions_pb2.Grant(principal="ann", level=permissions_pb2.LEVEL_CAN_MANAGE)]
    if granted:
        grants.append(permissions_pb2.Grant(principal=principal, level=granted))
    asked = permissions_pb2.SetPermissionsRequest(permissions=permissions_pb2.Permissions(resource=name, grants=grants))
    permissions.SetPermissions(asked, metadata=as_("ann"))
    call, request = getattr(stub, method), METHODS[method](name)
    bob = as_("bob", "team")
    if granted == 0:
        with refused("RESOURCE_NOT_FOUND") as hidden:
            call(request, metadata=bob)
        with refused("RESOURCE_NOT_FOUND") as missing:
            call(METHODS[method](f"{name}x"), metadata=bob)
        assert hidden.message.replace(name, "N") == missing.message.replace(f"{name}x", "N")
    elif granted < NEEDED[method]:
        with refused("PERMISSION_DENIED") as refusal:
            call(request, metadata=bob)
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert refusal.facts["has"] == LEVELS[granted]
    else:
        call(request, metadata=bob)


def test_the_first_message_of_a_client_stream_carries_the_resource(stub, as_):
    make(stub, as_("ann"), "notes/streamed")
    request = pb.UpdateNoteRequest(note=pb.Note(name="notes/streamed", text="1"))
    assert stub.AppendNotes(iter([request]), metadata=as_("ann")).text == "x1"
    with refused("RESOURCE_NOT_FOUND"):
        stub.AppendNotes(iter([request]), metadata=as_("bob"))


def test_administrators_and_groups_with_levels_reach_every_resource(stub, as_):
    make(stub, as_("ann"), "notes/everyones")
    read, write = pb.GetNoteRequest(name="notes/everyones"), METHODS["UpdateNote"]("notes/everyones")
    assert stub.GetNote(read, metadata=as_("x", "readers")).name
    with refused("PERMISSION_DENIED"):
        stub.UpdateNote(write, metadata=as_("x", "readers"))
    assert stub.UpdateNote(write, metadata=as_("x", "editors")).name
    for metadata in (as_("root"), as_("x", "admins")):
        assert stub.Administer(pb.Note(), metadata=metadata).text == "administered"
        assert stub.JudgeNote(read, metadata=metadata).text == "CAN_MANAGE"
    for metadata in (as_("ann"), as_("x", "editors"), as_("admins")):
        with refused("PERMISSION_DENIED"):
            stub.Administer(pb.Note(), metadata=metadata)


def listed(stub, metadata, prefix: str) -> list[str]:
    names, token = [], ""
    while True:
        page = stub.ListNotes(pb.ListNotesRequest(prefix=prefix, page_token=token), metadata=metadata)
        names += [note.name for note in page.notes]
        token = page.next_page_token
        if not token:
            return names


def test_a_list_shows_what_the_caller_may_read_and_its_pages_are_full(stub, as_):
    for number in range(9):
        make(stub, as_("ann" if number % 2 else "bob"), f"notes/listed{number}")
    assert listed(stub, as_("ann"), "notes/listed") == [f"notes/listed{n}" for n in (1, 3, 5, 7)]
    assert listed(stub, as_("carl"), "notes/listed") == []
    assert len(listed(stub, as_("carl", "readers"), "notes/listed")) == 9
    page = stub.ListNotes(pb.ListNotesRequest(prefix="notes/listed", page_size=3), metadata=as_("ann"))
    assert len(page.notes) == 3


def test_a_page_token_of_another_query_is_refused(stub, as_):
    first = stub.ListNotes(pb.ListNotesRequest(prefix="notes/listed"), metadata=as_("root"))
    with refused("PAGE_TOKEN_INVALID"):
        stub.ListNotes(pb.ListNotesRequest(prefix="notes/", page_token=first.next_page_token), metadata=as_("root"))


# The permissions service


def test_permissions_are_read_by_readers_and_set_by_managers(stub, permissions, as_):
    make(stub, as_("ann"), "notes/granted")
    read = permissions.GetPermissions(
        permissions_pb2.GetPermissionsRequest(resource="notes/granted"), metadata=as_("ann")
    )
    assert [(grant.principal, grant.level) for grant in read.grants] == [("ann", 5)]
    with refused("RESOURCE_NOT_FOUND"):
        permissions.GetPermissions(permissions_pb2.GetPermissionsRequest(resource="notes/granted"), metadata=as_("bob"))
    read.grants.add(principal="bob", level=permissions_pb2.LEVEL_CAN_EDIT)
    changed = permissions.SetPermissions(permissions_pb2.SetPermissionsRequest(permissions=read), metadata=as_("ann"))
    assert changed.etag != read.etag
    with refused("ETAG_MISMATCH") as refusal:
        permissions.SetPermissions(permissions_pb2.SetPermissionsRequest(permissions=read), metadata=as_("ann"))
    assert refusal.code is grpc.StatusCode.ABORTED
    with refused("PERMISSION_DENIED"):
        permissions.SetPermissions(permissions_pb2.SetPermissionsRequest(permissions=read), metadata=as_("bob"))


@pytest.mark.parametrize(
    "grants",
    [[], [("ann", 2)], [("ann", 5), ("ann", 1)], [("ann", 5), ("bob", 99)]],
    ids=["none", "no manager", "twice", "no level"],
)
def test_grants_that_make_no_sense_are_refused(stub, permissions, as_, grants):
    if not stub.ListNotes(pb.ListNotesRequest(prefix="notes/sense"), metadata=as_("ann")).notes:
        make(stub, as_("ann"), "notes/sense")
    wanted = permissions_pb2.Permissions(resource="notes/sense")
    for principal, level in grants:
        wanted.grants.add(principal=principal, level=level)
    with refused("FIELD_INVALID"):
        permissions.SetPermissions(permissions_pb2.SetPermissionsRequest(permissions=wanted), metadata=as_("ann"))


def test_a_new_resource_does_not_inherit_the_grants_of_one_that_was_deleted(stub, as_):
    make(stub, as_("ann"), "notes/again")
    stub.DeleteNote(pb.GetNoteRequest(name="notes/again"), metadata=as_("ann"))
    make(stub, as_("bob"), "notes/again")
    with refused("RESOURCE_NOT_FOUND"):
        stub.GetNote(pb.GetNoteRequest(name="notes/again"), metadata=as_("ann"))


def test_a_replayed_answer_goes_only_to_the_caller_who_made_it(stub, as_):
    request = pb.CreateNoteRequest(note=pb.Note(name="notes/replayed", text="secret"), request_id="guess")
    stub.CreateNote(request, metadata=as_("ann"))
    with refused("RESOURCE_EXISTS"):
        stub.CreateNote(request, metadata=as_("bob"))


def test_settings_that_name_no_level_keep_the_server_from_starting(tmp_path):
    for text, line in (("a=CAN_FLY", "a level is one of"), ("a", "must be NAME=VALUE")):
        with pytest.raises(StartError, match=line):
            with serve(build, Config(data=str(tmp_path / "d"), standing_levels=text)):
                pass
