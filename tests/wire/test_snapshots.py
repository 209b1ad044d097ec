"""Snapshot Blob, and reading, listing and deleting snapshots."""
import re
from urllib.parse import quote

import pytest
from wire import account_sas, assert_error, block_id, block_list, http_date, service_sas

MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$")


def snapshot(api, container, blob, headers=()):
    r = api("PUT", f"/{container}/{blob}?comp=snapshot", headers)
    assert r.status == 201, r
    return r.get("x-ms-snapshot")


def at(container, blob, moment, more=""):
    return f"/{container}/{blob}?snapshot={quote(moment)}{more}"


def entries(r):
    return [(b.findtext("Name"), b.findtext("Snapshot")) for b in r.xml.iter("Blob")]


def test_a_snapshot_keeps_the_state(api, container):
    put = api.put_ok(container, "b", b"one", {"x-ms-meta-a": "1", "x-ms-blob-content-type": "text/x"})
    r = api("PUT", f"/{container}/b?comp=snapshot")
    assert r.status == 201 and MOMENT.match(r.get("x-ms-snapshot")) and r.body == b""
    assert r.get("etag") == put.get("etag") and r.get("last-modified") == put.get("last-modified")
    assert r.get("x-ms-request-server-encrypted") == "true" and r.get("x-ms-version-id") is None
    moment = r.get("x-ms-snapshot")
    api.put_ok(container, "b", b"other")
    r = api("GET", at(container, "b", moment))
    assert r.status == 200 and r.body == b"one" and r.metadata == {"a": "1"}
    assert r.get("content-type") == "text/x" and r.get("etag") == put.get("etag")
    assert r.get("x-ms-lease-state") is None  # a snapshot cannot have one
    assert api("GET", f"/{container}/b").body == b"other"
    assert api("HEAD", at(container, "b", moment)).get("content-length") == "3"
    assert api("GET", at(container, "b", moment, "&comp=metadata")).metadata == {"a": "1"}
    assert api("GET", at(container, "b", moment), {"x-ms-range": "bytes=1-1"}).body == b"n"


def test_metadata_of_its_own(api, container):
    put = api.put_ok(container, "b", b"one", {"x-ms-meta-a": "1"})
    r = api("PUT", f"/{container}/b?comp=snapshot", {"x-ms-meta-b": "2"})
    assert r.status == 201 and r.get("etag") != put.get("etag")
    assert api("HEAD", at(container, "b", r.get("x-ms-snapshot"))).metadata == {"b": "2"}
    assert api("HEAD", f"/{container}/b").metadata == {"a": "1"}
    assert api("HEAD", f"/{container}/b").get("etag") == put.get("etag")


def test_large_and_block_content(api, container):
    big = bytes(range(256)) * 1000
    api.put_ok(container, "big", big)
    moment = snapshot(api, container, "big")
    api.put_ok(container, "big", b"small")
    assert api("GET", at(container, "big", moment)).body == big
    for n in 1, 2, 3:
        assert api("PUT", f"/{container}/list?comp=block&blockid={quote(block_id(n))}", body=b"%d" % n * 70000).status == 201
    ids = [block_id(n) for n in (1, 2, 3)]
    assert api("PUT", f"/{container}/list?comp=blocklist", body=block_list(*(("Latest", i) for i in ids))).status == 201
    moment = snapshot(api, container, "list")
    assert api("PUT", f"/{container}/list?comp=blocklist", body=block_list(("Committed", ids[1]))).status == 201
    assert api("GET", f"/{container}/list").body == b"2" * 70000
    assert api("GET", at(container, "list", moment)).body == b"1" * 70000 + b"2" * 70000 + b"3" * 70000
    r = api("GET", at(container, "list", moment, "&comp=blocklist&blocklisttype=all"))
    assert [b.text for b in r.xml.iter("Name")] == ids and r.get("x-ms-blob-content-length") == "210000"
    assert api("DELETE", f"/{container}/list", {"x-ms-delete-snapshots": "include"}).status == 202
    assert_error(api("GET", at(container, "list", moment)), 404, "BlobNotFound")


def test_no_such_snapshot(api, container):
    api.put_ok(container, "b", b"x")
    for how in "GET", "HEAD", "DELETE":
        assert_error(api(how, at(container, "b", "2026-01-01T00:00:00.0000000Z")), 404, "BlobNotFound", head=how == "HEAD")
    assert_error(api("PUT", f"/{container}/none?comp=snapshot"), 404, "BlobNotFound")
    assert_error(api("PUT", f"/{container}x/b?comp=snapshot"), 404, "ContainerNotFound")


@pytest.mark.parametrize("moment", ["x", "2026-01-01", "2026-01-01T00:00:00Z", "2026-13-01T00:00:00.0000000Z",
                                    "2026-01-01T00:00:00.000000xZ", "1960-01-01T00:00:00.0000000Z"])
def test_malformed(api, container, moment):
    assert_error(api("GET", at(container, "b", moment)), 400, "InvalidQueryParameterValue")
    assert_error(api("GET", f"/{container}/b?versionid={quote(moment)}"), 400, "InvalidQueryParameterValue")


def test_not_with_a_version(api, container):
    moment = "2026-01-01T00:00:00.0000000Z"
    assert_error(api("GET", f"/{container}/b?snapshot={moment}&versionid={moment}"), 400, "MutuallyExclusiveQueryParameters")


@pytest.mark.parametrize("what", ["comp=metadata", "comp=properties", "comp=blocklist", "comp=block&blockid=QQ==", "", "comp=snapshot"])
def test_a_snapshot_is_read_only(api, container, what):
    api.put_ok(container, "b", b"x")
    moment = snapshot(api, container, "b")
    r = api("PUT", at(container, "b", moment, "&" + what if what else ""), {"x-ms-blob-type": "BlockBlob"}, body=b"y" if not what else b"")
    assert_error(r, 400, "InvalidOperation")
    assert api("GET", at(container, "b", moment)).body == b"x"


def test_conditions_of_taking_one(api, container):
    tag = api.put_ok(container, "b", b"x").get("etag")
    for headers in {"If-Match": '"0x1"'}, {"If-None-Match": tag}, {"If-Unmodified-Since": http_date(-3600)}, \
            {"If-Modified-Since": http_date(3600)}:
        assert_error(api("PUT", f"/{container}/b?comp=snapshot", headers), 412, "ConditionNotMet")
    assert entries(api.list(container, "&include=snapshots")) == [("b", None)]
    assert snapshot(api, container, "b", {"If-Match": tag})


def test_conditions_of_reading_one(api, container):
    tag = api.put_ok(container, "b", b"x").get("etag")
    moment = snapshot(api, container, "b")
    other = api.put_ok(container, "b", b"y").get("etag")
    assert api("GET", at(container, "b", moment), {"If-Match": tag}).status == 200
    assert_error(api("GET", at(container, "b", moment), {"If-Match": other}), 412, "ConditionNotMet")
    assert api("GET", at(container, "b", moment), {"If-None-Match": tag}).status == 304


def test_a_lease_does_not_keep_from_taking_one(api, container):
    api.put_ok(container, "b", b"x")
    lease = api("PUT", f"/{container}/b?comp=lease", {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"})
    ident = lease.get("x-ms-lease-id")
    assert snapshot(api, container, "b") and snapshot(api, container, "b", {"x-ms-lease-id": ident})
    r = api("PUT", f"/{container}/b?comp=snapshot", {"x-ms-lease-id": "11111111-2222-3333-4444-555555555555"})
    assert_error(r, 412, "LeaseIdMismatchWithBlobOperation")
    api("PUT", f"/{container}/b?comp=lease", {"x-ms-lease-action": "release", "x-ms-lease-id": ident})
    assert_error(api("PUT", f"/{container}/b?comp=snapshot", {"x-ms-lease-id": ident}), 412, "LeaseNotPresentWithBlobOperation")


def test_delete_one(api, container):
    api.put_ok(container, "b", b"x")
    one, two = snapshot(api, container, "b"), snapshot(api, container, "b")
    r = api("DELETE", at(container, "b", one))
    assert r.status == 202 and r.get("x-ms-delete-type-permanent") == "true"
    assert_error(api("GET", at(container, "b", one)), 404, "BlobNotFound")
    assert api("GET", at(container, "b", two)).body == b"x" and api("GET", f"/{container}/b").body == b"x"


def test_a_blob_with_snapshots_is_not_deleted_alone(api, container):
    api.put_ok(container, "b", b"x")
    moment = snapshot(api, container, "b")
    assert_error(api("DELETE", f"/{container}/b"), 409, "SnapshotsPresent")
    assert api("GET", f"/{container}/b").status == 200
    assert api("DELETE", f"/{container}/b", {"x-ms-delete-snapshots": "only"}).status == 202
    assert_error(api("GET", at(container, "b", moment)), 404, "BlobNotFound")
    assert api("GET", f"/{container}/b").status == 200
    moment = snapshot(api, container, "b")
    assert api("DELETE", f"/{container}/b", {"x-ms-delete-snapshots": "include"}).status == 202
    assert not api.exists(container, "b")
    assert_error(api("GET", at(container, "b", moment)), 404, "BlobNotFound")
    api.put_ok(container, "b", b"again")  # and nothing of it comes back
    assert entries(api.list(container, "&include=snapshots")) == [("b", None)]


def test_delete_snapshots_header(api, container):
    api.put_ok(container, "b", b"x")
    moment = snapshot(api, container, "b")
    assert_error(api("DELETE", f"/{container}/b", {"x-ms-delete-snapshots": "all"}), 400, "InvalidHeaderValue")
    assert_error(api("DELETE", at(container, "b", moment), {"x-ms-delete-snapshots": "include"}), 400, "InvalidOperation")
    assert_error(api("DELETE", f"/{container}/b?versionid={quote(moment)}", {"x-ms-delete-snapshots": "only"}), 400,
                 "InvalidQueryParameterValue")
    assert_error(api("DELETE", f"/{container}/none", {"x-ms-delete-snapshots": "only"}), 404, "BlobNotFound")


def test_listing(api, container):
    for name in "a", "b/c", "b/d", "e":
        api.put_ok(container, name, b"x", {"x-ms-meta-of": "n"})
    first, second = snapshot(api, container, "b/c"), snapshot(api, container, "b/c", {"x-ms-meta-own": "s"})
    assert entries(api.list(container)) == [(n, None) for n in ("a", "b/c", "b/d", "e")]
    r = api.list(container, "&include=snapshots,metadata")
    assert entries(r) == [("a", None), ("b/c", first), ("b/c", second), ("b/c", None), ("b/d", None), ("e", None)]
    owners = [[m.tag for m in b.find("Metadata")] for b in r.xml.iter("Blob")]
    assert owners == [["of"], ["of"], ["own"], ["of"], ["of"], ["of"]]
    states = [b.find("Properties/LeaseState") is not None for b in r.xml.iter("Blob")]
    assert states == [True, False, False, True, True, True]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_listing_in_pages(api, container, size):
    names = ["a", "b", "b/1", "c"]
    for name in names:
        api.put_ok(container, name, b"x")
    moments = {n: [snapshot(api, container, n) for _ in range(3)] for n in names[:3]}
    whole = entries(api.list(container, "&include=snapshots"))
    assert whole == [(n, m) for n in names for m in moments.get(n, []) + [None]]
    found, marker = [], ""
    while True:
        r = api.list(container, f"&include=snapshots&maxresults={size}{marker}")
        page = entries(r)
        assert len(page) <= size
        found += page
        if not r.xml.findtext("NextMarker"):
            break
        marker = "&marker=" + quote(r.xml.findtext("NextMarker"))
    assert found == whole


def test_listing_by_hierarchy(api, container):
    for name in "a/1", "a/2", "b":
        api.put_ok(container, name, b"x")
        snapshot(api, container, name)
    r = api.list(container, "&include=snapshots&delimiter=/")
    assert [p.findtext("Name") for p in r.xml.iter("BlobPrefix")] == ["a/"]
    assert [n for n, _ in entries(r)] == ["b", "b"]


def test_who_may(api, container):
    api.put_ok(container, "b", b"x")
    for letters, status in ("c", 201), ("w", 201), ("r", 403), ("d", 403):
        r = api("PUT", f"/{container}/b?comp=snapshot", sas=account_sas(sp=letters))
        assert r.status == status, (letters, r)
        r = api("PUT", f"/{container}/b?comp=snapshot", sas=service_sas(container, "b", sp=letters))
        assert r.status == status, (letters, r)
    assert_error(api("PUT", f"/{container}/b?comp=snapshot", sign=False), 401, "NoAuthenticationInformation")


def test_signature_for_one_snapshot(api, container):
    api.put_ok(container, "b", b"x")
    one, two = snapshot(api, container, "b"), snapshot(api, container, "b")
    token = service_sas(container, "b", sr="bs", snapshot=one, sp="rd")
    assert api("GET", f"/{container}/b", sas=token).body == b"x"  # the token says which
    assert api("HEAD", f"/{container}/b", sas=token).status == 200
    assert_error(api("GET", f"/{container}/b", sas=token.replace(quote(one, safe=""), quote(two, safe=""))), 403,
                 "AuthenticationFailed")
    without = "&".join(p for p in token.split("&") if not p.startswith("snapshot="))
    assert_error(api("GET", f"/{container}/b", sas=without), 403, "AuthenticationFailed")
    assert api("DELETE", f"/{container}/b", sas=token).status == 202
    assert api.exists(container, "b") and api("GET", at(container, "b", two)).status == 200
    assert_error(api("GET", at(container, "b", one)), 404, "BlobNotFound")


def test_deleting_a_container_takes_them_along(api):
    name = api.create_container()
    big = b"x" * 100000
    api.put_ok(name, "b", big)
    snapshot(api, name, "b")
    api.put_ok(name, "b", big)
    assert api("DELETE", f"/{name}?restype=container").status == 202
    assert api("PUT", f"/{name}?restype=container").status == 201
    assert entries(api.list(name, "&include=snapshots")) == []
    api("DELETE", f"/{name}?restype=container")
