"""Put Blob, Get Blob, properties, Delete Blob: what they demand, keep and answer."""
import pytest
from wire import assert_error, assert_survives, md5


@pytest.mark.parametrize("size", [0, 1, 4096, 16383, 16384, 16385, 32768, 65535, 65536, 65537, 131072, 1 << 20, 5000003])
def test_sizes(api, container, size):
    data = bytes((i * 7 + i // 256) & 255 for i in range(min(size, 65536))) * (size // 65536 + 1)
    data = data[:size]
    api.put_ok(container, "b", data)
    r = api("GET", f"/{container}/b")
    assert r.status == 200 and r.body == data
    assert r.get("content-length") == str(size) and r.get("content-md5") == md5(data)
    r = api("HEAD", f"/{container}/b")
    assert r.status == 200 and r.get("content-length") == str(size) and r.body == b""


def test_answers_of_put(api, container):
    r = api.put_ok(container, "b", b"x")
    assert r.get("etag") and r.get("last-modified") and r.get("content-md5") == md5(b"x")
    assert r.get("x-ms-request-server-encrypted") == "true" and r.body == b""


def test_properties(api, container):
    r0 = api.put_ok(container, "b", b"x", {"Content-Type": "text/a", "x-ms-blob-content-type": "text/b",
                                           "x-ms-blob-cache-control": "no-cache"})
    for method in "GET", "HEAD":
        r = api(method, f"/{container}/b")
        assert r.get("content-type") == "text/b" and r.get("cache-control") == "no-cache"
        assert r.get("x-ms-blob-type") == "BlockBlob" and r.get("etag") == r0.get("etag")
        assert r.get("last-modified") == r0.get("last-modified") and r.get("x-ms-creation-time")
        assert r.get("x-ms-lease-state") == "available" and r.get("x-ms-lease-status") == "unlocked"
        assert r.get("x-ms-server-encrypted") == "true" and r.get("accept-ranges") == "bytes"
    assert api("HEAD", f"/{container}/b").get("x-ms-access-tier") == "Hot"


def test_default_content_type(api, container):
    api.put_ok(container, "b", b"x")
    assert api("HEAD", f"/{container}/b").get("content-type") == "application/octet-stream"


def test_set_properties(api, container):
    api.put_ok(container, "b", b"x", {"x-ms-blob-content-type": "text/a", "x-ms-blob-cache-control": "no-cache"})
    r = api("PUT", f"/{container}/b?comp=properties", {"x-ms-blob-content-type": "text/b"})
    assert r.status == 200
    r = api("HEAD", f"/{container}/b")
    assert r.get("content-type") == "text/b" and r.get("cache-control") is None
    assert api("GET", f"/{container}/b").body == b"x"


def test_overwrite_replaces_everything(api, container):
    api.put_ok(container, "b", b"old", {"x-ms-meta-a": "1", "x-ms-blob-cache-control": "no-cache"})
    api.put_ok(container, "b", b"newer")
    r = api("GET", f"/{container}/b")
    assert r.body == b"newer" and r.metadata == {} and r.get("cache-control") is None


def test_creation_time_survives_overwrites_of_properties(api, container):
    api.put_ok(container, "b", b"x")
    at = api("HEAD", f"/{container}/b").get("x-ms-creation-time")
    api("PUT", f"/{container}/b?comp=metadata", {"x-ms-meta-a": "1"})
    assert api("HEAD", f"/{container}/b").get("x-ms-creation-time") == at


def test_blob_type_is_needed(api, container):
    r = api("PUT", f"/{container}/b", body=b"x")
    assert_error(r, 400, "MissingRequiredHeader", "x-ms-blob-type")
    assert not api.exists(container, "b")


@pytest.mark.parametrize("value", ["blockblob", "Block", "File"])
def test_blob_type_refused(api, container, value):
    r = api("PUT", f"/{container}/b", {"x-ms-blob-type": value}, b"x")
    assert_error(r, 400, "InvalidHeaderValue", "x-ms-blob-type")


@pytest.mark.parametrize("tier, fine", [("Hot", True), ("Cool", True), ("Cold", True), ("Lukewarm", False), ("P10", False)])
def test_access_tier(api, container, tier, fine):
    r = api.put(container, "b", b"x", {"x-ms-access-tier": tier})
    if fine:
        assert r.status == 201 and api("HEAD", f"/{container}/b").get("x-ms-access-tier") == tier
    else:
        assert r.status == 400 and r.code in ("InvalidHeaderValue", "InvalidBlobTier"), r
        assert not api.exists(container, "b")


def test_delete(api, container):
    api.put_ok(container, "b", b"x")
    assert api("DELETE", f"/{container}/b").status == 202
    assert_error(api("GET", f"/{container}/b"), 404, "BlobNotFound")
    assert_error(api("DELETE", f"/{container}/b"), 404, "BlobNotFound")


@pytest.mark.parametrize("value", ["nonsense", "Include"])
def test_delete_snapshots_value(api, container, value):
    api.put_ok(container, "b", b"x")
    assert_error(api("DELETE", f"/{container}/b", {"x-ms-delete-snapshots": value}), 400, "InvalidHeaderValue",
                 "x-ms-delete-snapshots")
    assert api.exists(container, "b")


@pytest.mark.parametrize("method, path", [("GET", ""), ("HEAD", ""), ("DELETE", ""), ("PUT", "?comp=metadata"),
                                          ("PUT", "?comp=properties"), ("GET", "?comp=metadata")])
def test_missing_blob(api, container, method, path):
    r = api(method, f"/{container}/missing{path}")
    assert_error(r, 404, "BlobNotFound", head=method == "HEAD")


@pytest.mark.parametrize("value", ["text/plain\x01", "a" * 5000])
def test_odd_content_types(api, container, value):
    r = api.put(container, "b", b"x", {"x-ms-blob-content-type": value})
    assert r.status in (201, 400), r
    assert api.list(container).xml is not None


def test_put_larger_than_allowed_is_refused_before_its_body(api, container, connection):
    head = api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob", "Content-Length": str((5000 << 20) + 1)})
    connection.send(head)
    r = connection.read()
    assert_error(r, 413, "RequestBodyTooLarge")
    assert connection.closed()
    assert not api.exists(container, "b")


def test_body_where_none_belongs(api, container, connection):
    api.put_ok(container, "b", b"x")
    connection.send(api.build("GET", f"/{container}/b", body=b"surprise"))
    r = connection.read()
    assert r.status in (200, 400, 413), r
    assert_survives(api, connection, r)
