"""Encryption scopes: made and disabled by the operator, named by requests, tokens and containers."""
import base64
import hashlib
import os
import subprocess
import uuid

import pytest
import wire
from wire import account_sas, assert_error, block_id, block_list, service_sas

USES = "BlobUsesCustomerSpecifiedEncryption"
NOT = "BlobDoesNotUseCustomerSpecifiedEncryption"
MISMATCH = "BlobCustomerSpecifiedEncryptionMismatch"
POLICY = "RequestForbiddenByContainerEncryptionPolicy"
NONE = "$account-encryption-key"


def operator(server, command, *words):
    return subprocess.run([server.program, "scope", command, wire.ACCOUNT, *words, "--data", server.folder], text=True,
                          capture_output=True, timeout=wire.TIMEOUT_S)


def set_scope(server, command, name):
    r = operator(server, command, name)
    assert r.returncode == 0, r.stderr


@pytest.fixture
def scopes(server):
    """Two names of scopes, and their headers."""
    names = ["s" + uuid.uuid4().hex[:20] for _ in range(2)]
    for name in names:
        set_scope(server, "create", name)
    return [{"x-ms-encryption-scope": name} for name in names]


def name_of(headers):
    return headers["x-ms-encryption-scope"]


def default(name, deny):
    return {"x-ms-default-encryption-scope": name, "x-ms-deny-encryption-scope-override": str(deny).lower()}


@pytest.fixture
def make(api):
    """Containers with a default scope."""
    made = []

    def create(headers):
        made.append("c" + uuid.uuid4().hex)
        api.create_container(made[-1], headers)
        return made[-1]
    yield create
    for name in made:
        assert api("DELETE", f"/{name}?restype=container").status == 202


@pytest.mark.parametrize("size", [0, 10, 100_000, 3 << 20])
def test_reads_are_transparent(api, container, scopes, size):
    body, mine = os.urandom(size), scopes[0]
    r = api.put_ok(container, "b", body, mine | {"x-ms-meta-a": "1"})
    assert r.get("x-ms-encryption-scope") == name_of(mine) and r.get("x-ms-request-server-encrypted") == "true"
    for _ in range(3):
        r = api("GET", f"/{container}/b")
        assert r.status == 200 and r.body == body and r.get("x-ms-encryption-scope") == name_of(mine)
    r = api("HEAD", f"/{container}/b")
    assert r.status == 200 and r.get("x-ms-encryption-scope") == name_of(mine) and r.metadata == {"a": "1"}
    assert api("GET", f"/{container}/b?comp=metadata").metadata == {"a": "1"}
    blob = api.list(container).xml.find("Blobs/Blob")
    assert blob.findtext("Properties/EncryptionScope") == name_of(mine)


def test_nothing_is_said_without_one(api, container):
    r = api.put_ok(container, "b", b"data", {"x-ms-encryption-scope": NONE})
    assert r.get("x-ms-encryption-scope") is None
    assert api("HEAD", f"/{container}/b").get("x-ms-encryption-scope") is None
    assert api.list(container).xml.find("Blobs/Blob/Properties/EncryptionScope") is None


@pytest.mark.parametrize("name", ["", "ab", "Upper", "a--b", "-ab", "$logs", "x" * 64, "no-such-scope"])
def test_scopes_that_are_not_there(api, container, name):
    assert_error(api.put(container, "b", b"x", {"x-ms-encryption-scope": name}), 400, "InvalidHeaderValue")
    assert not api.exists(container, "b")


def test_not_with_a_customers_key(api, container, scopes):
    raw = os.urandom(32)
    key = {"x-ms-encryption-key": base64.b64encode(raw).decode(), "x-ms-encryption-algorithm": "AES256",
           "x-ms-encryption-key-sha256": base64.b64encode(hashlib.sha256(raw).digest()).decode()}
    assert_error(api.put(container, "b", b"x", key | scopes[0]), 400, "InvalidHeaderValue", "together")
    assert not api.exists(container, "b")
    api.put_ok(container, "b", b"x", scopes[0])
    assert_error(api("GET", f"/{container}/b", key), 409, NOT)


def test_only_what_writes_takes_one(api, container, scopes):
    api.put_ok(container, "b", b"data", scopes[0])
    for method, query in (("GET", ""), ("HEAD", ""), ("DELETE", ""), ("PUT", "?comp=properties"), ("PUT", "?comp=seal")):
        assert_error(api(method, f"/{container}/b{query}", scopes[0]), 400, "UnsupportedHeader", head=method == "HEAD")
    assert_error(api.put(container, "c", b"x", default(name_of(scopes[0]), False)), 400, "UnsupportedHeader")


def test_changes_name_the_same_scope(api, container, scopes):
    mine, other = scopes
    api.put_ok(container, "b", b"data", mine)
    api.put_ok(container, "plain", b"data")
    for query, headers, status in (("?comp=metadata", {"x-ms-meta-a": "1"}, 200), ("?comp=snapshot", {}, 201)):
        path = f"/{container}/b{query}"
        assert_error(api("PUT", path, headers), 409, USES, name_of(mine))
        assert_error(api("PUT", path, headers | other), 409, MISMATCH)
        assert_error(api("PUT", f"/{container}/plain{query}", headers | mine), 409, NOT)
        r = api("PUT", path, headers | mine)
        assert r.status == status and r.get("x-ms-encryption-scope") == name_of(mine)
    assert api("PUT", f"/{container}/b?comp=properties", {"x-ms-blob-content-type": "a/b"}).status == 200
    api.put_ok(container, "b", b"other", other)  # a blob that is put whole is a new one
    assert api("GET", f"/{container}/b").get("x-ms-encryption-scope") == name_of(other)


def test_append(api, container, scopes):
    mine, other = scopes
    path = f"/{container}/a"
    r = api("PUT", path, {"x-ms-blob-type": "AppendBlob"} | mine)
    assert r.status == 201 and r.get("x-ms-encryption-scope") == name_of(mine)
    assert_error(api("PUT", path + "?comp=appendblock", body=b"x"), 409, USES)
    assert_error(api("PUT", path + "?comp=appendblock", other, b"x"), 409, MISMATCH)
    for data in (b"small", os.urandom(100_000)):
        r = api("PUT", path + "?comp=appendblock", mine, data)
        assert r.status == 201 and r.get("x-ms-encryption-scope") == name_of(mine)
    r = api("GET", path)
    assert r.body == b"small" + data and r.get("x-ms-encryption-scope") == name_of(mine)


def test_pages(api, container, scopes):
    mine, other = scopes
    path, page = f"/{container}/p", os.urandom(512)
    r = api("PUT", path, {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "1024"} | mine)
    assert r.status == 201 and r.get("x-ms-encryption-scope") == name_of(mine)
    write = {"x-ms-page-write": "update", "x-ms-range": "bytes=0-511"}
    clear = {"x-ms-page-write": "clear", "x-ms-range": "bytes=512-1023"}
    for headers, body in ((write, page), (clear, b"")):
        assert_error(api("PUT", path + "?comp=page", headers, body), 409, USES)
        assert_error(api("PUT", path + "?comp=page", headers | other, body), 409, MISMATCH)
        assert api("PUT", path + "?comp=page", headers | mine, body).status == 201
    assert api("GET", path).body == page + bytes(512)


def test_blocks(api, container, scopes):
    mine, other = scopes
    path, large = f"/{container}/b", os.urandom(100_000)
    stage = f"{path}?comp=block&blockid="
    r = api("PUT", stage + block_id(1), mine, large)
    assert r.status == 201 and r.get("x-ms-encryption-scope") == name_of(mine)
    assert api("PUT", stage + block_id(2), other, b"two").status == 201
    both = block_list(("Latest", block_id(1)), ("Latest", block_id(2)))
    assert_error(api("PUT", path + "?comp=blocklist", mine, both), 409, MISMATCH)
    assert_error(api("PUT", path + "?comp=blocklist", body=both), 409, USES)
    assert api("PUT", stage + block_id(2), body=b"two").status == 201
    assert_error(api("PUT", path + "?comp=blocklist", mine, both), 409, NOT)
    assert api("PUT", stage + block_id(2), mine, b"two").status == 201
    r = api("PUT", path + "?comp=blocklist", mine, both)
    assert r.status == 201 and r.get("x-ms-encryption-scope") == name_of(mine)
    assert api("GET", path).body == large + b"two"


@pytest.mark.parametrize("how", [{"x-ms-blob-type": "BlockBlob"}, {"x-ms-requires-sync": "true"}, {}],
                         ids=["put", "copy-sync", "copy"])
@pytest.mark.parametrize("kind", ["BlockBlob", "AppendBlob", "PageBlob"])
def test_copies(api, container, scopes, how, kind):
    if kind == "PageBlob" and how.get("x-ms-blob-type") or kind != "BlockBlob" and how.get("x-ms-requires-sync"):
        pytest.skip("copies no blobs of this type")
    mine, other = scopes
    body = os.urandom(51_200)
    if kind == "BlockBlob":
        api.put_ok(container, "from", body, mine)
    elif kind == "AppendBlob":
        assert api("PUT", f"/{container}/from", {"x-ms-blob-type": kind} | mine).status == 201
        assert api("PUT", f"/{container}/from?comp=appendblock", mine, body).status == 201
    else:
        size = {"x-ms-blob-type": kind, "x-ms-blob-content-length": str(len(body))}
        write = {"x-ms-page-write": "update", "x-ms-range": f"bytes=0-{len(body) - 1}"}
        assert api("PUT", f"/{container}/from", size | mine).status == 201
        assert api("PUT", f"/{container}/from?comp=page", write | mine, body).status == 201
    source = f"http://127.0.0.1:{api.server.port}/{api.account}/{container}/from"
    r = api("PUT", f"/{container}/to", {"x-ms-copy-source": source} | how | other)
    assert r.status in (201, 202) and r.get("x-ms-encryption-scope") == name_of(other)
    r = api("GET", f"/{container}/to")
    assert r.body == body and r.get("x-ms-encryption-scope") == name_of(other)
    # not the source's, when none is named
    assert api("PUT", f"/{container}/plain", {"x-ms-copy-source": source} | how).status in (201, 202)
    r = api("GET", f"/{container}/plain")
    assert r.body == body and r.get("x-ms-encryption-scope") is None


def test_states_keep_their_scope(api, container, scopes):
    mine, other = scopes
    bodies = os.urandom(40_000), os.urandom(40_000)
    api.put_ok(container, "b", bodies[0], mine)
    r = api("PUT", f"/{container}/b?comp=snapshot", mine)
    assert r.status == 201
    api.put_ok(container, "b", bodies[1], other)
    old = api("GET", f"/{container}/b?snapshot={r.get('x-ms-snapshot')}")
    assert old.body == bodies[0] and old.get("x-ms-encryption-scope") == name_of(mine)
    new = api("GET", f"/{container}/b")
    assert new.body == bodies[1] and new.get("x-ms-encryption-scope") == name_of(other)
    listed = api.list(container, "&include=snapshots").xml.iter("Blob")
    assert [b.findtext("Properties/EncryptionScope") for b in listed] == [name_of(mine), name_of(other)]


def test_pieces_from_url(api, container, scopes):
    mine, other = scopes
    body = os.urandom(51_200)
    api.put_ok(container, "from", body, other)
    source = {"x-ms-copy-source": f"http://127.0.0.1:{api.server.port}/{api.account}/{container}/from"}
    pages = {"x-ms-page-write": "update", "x-ms-range": f"bytes=0-{len(body) - 1}",
             "x-ms-source-range": f"bytes=0-{len(body) - 1}"}
    for name, headers, query in (("a", {"x-ms-blob-type": "AppendBlob"}, "?comp=appendblock"),
                                 ("p", {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(len(body))},
                                  "?comp=page"),
                                 ("b", None, f"?comp=block&blockid={block_id(1)}")):
        path, more = f"/{container}/{name}", pages if name == "p" else {}
        if headers:
            assert api("PUT", path, headers | mine).status == 201
            assert_error(api("PUT", path + query, source | more), 409, USES)
        r = api("PUT", path + query, source | more | mine)
        assert r.status == 201 and r.get("x-ms-encryption-scope") == name_of(mine), name
        if not headers:
            assert api("PUT", path + "?comp=blocklist", mine, block_list(("Latest", block_id(1)))).status == 201
        r = api("GET", path)
        assert r.body == body and r.get("x-ms-encryption-scope") == name_of(mine)


# ---- containers


def test_container_default(api, make, scopes):
    mine, other = scopes
    c = make(default(name_of(mine), False))
    r = api("HEAD", f"/{c}?restype=container")
    assert r.get("x-ms-default-encryption-scope") == name_of(mine)
    assert r.get("x-ms-deny-encryption-scope-override") == "false"
    listed = {e.findtext("Name"): e for e in api("GET", f"/?comp=list&prefix={c}").xml.iter("Container")}[c]
    assert listed.findtext("Properties/DefaultEncryptionScope") == name_of(mine)
    assert listed.findtext("Properties/DenyEncryptionScopeOverride") == "false"
    assert api.put_ok(c, "b", b"data").get("x-ms-encryption-scope") == name_of(mine)
    assert api("GET", f"/{c}/b").body == b"data"
    # what follows goes by the default as well
    assert api("PUT", f"/{c}/b?comp=metadata", {"x-ms-meta-a": "1"}).status == 200
    assert api("PUT", f"/{c}/a", {"x-ms-blob-type": "AppendBlob"}).get("x-ms-encryption-scope") == name_of(mine)
    assert api("PUT", f"/{c}/a?comp=appendblock", body=b"x").status == 201
    assert api("PUT", f"/{c}/l?comp=block&blockid={block_id(1)}", body=b"x").status == 201
    r = api("PUT", f"/{c}/l?comp=blocklist", body=block_list(("Latest", block_id(1))))
    assert r.status == 201 and r.get("x-ms-encryption-scope") == name_of(mine)
    # and can be overridden
    assert api.put_ok(c, "o", b"data", other).get("x-ms-encryption-scope") == name_of(other)
    assert api.put_ok(c, "n", b"data", {"x-ms-encryption-scope": NONE}).get("x-ms-encryption-scope") is None
    assert_error(api("PUT", f"/{c}/o?comp=metadata", {"x-ms-meta-a": "1"}), 409, MISMATCH)


def test_container_denies_others(api, make, scopes):
    mine, other = scopes
    c = make(default(name_of(mine), True))
    assert api("HEAD", f"/{c}?restype=container").get("x-ms-deny-encryption-scope-override") == "true"
    assert_error(api.put(c, "b", b"x", other), 403, POLICY)
    assert_error(api.put(c, "b", b"x", {"x-ms-encryption-scope": NONE}), 403, POLICY)
    assert_error(api("PUT", f"/{c}/a", {"x-ms-blob-type": "AppendBlob"} | other), 403, POLICY)
    assert_error(api("PUT", f"/{c}/b?comp=block&blockid={block_id(1)}", other, b"x"), 403, POLICY)
    raw = os.urandom(32)
    key = {"x-ms-encryption-key": base64.b64encode(raw).decode(), "x-ms-encryption-algorithm": "AES256",
           "x-ms-encryption-key-sha256": base64.b64encode(hashlib.sha256(raw).digest()).decode()}
    assert_error(api.put(c, "b", b"x", key), 403, POLICY)
    assert api.list(c).xml.find("Blobs/Blob") is None
    assert api.put_ok(c, "b", b"x", mine).get("x-ms-encryption-scope") == name_of(mine)
    assert api.put_ok(c, "c", b"x").get("x-ms-encryption-scope") == name_of(mine)


def test_another_name_keeps_the_default(api, make, scopes):
    c = make(default(name_of(scopes[0]), True))
    new = "c" + uuid.uuid4().hex
    assert api("PUT", f"/{new}?restype=container&comp=rename", {"x-ms-source-container-name": c}).status == 200
    r = api("HEAD", f"/{new}?restype=container")
    assert r.get("x-ms-default-encryption-scope") == name_of(scopes[0])
    assert r.get("x-ms-deny-encryption-scope-override") == "true"
    assert api("PUT", f"/{c}?restype=container&comp=rename", {"x-ms-source-container-name": new}).status == 200


def test_container_headers(api, scopes):
    c, name = "c" + uuid.uuid4().hex, name_of(scopes[0])
    make = f"/{c}?restype=container"
    assert_error(api("PUT", make, {"x-ms-default-encryption-scope": name}), 400, "MissingRequiredHeader")
    assert_error(api("PUT", make, {"x-ms-deny-encryption-scope-override": "true"}), 400, "MissingRequiredHeader")
    assert_error(api("PUT", make, default(name, "maybe")), 400, "InvalidHeaderValue")
    assert_error(api("PUT", make, default("no-such-scope", True)), 400, "InvalidHeaderValue")
    assert_error(api("PUT", make, default("Bad", True)), 400, "InvalidHeaderValue")
    assert_error(api("HEAD", make), 404, "ContainerNotFound", head=True)
    assert api("PUT", make, default(NONE, True)).status == 201
    assert api("HEAD", make).get("x-ms-default-encryption-scope") == NONE
    assert_error(api.put(c, "b", b"x", scopes[0]), 403, POLICY)
    assert api.put_ok(c, "b", b"x").get("x-ms-encryption-scope") is None
    assert api("DELETE", make).status == 202


# ---- shared access signatures


def test_token_with_a_scope(api, container, scopes):
    mine, other = scopes
    token = service_sas(container, sp="racwd", ses=name_of(mine))
    r = api("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob"}, b"data", sas=token)
    assert r.status == 201 and r.get("x-ms-encryption-scope") == name_of(mine)
    assert api("GET", f"/{container}/b", sas=token).body == b"data"
    r = api("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob"} | mine, b"data", sas=token)
    assert r.status == 201
    # "a mismatch … 400 (Bad Request)"
    assert_error(api("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob"} | other, b"x", sas=token), 400,
                 "InvalidHeaderValue", "ses")
    assert api("PUT", f"/{container}/b?comp=metadata", {"x-ms-meta-a": "1"}, sas=token).status == 200
    assert api("DELETE", f"/{container}/b", sas=token).status == 202


def test_the_tokens_scope_is_signed(api, container, scopes):
    token = service_sas(container, sp="racwd", ses=name_of(scopes[0])).replace(name_of(scopes[0]), name_of(scopes[1]))
    assert_error(api("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob"}, b"x", sas=token), 403,
                 "AuthenticationFailed")


def test_token_and_container(api, make, scopes):
    mine, other = scopes
    c = make(default(name_of(mine), True))
    token = account_sas(ses=name_of(other))
    assert_error(api("PUT", f"/{c}/b", {"x-ms-blob-type": "BlockBlob"}, b"x", sas=token), 403, POLICY)
    name = "c" + uuid.uuid4().hex
    assert_error(api("PUT", f"/{name}?restype=container", default(name_of(mine), True), sas=token), 403, POLICY)
    assert api("PUT", f"/{name}?restype=container", default(name_of(other), True), sas=token).status == 201
    assert api("DELETE", f"/{name}?restype=container").status == 202


# ---- the operator


def assert_closed(api, container, mine):
    code, path = "EncryptionScopeDisabled", f"/{container}/b"
    assert_error(api("GET", path), 403, code, name_of(mine))
    assert_error(api("HEAD", path), 403, code, head=True)
    assert_error(api("GET", path + "?comp=metadata"), 403, code)
    assert_error(api("PUT", path + "?comp=metadata", {"x-ms-meta-a": "1"} | mine), 403, code)
    assert_error(api("PUT", path + "?comp=snapshot", mine), 403, code)
    assert_error(api.put(container, "n", b"x", mine), 403, code)
    assert_error(api("PUT", f"/{container}/n", {"x-ms-blob-type": "AppendBlob"} | mine), 403, code)
    assert_error(api("PUT", f"/{container}/a?comp=appendblock", mine, b"x"), 403, code)
    assert_error(api("PUT", f"/{container}/p?comp=page", mine | {"x-ms-page-write": "clear",
                                                                 "x-ms-range": "bytes=0-511"}), 403, code)
    assert_error(api("PUT", f"/{container}/l?comp=blocklist", mine, block_list(("Latest", block_id(1)))), 403, code)
    source = f"http://127.0.0.1:{api.server.port}/{api.account}/{container}/b"
    r = api("PUT", f"/{container}/n", {"x-ms-copy-source": source, "x-ms-requires-sync": "true"})
    assert_error(r, 403, "CannotVerifyCopySource")
    assert_error(api("PUT", f"/{'c' + uuid.uuid4().hex}?restype=container", default(name_of(mine), False)), 403, code)
    assert api.list(container).xml.find("Blobs/Blob") is not None


def fill(api, container, mine, body):
    api.put_ok(container, "b", body, mine)
    for name, headers in (("a", {"x-ms-blob-type": "AppendBlob"}),
                          ("p", {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "512"})):
        assert api("PUT", f"/{container}/{name}", headers | mine).status == 201
    assert api("PUT", f"/{container}/l?comp=block&blockid={block_id(1)}", mine, body).status == 201


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_disabled(server, api, container, scopes, size):
    mine, body = scopes[0], os.urandom(size)
    fill(api, container, mine, body)
    api.put_ok(container, "plain", body)
    for _ in range(3):  # from memory, too
        assert api("GET", f"/{container}/b").body == body
    set_scope(server, "disable", name_of(mine))
    assert_closed(api, container, mine)
    assert api("GET", f"/{container}/plain").body == body
    set_scope(server, "enable", name_of(mine))
    assert api("GET", f"/{container}/b").body == body
    assert api("PUT", f"/{container}/l?comp=blocklist", mine, block_list(("Latest", block_id(1)))).status == 201
    set_scope(server, "disable", name_of(mine))
    assert api("DELETE", f"/{container}/b").status == 202


def test_destroyed(server, api, container, scopes):
    mine, body = scopes[0], os.urandom(100_000)
    fill(api, container, mine, body)
    r = operator(server, "destroy", name_of(mine))
    assert r.returncode == 2 and "--yes" in r.stderr
    assert api("GET", f"/{container}/b").body == body
    assert operator(server, "destroy", name_of(mine), "--yes").returncode == 0
    assert_closed(api, container, mine)
    r = operator(server, "enable", name_of(mine))
    assert r.returncode == 1 and "destroyed" in r.stderr
    assert_closed(api, container, mine)


def test_operator(server, scopes):
    name = name_of(scopes[0])
    listed = operator(server, "list").stdout.splitlines()
    assert any(line.split()[:2] == [name, "enabled"] for line in listed)
    set_scope(server, "disable", name)
    assert any(line.split()[:2] == [name, "disabled"] for line in operator(server, "list").stdout.splitlines())
    for command, scope, says in (("create", name, "already"), ("create", "Bad", "3 to 63"),
                                 ("enable", "no-such-scope", "has no encryption scope"),
                                 ("disable", "no-such-scope", "has no encryption scope")):
        r = operator(server, command, scope)
        assert r.returncode == 1 and says in r.stderr, (command, r.stderr)


def test_operator_makes_containers(server, api, scopes):
    mine, other = scopes
    name = "c" + uuid.uuid4().hex

    def container(*words):
        return subprocess.run([server.program, "container", *words, "--data", server.folder], text=True,
                              capture_output=True, timeout=wire.TIMEOUT_S)
    r = container("create", wire.ACCOUNT, name, "--scope-only")
    assert r.returncode == 1 and "needs a 'default_scope'" in r.stderr
    r = container("create", wire.ACCOUNT, name, "--scope", "no-such-scope")
    assert r.returncode == 1 and "no-such-scope" in r.stderr
    assert container("create", wire.ACCOUNT, name, "--scope", name_of(mine), "--scope-only").returncode == 0
    shown = container("show", wire.ACCOUNT, name).stdout
    assert f"scope default: {name_of(mine)}\n" in shown and "scope only: yes\n" in shown
    assert api.put_ok(name, "b", b"x").get("x-ms-encryption-scope") == name_of(mine)
    assert_error(api.put(name, "b", b"x", other), 403, POLICY)
    assert api("DELETE", f"/{name}?restype=container").status == 202
