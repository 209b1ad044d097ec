"""Conditional headers: evaluated with the change they guard, answered as Azure answers them."""
import pytest
from wire import assert_error, block_id, block_list, http_date


@pytest.fixture
def blob(api, container):
    r = api.put_ok(container, "b", b"hello")
    return f"/{container}/b", r.get("etag")


OTHER = '"0x8D0000000000000"'


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("header, which, status, code", [
    ("If-Match", "own", 200, None), ("If-Match", "*", 200, None), ("If-Match", OTHER, 412, "ConditionNotMet"),
    ("If-None-Match", "own", 304, "ConditionNotMet"), ("If-None-Match", OTHER, 200, None),
    ("If-Modified-Since", -3600, 200, None), ("If-Modified-Since", 3600, 304, "ConditionNotMet"),
    ("If-Unmodified-Since", 3600, 200, None), ("If-Unmodified-Since", -3600, 412, "ConditionNotMet")])
def test_reading(api, blob, method, header, which, status, code):
    path, etag = blob
    value = etag if which == "own" else http_date(which) if isinstance(which, int) else which
    r = api(method, path, {header: value})
    assert r.status == status, r
    if code:
        assert r.code == code, r
    if status == 304:
        assert r.body == b""
        now = api("HEAD", path)
        assert [r.get(n) for n in ("etag", "last-modified")] == [now.get(n) for n in ("etag", "last-modified")]


def test_not_modified_metadata(api, blob):
    """304 tells which state the caller has, wherever it comes from (RFC 9110 15.4.5)."""
    path, etag = blob
    for _ in range(4):  # also when the blob stands in memory
        assert api("GET", path).status == 200
    for method, query in (("GET", "?comp=metadata"), ("HEAD", "?comp=metadata"), ("GET", ""), ("HEAD", "")):
        r = api(method, path + query, {"If-None-Match": etag})
        assert (r.status, r.code, r.get("etag")) == (304, "ConditionNotMet", etag), r
        assert r.get("last-modified"), r.headers


@pytest.mark.parametrize("header, which, fine", [
    ("If-Match", "own", True), ("If-Match", "*", True), ("If-Match", OTHER, False), ("If-None-Match", "own", False),
    ("If-None-Match", OTHER, True), ("If-Modified-Since", -3600, True), ("If-Modified-Since", 3600, False),
    ("If-Unmodified-Since", 3600, True), ("If-Unmodified-Since", -3600, False)])
@pytest.mark.parametrize("operation", ["put", "metadata", "properties", "blocklist", "delete"])
def test_writing(api, container, blob, operation, header, which, fine):
    path, etag = blob
    value = etag if which == "own" else http_date(which) if isinstance(which, int) else which
    headers = {header: value}
    if operation == "put":
        r = api("PUT", path, {"x-ms-blob-type": "BlockBlob"} | headers, b"new")
    elif operation == "blocklist":
        assert api("PUT", path + f"?comp=block&blockid={block_id(1)}", body=b"new").status == 201
        r = api("PUT", path + "?comp=blocklist", headers, block_list(("Latest", block_id(1))))
    elif operation == "delete":
        r = api("DELETE", path, headers)
    else:
        r = api("PUT", path + "?comp=" + operation, headers | {"x-ms-meta-a": "1"})
    if fine:
        assert r.status in (200, 201, 202), r
        if operation != "delete":
            assert r.get("etag") != etag
    else:
        assert_error(r, 412, "ConditionNotMet")
        now = api("GET", path)
        assert (now.body, now.get("etag"), now.metadata) == (b"hello", etag, {})


def test_put_if_none_match_star(api, container, blob):
    r = api.put(container, "b", b"new", {"If-None-Match": "*"})
    assert_error(r, 409, "BlobAlreadyExists")
    assert api("GET", blob[0]).body == b"hello"
    assert api.put(container, "fresh", b"new", {"If-None-Match": "*"}).status == 201


def test_block_list_if_none_match_star(api, container, blob):
    api("PUT", blob[0] + f"?comp=block&blockid={block_id(1)}", body=b"new")
    r = api("PUT", blob[0] + "?comp=blocklist", {"If-None-Match": "*"}, block_list(("Latest", block_id(1))))
    assert_error(r, 409, "BlobAlreadyExists")


@pytest.mark.parametrize("value", ["*", OTHER])
def test_put_if_match_on_missing_blob(api, container, value):
    assert_error(api.put(container, "missing", b"x", {"If-Match": value}), 412, "ConditionNotMet")
    assert not api.exists(container, "missing")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_missing_blob_is_404_whatever_the_condition(api, container, method):
    r = api(method, f"/{container}/missing", {"If-Match": OTHER})
    assert_error(r, 404, "BlobNotFound", head=method == "HEAD")


@pytest.mark.parametrize("header", ["If-Modified-Since", "If-Unmodified-Since"])
@pytest.mark.parametrize("value", ["yesterday", "2026-01-01T00:00:00Z", "Mon, 32 Nov 2026 00:00:00 GMT"])
def test_malformed_date(api, blob, header, value):
    assert_error(api("GET", blob[0], {header: value}), 400, "InvalidHeaderValue", header)


@pytest.mark.parametrize("form", ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_old_date_forms_are_read(api, blob, form):
    assert api("GET", blob[0], {"If-Modified-Since": form}).status == 200
    assert_error(api("GET", blob[0], {"If-Unmodified-Since": form}), 412, "ConditionNotMet")


def test_etag_and_date_change_with_every_write(api, blob):
    path, etag = blob
    seen = {etag}
    for n in range(5):
        r = api("PUT", path + "?comp=metadata", {"x-ms-meta-n": str(n)})
        assert r.get("etag") not in seen and r.get("last-modified")
        seen.add(r.get("etag"))


def test_etag_is_quoted_and_the_same_everywhere(api, container, blob):
    path, etag = blob
    assert etag.startswith('"0x') and etag.endswith('"')
    assert api("HEAD", path).get("etag") == etag
    assert api("GET", path).get("etag") == etag
    assert api.list(container).xml.findtext(".//Etag") == etag.strip('"')


@pytest.mark.parametrize("operation", ["metadata", "delete"])
def test_container_conditions(api, operation):
    c = api.create_container()
    call = ("PUT", f"/{c}?restype=container&comp=metadata") if operation == "metadata" else \
        ("DELETE", f"/{c}?restype=container")
    assert_error(api(*call, {"If-Modified-Since": http_date(3600)}), 412, "ConditionNotMet")
    assert api(*call, {"If-Modified-Since": http_date(-3600)}).status in (200, 202)


def test_container_unmodified_since(api, container):
    r = api("DELETE", f"/{container}?restype=container", {"If-Unmodified-Since": http_date(-3600)})
    assert_error(r, 412, "ConditionNotMet")


@pytest.mark.parametrize("method, path", [("GET", "b"), ("DELETE", "b"), ("PUT", "b?comp=metadata")])
def test_lease_id_without_a_lease(api, container, blob, method, path):
    r = api(method, f"/{container}/{path}", {"x-ms-lease-id": "2c5b9a1e-6b1d-4a3e-9a55-0d4f5f1f0a01"})
    assert_error(r, 412, "LeaseNotPresentWithBlobOperation")
    assert api.exists(container, "b")


@pytest.mark.parametrize("method, query", [("GET", ""), ("HEAD", ""), ("GET", "?comp=metadata")])
def test_a_read_of_what_is_not_there_is_refused(api, container, method, query):
    """As Azure answers If-None-Match: * of a read: not 304, for there is nothing that it could be satisfied by."""
    api.put_ok(container, "b", b"x")
    r = api(method, f"/{container}/b{query}", {"If-None-Match": "*"})
    assert_error(r, 400, "UnsatisfiableCondition", head=method == "HEAD")
