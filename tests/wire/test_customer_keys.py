"""Customer-provided keys: what takes them, what each error is called, and that nothing opens without."""
import base64
import hashlib
import os
import pathlib

import pytest
import wire
from wire import assert_error, block_id, block_list

USES = "BlobUsesCustomerSpecifiedEncryption"
NOT = "BlobDoesNotUseCustomerSpecifiedEncryption"
MISMATCH = "BlobCustomerSpecifiedEncryptionMismatch"


def b64(data):
    return base64.b64encode(data).decode()


def key(seed):
    raw = hashlib.sha256(str(seed).encode()).digest()
    return {"x-ms-encryption-key": b64(raw), "x-ms-encryption-key-sha256": b64(hashlib.sha256(raw).digest()),
            "x-ms-encryption-algorithm": "AES256"}


MINE, OTHER = key("mine"), key("other")
SHA = MINE["x-ms-encryption-key-sha256"]


def without(headers, *names):
    return {n: v for n, v in headers.items() if n not in names}


READS = [("GET", ""), ("HEAD", ""), ("GET", "?comp=metadata"), ("HEAD", "?comp=metadata")]


@pytest.mark.parametrize("size", [0, 10, 100_000, 3 << 20])
def test_opens_with_its_key(api, container, size):
    body = os.urandom(size)
    r = api.put_ok(container, "b", body, MINE)
    assert r.get("x-ms-encryption-key-sha256") == SHA and r.get("x-ms-request-server-encrypted") == "true"
    for _ in range(3):
        r = api("GET", f"/{container}/b", MINE)
        assert r.status == 200 and r.body == body
        assert r.get("x-ms-encryption-key-sha256") == SHA and r.get("x-ms-server-encrypted") == "true"
        assert_error(api("GET", f"/{container}/b"), 409, USES, "x-ms-encryption-key")
        assert_error(api("GET", f"/{container}/b", OTHER), 409, MISMATCH)
    if size > 10:
        r = api("GET", f"/{container}/b", MINE | {"x-ms-range": "bytes=5-9"})
        assert r.status == 206 and r.body == body[5:10] and r.get("x-ms-encryption-key-sha256") == SHA


@pytest.mark.parametrize("method, query", READS)
def test_reads(api, container, method, query):
    api.put_ok(container, "b", b"data", MINE | {"x-ms-meta-a": "1"})
    api.put_ok(container, "plain", b"data")
    head = method == "HEAD"
    r = api(method, f"/{container}/b{query}", MINE)
    assert r.status == 200 and r.metadata == {"a": "1"}
    # "optional for read requests"
    assert api(method, f"/{container}/b{query}", without(MINE, "x-ms-encryption-algorithm")).status == 200
    assert_error(api(method, f"/{container}/b{query}"), 409, USES, head=head)
    assert_error(api(method, f"/{container}/b{query}", OTHER), 409, MISMATCH, head=head)
    assert_error(api(method, f"/{container}/plain{query}", MINE), 409, NOT, head=head)


def test_set_metadata(api, container):
    api.put_ok(container, "b", b"data", MINE | {"x-ms-meta-a": "1"})
    new = {"x-ms-meta-a": "2"}
    assert_error(api("PUT", f"/{container}/b?comp=metadata", new), 409, USES)
    assert_error(api("PUT", f"/{container}/b?comp=metadata", new | OTHER), 409, MISMATCH)
    assert api("HEAD", f"/{container}/b", MINE).metadata == {"a": "1"}
    r = api("PUT", f"/{container}/b?comp=metadata", new | MINE)
    assert r.status == 200 and r.get("x-ms-encryption-key-sha256") == SHA
    assert api("HEAD", f"/{container}/b", MINE).metadata == {"a": "2"}
    api.put_ok(container, "plain", b"data")
    assert_error(api("PUT", f"/{container}/plain?comp=metadata", new | MINE), 409, NOT)


def test_set_properties_needs_no_key(api, container):
    api.put_ok(container, "b", b"data", MINE)
    new = {"x-ms-blob-content-type": "a/b"}
    assert api("PUT", f"/{container}/b?comp=properties", new).status == 200
    assert api("PUT", f"/{container}/b?comp=properties", new | MINE).status == 200
    assert_error(api("PUT", f"/{container}/b?comp=properties", new | OTHER), 409, MISMATCH)
    assert api("GET", f"/{container}/b", MINE).get("content-type") == "a/b"


def test_put_replaces_the_key(api, container):
    api.put_ok(container, "b", b"old", MINE)
    api.put_ok(container, "b", b"new", OTHER)
    assert_error(api("GET", f"/{container}/b", MINE), 409, MISMATCH)
    assert api("GET", f"/{container}/b", OTHER).body == b"new"
    api.put_ok(container, "b", b"plain")
    r = api("GET", f"/{container}/b")
    assert r.body == b"plain" and r.get("x-ms-encryption-key-sha256") is None


def stage(api, container, n, body, headers=()):
    r = api("PUT", f"/{container}/b?comp=block&blockid={block_id(n)}", headers, body)
    assert r.status == 201, r
    return r


def commit(api, container, headers, *entries):
    return api("PUT", f"/{container}/b?comp=blocklist", headers, block_list(*entries))


def test_blocks(api, container):
    large = os.urandom(200_000)
    assert stage(api, container, 1, large, MINE).get("x-ms-encryption-key-sha256") == SHA
    stage(api, container, 2, b"two", MINE)
    both = [("Latest", block_id(1)), ("Latest", block_id(2))]
    assert_error(commit(api, container, {}, *both), 409, USES)
    assert_error(commit(api, container, OTHER, *both), 409, MISMATCH)
    r = commit(api, container, MINE, *both)
    assert r.status == 201 and r.get("x-ms-encryption-key-sha256") == SHA
    assert api("GET", f"/{container}/b", MINE).body == large + b"two"
    assert_error(api("GET", f"/{container}/b", OTHER), 409, MISMATCH)
    # not among the operations that take a key
    assert api("GET", f"/{container}/b?comp=blocklist").status == 200
    assert_error(commit(api, container, {}, ("Committed", block_id(1))), 409, USES)


def test_blocks_under_different_keys(api, container):
    stage(api, container, 1, b"one", MINE)
    stage(api, container, 2, b"two")
    both = [("Latest", block_id(1)), ("Latest", block_id(2))]
    assert_error(commit(api, container, MINE, *both), 409, NOT)
    assert not api.exists(container, "b")
    stage(api, container, 2, b"two", OTHER)
    assert_error(commit(api, container, MINE, *both), 409, MISMATCH)
    stage(api, container, 2, b"two", MINE)
    assert commit(api, container, MINE, *both).status == 201


@pytest.mark.parametrize("missing", sorted(MINE))
def test_incomplete_set(api, container, missing):
    assert_error(api.put(container, "b", b"x", without(MINE, missing)), 400, "MissingRequiredHeader", missing)
    assert not api.exists(container, "b")
    if missing != "x-ms-encryption-algorithm":
        api.put_ok(container, "b", b"x", MINE)
        assert_error(api("GET", f"/{container}/b", without(MINE, missing)), 400, "MissingRequiredHeader", missing)


@pytest.mark.parametrize("name, value", [
    ("x-ms-encryption-key", ""), ("x-ms-encryption-key", "AAAA"), ("x-ms-encryption-key", b64(bytes(31))),
    ("x-ms-encryption-key", b64(bytes(33))), ("x-ms-encryption-key", "*" * 44),
    ("x-ms-encryption-key", OTHER["x-ms-encryption-key"]),
    ("x-ms-encryption-key-sha256", "AAAA"), ("x-ms-encryption-key-sha256", OTHER["x-ms-encryption-key-sha256"]),
    ("x-ms-encryption-key-sha256", b64(bytes(32))),
    ("x-ms-encryption-algorithm", "AES128"), ("x-ms-encryption-algorithm", "None"), ("x-ms-encryption-algorithm", "")])
def test_malformed(api, container, name, value):
    api.put_ok(container, "there", b"x", MINE)
    r = assert_error(api.put(container, "b", b"x", MINE | {name: value}), 400, "InvalidHeaderValue", name)
    if name == "x-ms-encryption-key" and value:
        assert value not in r.text  # it may have been meant as a key
    assert not api.exists(container, "b")
    assert_error(api("GET", f"/{container}/there", MINE | {name: value}), 400, "InvalidHeaderValue", name)


@pytest.mark.parametrize("method, path, headers", [
    ("DELETE", "/b", {}), ("PUT", "/b?comp=tier", {"x-ms-access-tier": "Cool"}), ("GET", "/b?comp=tags", {}),
    ("GET", "/b?comp=blocklist", {}), ("PUT", "/b?comp=lease", {"x-ms-lease-action": "break"}),
    ("GET", "?restype=container&comp=list", {}), ("PUT", "?restype=container&comp=metadata", {})])
def test_operations_that_take_no_key(api, container, method, path, headers):
    api.put_ok(container, "b", b"data", MINE)
    assert_error(api(method, f"/{container}{path}", headers | MINE), 400, "UnsupportedHeader", "customer-provided key")
    assert api("GET", f"/{container}/b", MINE).body == b"data"


def test_what_needs_no_key(api, container):
    api.put_ok(container, "b", b"data", MINE | {"x-ms-tags": "a=1"})
    assert api("GET", f"/{container}/b?comp=tags").status == 200
    assert api("PUT", f"/{container}/b?comp=tier", {"x-ms-access-tier": "Cool"}).status == 200
    r = api("PUT", f"/{container}/b?comp=lease", {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"})
    assert r.status == 201
    assert api("DELETE", f"/{container}/b", {"x-ms-lease-id": r.get("x-ms-lease-id")}).status == 202


def test_snapshot(api, container):
    api.put_ok(container, "b", b"data", MINE)
    assert_error(api("PUT", f"/{container}/b?comp=snapshot"), 409, USES)
    assert_error(api("PUT", f"/{container}/b?comp=snapshot", OTHER), 409, MISMATCH)
    r = api("PUT", f"/{container}/b?comp=snapshot", MINE)
    assert r.status == 201 and r.get("x-ms-encryption-key-sha256") == SHA
    api.put_ok(container, "b", b"new", OTHER)
    at = f"/{container}/b?snapshot={r.get('x-ms-snapshot')}"
    assert api("GET", at, MINE).body == b"data"
    assert_error(api("GET", at), 409, USES)
    assert_error(api("GET", at, OTHER), 409, MISMATCH)
    assert api("DELETE", f"/{container}/b", {"x-ms-delete-snapshots": "include"}).status == 202


def test_append_blob(api, container):
    new = {"x-ms-blob-type": "AppendBlob"}
    assert api("PUT", f"/{container}/b", new | MINE).get("x-ms-encryption-key-sha256") == SHA
    at, large = f"/{container}/b?comp=appendblock", os.urandom(100_000)
    for body in b"one", large:
        r = api("PUT", at, MINE, body)
        assert r.status == 201 and r.get("x-ms-encryption-key-sha256") == SHA
    assert_error(api("PUT", at, {}, b"x"), 409, USES)
    assert_error(api("PUT", at, OTHER, b"x"), 409, MISMATCH)
    assert api("GET", f"/{container}/b", MINE).body == b"one" + large
    assert_error(api("GET", f"/{container}/b"), 409, USES)
    assert api("PUT", f"/{container}/plain", new).status == 201
    assert_error(api("PUT", f"/{container}/plain?comp=appendblock", MINE, b"x"), 409, NOT)


def test_page_blob(api, container):
    new = {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "4096"}
    assert api("PUT", f"/{container}/b", new | MINE).get("x-ms-encryption-key-sha256") == SHA
    at, page = f"/{container}/b?comp=page", os.urandom(512)
    update = {"x-ms-page-write": "update", "x-ms-range": "bytes=512-1023"}
    clear = {"x-ms-page-write": "clear", "x-ms-range": "bytes=512-1023"}
    r = api("PUT", at, update | MINE, page)
    assert r.status == 201 and r.get("x-ms-encryption-key-sha256") == SHA
    for asks, body in (update, page), (clear, b""):
        assert_error(api("PUT", at, asks, body), 409, USES)
        assert_error(api("PUT", at, asks | OTHER, body), 409, MISMATCH)
    assert api("GET", f"/{container}/b", MINE).body == bytes(512) + page + bytes(3072)
    assert_error(api("GET", f"/{container}/b", OTHER), 409, MISMATCH)
    assert api("PUT", at, clear | MINE).status == 201
    assert api("GET", f"/{container}/b", MINE).body == bytes(4096)
    assert api("PUT", f"/{container}/plain", new).status == 201
    assert_error(api("PUT", f"/{container}/plain?comp=page", update | MINE, page), 409, NOT)


SOURCE = {n.replace("x-ms-", "x-ms-source-", 1): v for n, v in MINE.items()}


@pytest.mark.parametrize("sync", [{}, {"x-ms-requires-sync": "true"}])
def test_copies_of_a_blob_make_no_blob_under_a_key(api, container, sync):
    api.put_ok(container, "plain", b"plain")
    base = f"http://127.0.0.1:{api.server.port}/{api.account}/{container}"
    r = api("PUT", f"/{container}/to", sync | MINE | {"x-ms-copy-source": base + "/plain"})
    assert_error(r, 400, "UnsupportedHeader", "customer-provided key")


def test_a_pending_copy_keeps_no_key(api, container):
    api.put_ok(container, "b", b"data", MINE)
    base = f"http://127.0.0.1:{api.server.port}/{api.account}/{container}"
    r = api("PUT", f"/{container}/to", SOURCE | {"x-ms-copy-source": base + "/b"})
    assert_error(r, 400, "UnsupportedHeader", "not kept")


@pytest.mark.parametrize("sync", [{"x-ms-requires-sync": "true"}, {"x-ms-blob-type": "BlockBlob"}])
def test_key_of_a_source(api, container, sync):
    api.put_ok(container, "b", b"data", MINE)
    copy = sync | {"x-ms-copy-source": f"http://127.0.0.1:{api.server.port}/{api.account}/{container}/b"}
    assert_error(api("PUT", f"/{container}/to", copy), 409, "CannotVerifyCopySource", "x-ms-source-encryption-key")
    wrong = {n.replace("x-ms-", "x-ms-source-", 1): v for n, v in OTHER.items()}
    assert_error(api("PUT", f"/{container}/to", copy | wrong), 409, "CannotVerifyCopySource")
    part = SOURCE | {"x-ms-source-encryption-key-sha256": SHA[::-1]}
    assert_error(api("PUT", f"/{container}/to", copy | part), 400, "CannotVerifyCopySource")
    assert not api.exists(container, "to")
    r = api("PUT", f"/{container}/to", copy | SOURCE)
    assert r.status in (201, 202) and r.get("x-ms-encryption-key-sha256") is None, r
    assert api("GET", f"/{container}/to").body == b"data"


def test_from_one_key_to_another(api, container):
    api.put_ok(container, "b", b"data", MINE)
    copy = SOURCE | OTHER | {"x-ms-copy-source": f"http://127.0.0.1:{api.server.port}/{api.account}/{container}/b"}
    r = api("PUT", f"/{container}/to", copy | {"x-ms-blob-type": "BlockBlob"})
    assert r.status == 201 and r.get("x-ms-encryption-key-sha256") == OTHER["x-ms-encryption-key-sha256"], r
    assert api("GET", f"/{container}/to", OTHER).body == b"data"
    assert_error(api("GET", f"/{container}/to", MINE), 409, MISMATCH)
    assert api("PUT", f"/{container}/to?comp=block&blockid=AAAA", copy).status == 201
    assert api("PUT", f"/{container}/to?comp=blocklist", OTHER, b"<BlockList><Latest>AAAA</Latest></BlockList>").status == 201
    assert api("GET", f"/{container}/to", OTHER).body == b"data"


@pytest.mark.parametrize("sync", [{}, {"x-ms-requires-sync": "true"}, {"x-ms-blob-type": "BlockBlob"}])
def test_a_copy_replaces_what_is_under_a_key(api, container, sync):
    api.put_ok(container, "b", b"data", MINE)
    api.put_ok(container, "plain", b"plain")
    base = f"http://127.0.0.1:{api.server.port}/{api.account}/{container}"
    r = api("PUT", f"/{container}/b", sync | {"x-ms-copy-source": base + "/plain"})
    assert r.status in (201, 202), r
    assert api("GET", f"/{container}/b").body == b"plain"


def test_listing(api, container):
    api.put_ok(container, "a", b"data", MINE | {"x-ms-meta-secret": "1"})
    api.put_ok(container, "b", b"data", {"x-ms-meta-plain": "1"})
    r = api.list(container, "&include=metadata")
    a, b = r.xml.iterfind("Blobs/Blob")
    assert a.findtext("Properties/CustomerProvidedKeySha256") == SHA
    assert a.find("Metadata").get("Encrypted") == "true" and not list(a.find("Metadata"))
    assert b.find("Properties/CustomerProvidedKeySha256") is None
    assert b.findtext("Metadata/plain") == "1"


def test_conditions_go_first(api, container):
    etag = api.put_ok(container, "b", b"data", MINE).get("etag")
    assert_error(api("GET", f"/{container}/b", {"If-Match": '"0x1"'}), 412, "ConditionNotMet")
    assert api("GET", f"/{container}/b", {"If-None-Match": etag} | MINE).status == 304


def test_over_http_in_production(production):
    """The key would be anybody's who listens."""
    api = wire.Api(production)
    try:
        name = api.create_container()
        assert_error(api.put(name, "b", b"x", MINE), 400, "UnsupportedHeader", "https")
        assert not api.exists(name, "b")
        api("DELETE", f"/{name}?restype=container")
    finally:
        api.close()


def test_key_stays_out_of_log_and_folder(api, container, server):
    """Neither as it is sent nor as bytes; not even when the request fails in its every way."""
    raw = base64.b64decode(MINE["x-ms-encryption-key"])
    api.put_ok(container, "b", b"data", MINE)
    api("GET", f"/{container}/b", MINE)
    api("GET", f"/{container}/b", MINE, key=OTHER["x-ms-encryption-key"])
    api.put(container, "b", b"x", MINE | {"x-ms-encryption-key-sha256": b64(bytes(32))})
    text = "".join(server.output)
    assert MINE["x-ms-encryption-key"] not in text and raw.hex() not in text
    for path in pathlib.Path(server.folder).rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            assert raw not in held and MINE["x-ms-encryption-key"].encode() not in held, path
