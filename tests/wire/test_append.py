"""Append blobs: creation, Append Block and its conditions, Append Blob Seal, what other operations say of them."""
import threading

import pytest
import wire
from wire import assert_error, block_id, block_list, crc64, md5


def create(api, container, blob="a", headers=(), body=b"", **how):
    return api("PUT", f"/{container}/{blob}", {"x-ms-blob-type": "AppendBlob"} | dict(headers), body, **how)


def append(api, container, body, headers=(), blob="a", **how):
    return api("PUT", f"/{container}/{blob}?comp=appendblock", headers, body, **how)


def seal(api, container, headers=(), blob="a"):
    return api("PUT", f"/{container}/{blob}?comp=seal", headers)


@pytest.fixture
def log(api, container):
    r = create(api, container)
    assert r.status == 201 and r.get("etag") and r.get("last-modified"), r
    return container


def test_append_and_read(api, log):
    for n, body in enumerate([b"one", b"two2", b"x" * 70000]):
        r = append(api, log, body)
        assert r.status == 201, r
        assert r.get("x-ms-blob-append-offset") == str([0, 3, 7][n])
        assert r.get("x-ms-blob-committed-block-count") == str(n + 1)
        assert r.get("x-ms-content-crc64") == crc64(body) and r.get("content-md5") is None
        assert r.get("x-ms-request-server-encrypted") == "true"
    whole = b"onetwo2" + b"x" * 70000
    g = api("GET", f"/{log}/a")
    assert g.body == whole and g.get("etag") == r.get("etag") and g.get("last-modified") == r.get("last-modified")
    assert g.get("x-ms-blob-type") == "AppendBlob" and g.get("x-ms-blob-committed-block-count") == "3"
    assert api("GET", f"/{log}/a", {"x-ms-range": "bytes=2-9"}).body == whole[2:10]
    h = api("HEAD", f"/{log}/a")
    assert h.get("content-length") == str(len(whole)) and h.get("x-ms-access-tier") is None
    assert h.get("x-ms-blob-sealed") == "false" and h.get("x-ms-blob-committed-block-count") == "3"


def test_create_keeps_properties_and_md5(api, container):
    r = create(api, container, headers={"x-ms-blob-content-type": "text/log", "x-ms-meta-k": "v",
                                        "x-ms-blob-content-md5": md5(b"later")})
    assert r.status == 201
    append(api, container, b"x")
    h = api("HEAD", f"/{container}/a")
    assert h.get("content-type") == "text/log" and h.metadata == {"k": "v"} and h.get("content-md5") == md5(b"later")


def test_create_refuses(api, container):
    assert_error(create(api, container, body=b"x"), 400, "InvalidHeaderValue", "Content-Length must be 0")
    assert_error(create(api, container, headers={"x-ms-access-tier": "Cool"}), 400, "AccessTierNotSupportedForBlobType")
    assert not api.exists(container, "a")


def test_create_again_empties(api, log):
    append(api, log, b"old")
    assert create(api, log).status == 201
    assert api("GET", f"/{log}/a").body == b""
    assert append(api, log, b"new").get("x-ms-blob-committed-block-count") == "1"
    assert_error(create(api, log, headers={"If-None-Match": "*"}), 409, "BlobAlreadyExists")
    assert api("GET", f"/{log}/a").body == b"new"


def test_append_refuses(api, log):
    assert_error(append(api, log, b""), 400, "InvalidHeaderValue", "at least one byte")
    assert_error(append(api, log, b"x", blob="missing"), 404, "BlobNotFound")
    assert_error(append(api, "nothere", b"x"), 404, "ContainerNotFound")
    assert_error(append(api, log, b"x", {"Content-MD5": md5(b"y")}), 400, "Md5Mismatch")
    assert_error(append(api, log, b"x", {"Content-MD5": "short"}), 400, "InvalidMd5")
    assert_error(append(api, log, b"x", {"x-ms-content-crc64": crc64(b"y")}), 400, "Crc64Mismatch")
    assert_error(append(api, log, b"x", {"If-Match": '"0x1"'}), 412, "ConditionNotMet")
    assert_error(append(api, log, b"x", {"x-ms-lease-id": "0a0a0a0a-0000-0000-0000-000000000000"}), 412,
                 "LeaseNotPresentWithBlobOperation")
    for name in "appendpos", "maxsize":
        for value in "-1", "x", "", "18446744073709551615":
            assert_error(append(api, log, b"x", {f"x-ms-blob-condition-{name}": value}), 400, "InvalidHeaderValue", name)
    assert api("HEAD", f"/{log}/a").get("content-length") == "0"


def test_checksums_are_answered(api, log):
    assert append(api, log, b"x", {"Content-MD5": md5(b"x")}).get("content-md5") == md5(b"x")
    assert append(api, log, b"x", {"x-ms-content-crc64": crc64(b"x")}).get("x-ms-content-crc64") == crc64(b"x")


def test_position(api, log):
    position = "x-ms-blob-condition-appendpos"
    assert append(api, log, b"abc", {position: "0"}).status == 201
    assert_error(append(api, log, b"d", {position: "0"}), 412, "AppendPositionConditionNotMet", "3 bytes")
    assert_error(append(api, log, b"d", {position: "4"}), 412, "AppendPositionConditionNotMet")
    assert append(api, log, b"d", {position: "3"}).status == 201
    assert api("GET", f"/{log}/a").body == b"abcd"


def test_largest_size(api, log):
    size = "x-ms-blob-condition-maxsize"
    assert append(api, log, b"abc", {size: "3"}).status == 201
    assert_error(append(api, log, b"d", {size: "3"}), 412, "MaxBlobSizeConditionNotMet", "4 bytes")
    assert_error(append(api, log, b"d", {size: "2"}), 412, "MaxBlobSizeConditionNotMet")
    assert api("GET", f"/{log}/a").body == b"abc"


def test_conditions(api, log):
    etag = api("HEAD", f"/{log}/a").get("etag")
    assert append(api, log, b"1", {"If-Match": etag}).status == 201
    assert_error(append(api, log, b"2", {"If-Match": etag}), 412, "ConditionNotMet")
    assert_error(append(api, log, b"2", {"If-None-Match": "*"}), 412, "ConditionNotMet")
    assert append(api, log, b"3", {"If-None-Match": etag}).status == 201
    assert_error(append(api, log, b"4", {"If-Modified-Since": wire.http_date(60)}), 412, "ConditionNotMet")
    assert_error(append(api, log, b"4", {"If-Unmodified-Since": wire.http_date(-60)}), 412, "ConditionNotMet")
    assert api("GET", f"/{log}/a").body == b"13"


@pytest.mark.parametrize("version, size, fits", [("2022-11-02", 5 << 20, True), ("2021-12-02", 4 << 20, True),
                                                 ("2021-12-02", (4 << 20) + 1, False)])
def test_block_size_by_version(api, log, version, size, fits):
    r = append(api, log, b"z" * size, version=version)
    if fits:
        assert r.status == 201, r
    else:
        assert_error(r, 413, "RequestBodyTooLarge")
    api.close()


def test_more_than_100_mib(api, log):
    assert_error(append(api, log, b"", {"Content-Length": str((100 << 20) + 1)}), 413, "RequestBodyTooLarge")
    api.close()


@pytest.mark.parametrize("request_of", ["block", "list", "blocks"])
def test_block_operations_refuse_append_blobs(api, log, request_of):
    append(api, log, b"kept")
    r = {"block": lambda: api("PUT", f"/{log}/a?comp=block&blockid={block_id(1)}", body=b"x"),
         "list": lambda: api("PUT", f"/{log}/a?comp=blocklist", body=block_list()),
         "blocks": lambda: api("GET", f"/{log}/a?comp=blocklist")}[request_of]()
    assert_error(r, 409, "InvalidBlobType", "append blob")
    assert api("GET", f"/{log}/a").body == b"kept"


def test_append_operations_refuse_block_blobs(api, container):
    api.put_ok(container, "a", b"block")
    assert_error(append(api, container, b"x"), 409, "InvalidBlobType", "block blob")
    assert_error(seal(api, container), 409, "InvalidBlobType")
    assert api("GET", f"/{container}/a").body == b"block"


def test_types_replace_one_another(api, log):
    append(api, log, b"x")
    api.put_ok(log, "a", b"whole")
    assert api("GET", f"/{log}/a").get("x-ms-blob-type") == "BlockBlob"
    assert create(api, log).status == 201
    assert api("HEAD", f"/{log}/a").get("x-ms-blob-type") == "AppendBlob"


def test_seal(api, log):
    append(api, log, b"all")
    before = api("HEAD", f"/{log}/a")
    r = seal(api, log)
    assert r.status == 200 and r.get("x-ms-blob-sealed") == "true" and r.get("etag") == before.get("etag")
    assert seal(api, log).status == 200
    assert_error(append(api, log, b"more"), 409, "BlobIsSealed")
    assert_error(create(api, log), 409, "BlobIsSealed")
    assert_error(api.put(log, "a", b"other"), 409, "BlobIsSealed")
    g = api("GET", f"/{log}/a")
    assert g.body == b"all" and g.get("x-ms-blob-sealed") == "true"
    assert api("HEAD", f"/{log}/a").get("x-ms-blob-sealed") == "true"
    assert api("PUT", f"/{log}/a?comp=metadata", {"x-ms-meta-k": "v"}).status == 200
    assert api("HEAD", f"/{log}/a").get("x-ms-blob-sealed") == "true"
    assert api("DELETE", f"/{log}/a").status == 202
    assert create(api, log).status == 201
    assert append(api, log, b"again").status == 201


def test_seal_conditions(api, log):
    append(api, log, b"abc")
    assert_error(seal(api, log, {"x-ms-blob-condition-appendpos": "2"}), 412, "AppendPositionConditionNotMet")
    assert_error(seal(api, log, {"If-Match": '"0x1"'}), 412, "ConditionNotMet")
    assert_error(seal(api, log, blob="missing"), 404, "BlobNotFound")
    assert append(api, log, b"d").status == 201
    assert seal(api, log, {"x-ms-blob-condition-appendpos": "4"}).status == 200


def test_listing(api, log):
    append(api, log, b"12345")
    api.put_ok(log, "b", b"block")
    create(api, log, "c")
    seal(api, log, blob="c")
    entries = {b.findtext("Name"): b.find("Properties") for b in api.list(log).xml.iter("Blob")}
    assert {n: p.findtext("BlobType") for n, p in entries.items()} == {"a": "AppendBlob", "b": "BlockBlob", "c": "AppendBlob"}
    assert entries["a"].findtext("Content-Length") == "5" and entries["a"].findtext("AccessTier") is None
    assert entries["a"].findtext("Content-CRC64") == crc64(b"12345")
    assert {n: p.findtext("Sealed") for n, p in entries.items()} == {"a": None, "b": None, "c": "true"}


def test_permissions(api, log):
    sas = {letter: wire.service_sas(log, sp=letter) for letter in "racwd"}
    for letter in "aw":
        assert append(api, log, b"x", sas=sas[letter]).status == 201
    for letter in "rcd":
        assert_error(append(api, log, b"x", sas=sas[letter]), 403, "AuthorizationPermissionMismatch")
    assert_error(create(api, log, sas=sas["a"]), 403, "AuthorizationPermissionMismatch")
    assert_error(create(api, log, sas=sas["c"]), 403, "UnauthorizedBlobOverwrite")
    assert create(api, log, "new", sas=sas["c"]).status == 201
    for letter in "rac":
        assert_error(api("PUT", f"/{log}/a?comp=seal", sas=sas[letter]), 403, "AuthorizationPermissionMismatch")
    assert api("PUT", f"/{log}/a?comp=seal", sas=sas["w"]).status == 200


def test_clients_append_at_once(server, api, log):
    """All blocks are there once, whole, in the order of their offsets; readers see whole prefixes."""
    offsets, stop, wrong = {}, threading.Event(), []

    def writer(n):
        mine = wire.Api(server)
        for i in range(20):
            body = b"%d:%02d;" % (n, i) * (1 + n)
            r = append(mine, log, body)
            if r.status != 201:
                wrong.append(r)
            else:
                offsets[int(r.get("x-ms-blob-append-offset"))] = body
        mine.close()

    def reader():
        mine, last = wire.Api(server), b""
        while not stop.is_set():
            r = mine("GET", f"/{log}/a")
            if not r.body.startswith(last) or (r.body and not r.body.endswith(b";")):
                wrong.append(r)
            last = r.body
        mine.close()

    reading = threading.Thread(target=reader)
    writing = [threading.Thread(target=writer, args=(n,)) for n in range(6)]
    for t in [reading, *writing]:
        t.start()
    for t in writing:
        t.join()
    stop.set()
    reading.join()
    assert not wrong
    whole = api("GET", f"/{log}/a").body
    assert len(offsets) == 120 and whole == b"".join(offsets[at] for at in sorted(offsets))


def test_a_position_is_won_once(server, api, log):
    outcome = []

    def race(n):
        mine = wire.Api(server)
        outcome.append(append(mine, log, b"%d" % n, {"x-ms-blob-condition-appendpos": "0"}).status)
        mine.close()

    racing = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for t in racing:
        t.start()
    for t in racing:
        t.join()
    assert sorted(outcome) == [201] + [412] * 7


def test_a_snapshot_is_a_prefix(api, log):
    append(api, log, b"one")
    moment = api("PUT", f"/{log}/a?comp=snapshot").get("x-ms-snapshot")
    append(api, log, b"two")
    r = api("GET", f"/{log}/a?snapshot={moment}")
    assert r.body == b"one" and r.get("x-ms-blob-committed-block-count") == "1"
    assert api("GET", f"/{log}/a").body == b"onetwo"
    assert api("DELETE", f"/{log}/a", {"x-ms-delete-snapshots": "include"}).status == 202
