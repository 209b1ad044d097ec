"""Append Block From URL and Put Page From URL. What a source is, and who may read it, is the same for all copies:
test_copy_sync.py has that in full, here is that these two ask for it as well."""
import base64
import hashlib
import os

import pytest

from test_copy_elsewhere import CONTENT, box, far, other, public  # noqa: F401 (fixtures)
from test_copy_sync import get, url
from wire import account_sas, assert_error, crc64, http_date, md5, service_sas

DATA = bytes(i * 7 % 251 for i in range(2048))


@pytest.fixture
def place(api, container):
    """A source, an empty append blob and a page blob of four pages."""
    api.put_ok(container, "src", DATA, {"x-ms-tags": "a=1"})
    api.put_ok(container, "append", b"", {"x-ms-blob-type": "AppendBlob"})
    api.put_ok(container, "page", b"", {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "2048"})
    return url(api, container, "src")


def append_from(api, container, source, headers=(), blob="append", **how):
    return api("PUT", f"/{container}/{blob}?comp=appendblock", {"x-ms-copy-source": source} | dict(headers), **how)


def page_from(api, container, source, headers=(), blob="page", **how):
    wanted = {"x-ms-page-write": "update", "x-ms-range": "bytes=512-1535", "x-ms-source-range": "bytes=0-1023"}
    return api("PUT", f"/{container}/{blob}?comp=page", {"x-ms-copy-source": source} | wanted | dict(headers), **how)


BOTH = pytest.mark.parametrize("copy", [append_from, page_from])


def contents(api, container):
    return get(api, container, "append").body, get(api, container, "page").body


UNTOUCHED = (b"", bytes(2048))


# ---- what they do

def test_append_block_from_url(api, container, place):
    r = append_from(api, container, place)
    assert r.status == 201 and r.get("x-ms-content-crc64") == crc64(DATA), r
    assert (r.get("x-ms-blob-append-offset"), r.get("x-ms-blob-committed-block-count")) == ("0", "1")
    r = append_from(api, container, place, {"x-ms-source-range": "bytes=10-19", "x-ms-source-content-md5": md5(DATA[10:20])})
    assert r.status == 201 and r.get("content-md5") == md5(DATA[10:20]), r
    assert (r.get("x-ms-blob-append-offset"), r.get("x-ms-blob-committed-block-count")) == ("2048", "2")
    got = get(api, container, "append")
    assert got.body == DATA + DATA[10:20] and got.get("etag") == r.get("etag")


def test_put_page_from_url(api, container, place):
    r = page_from(api, container, place)
    assert r.status == 201 and r.get("x-ms-content-crc64") == crc64(DATA[:1024]), r
    assert r.get("x-ms-blob-sequence-number") == "0" and r.get("x-ms-request-server-encrypted") == "true"
    got = get(api, container, "page")
    assert got.body == bytes(512) + DATA[:1024] + bytes(512) and got.get("etag") == r.get("etag")
    ranges = api("GET", f"/{container}/page?comp=pagelist").xml
    assert [(p.findtext("Start"), p.findtext("End")) for p in ranges.iter("PageRange")] == [("512", "1535")]


def test_source_range_need_not_be_whole_pages_of_the_source(api, container, place):
    assert page_from(api, container, place, {"x-ms-source-range": "bytes=7-518", "x-ms-range": "bytes=0-511"}).status == 201
    assert get(api, container, "page").body[:512] == DATA[7:519]


def test_source_on_another_server(far, box, other):  # noqa: F811
    far.put_ok(box, "append", b"", {"x-ms-blob-type": "AppendBlob"})
    far.put_ok(box, "page", b"", {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "2048"})
    assert append_from(far, box, public(other)).status == 201
    assert page_from(far, box, public(other)).status == 201
    assert contents(far, box) == (CONTENT, bytes(512) + CONTENT[:1024] + bytes(512))
    assert_error(append_from(far, box, public(other, "404")), 404, "CannotVerifyCopySource")
    assert_error(page_from(far, box, public(other, "norange")), 400, "CannotVerifyCopySource")


def test_customers_key_of_the_destination(api, container, place):
    key = os.urandom(32)
    key = {"x-ms-encryption-key": base64.b64encode(key).decode(), "x-ms-encryption-algorithm": "AES256",
           "x-ms-encryption-key-sha256": base64.b64encode(hashlib.sha256(key).digest()).decode()}
    api.put_ok(container, "sealed", b"", key | {"x-ms-blob-type": "AppendBlob"})
    r = append_from(api, container, place, key, blob="sealed")
    assert r.status == 201 and r.get("x-ms-encryption-key-sha256") == key["x-ms-encryption-key-sha256"], r
    assert api("GET", f"/{container}/sealed", key).body == DATA
    assert_error(append_from(api, container, place, blob="sealed"), 409, "BlobUsesCustomerSpecifiedEncryption")


# ---- what they refuse: what stood there stays

@pytest.mark.parametrize("headers, status, code", [
    ({"x-ms-blob-condition-appendpos": "1"}, 412, "AppendPositionConditionNotMet"),
    ({"x-ms-blob-condition-maxsize": "2047"}, 412, "MaxBlobSizeConditionNotMet"),
    ({"If-Match": '"0x1"'}, 412, "ConditionNotMet"),
    ({"x-ms-lease-id": "11111111-2222-3333-4444-555555555555"}, 412, "LeaseNotPresentWithBlobOperation"),
    ({"x-ms-source-range": "bytes=9-1"}, 400, "InvalidHeaderValue"),
    ({"x-ms-source-range": "bytes=4096-"}, 416, "InvalidRange")])
def test_append_refused(api, container, place, headers, status, code):
    assert_error(append_from(api, container, place, headers), status, code)
    assert contents(api, container) == UNTOUCHED


@pytest.mark.parametrize("headers, status, code", [
    ({"x-ms-if-sequence-number-lt": "0"}, 412, "SequenceNumberConditionNotMet"),
    ({"If-None-Match": "*"}, 412, "ConditionNotMet"),
    ({"x-ms-page-write": "clear"}, 400, "InvalidHeaderValue"),
    ({"x-ms-range": "bytes=0-1535"}, 416, "InvalidPageRange"),  # more than the source range
    ({"x-ms-source-range": "bytes=0-"}, 416, "InvalidPageRange"),
    ({"x-ms-range": "bytes=1-1024"}, 416, "InvalidPageRange"),
    ({"x-ms-range": "bytes=1536-2559"}, 416, "InvalidPageRange"),  # past the end of the blob
    ({"x-ms-source-range": "bytes=1536-2559"}, 416, "InvalidRange"),  # past the end of the source
    ({"x-ms-range": "bytes=0-4194815", "x-ms-source-range": "bytes=0-4194815"}, 413, "RequestBodyTooLarge")])
def test_page_refused(api, container, place, headers, status, code):
    assert_error(page_from(api, container, place, headers), status, code)
    assert contents(api, container) == UNTOUCHED


def test_missing_headers(api, container, place):
    path, given = f"/{container}/page?comp=page", {"x-ms-copy-source": place, "x-ms-page-write": "update",
                                                   "x-ms-range": "bytes=0-511", "x-ms-source-range": "bytes=0-511"}
    for name in ("x-ms-page-write", "x-ms-range", "x-ms-source-range"):
        r = api("PUT", path, {n: v for n, v in given.items() if n != name})
        assert_error(r, 400, "MissingRequiredHeader", name)


def test_of_another_type(api, container, place):
    assert_error(append_from(api, container, place, blob="page"), 409, "InvalidBlobType")
    assert_error(page_from(api, container, place, blob="append"), 409, "InvalidBlobType")
    assert_error(append_from(api, container, place, blob="nosuch"), 404, "BlobNotFound")
    assert_error(page_from(api, container, place, blob="nosuch"), 404, "BlobNotFound")
    assert contents(api, container) == UNTOUCHED


def test_more_than_a_block(api, container, place):
    for i in range(2):
        assert api("PUT", f"/{container}/src?comp=block&blockid=AAA{i}", (), bytes(3 << 20)).status == 201
    blocks = b"<BlockList><Latest>AAA0</Latest><Latest>AAA1</Latest></BlockList>"
    assert api("PUT", f"/{container}/src?comp=blocklist", (), blocks).status == 201
    r = append_from(api, container, place, version="2022-09-01")  # 4 MiB before 2022-11-02
    assert_error(r, 413, "RequestBodyTooLarge")
    assert append_from(api, container, place).status == 201


def test_nothing_is_no_block(api, container, place):
    api.put_ok(container, "src", b"")
    assert_error(append_from(api, container, place), 400, "InvalidInput")


def test_sealed(api, container, place):
    assert api("PUT", f"/{container}/append?comp=seal").status == 200
    assert_error(append_from(api, container, place), 409, "BlobIsSealed")


@BOTH
def test_takes_no_body(api, container, place, copy):
    assert_error(copy(api, container, place, body=b"x"), 400, "InvalidHeaderValue")
    assert contents(api, container) == UNTOUCHED


@BOTH
def test_the_source_is_checked(api, container, place, copy):
    etag = api("HEAD", f"/{container}/src").get("etag")
    for headers in ({"x-ms-source-if-match": etag}, {"x-ms-source-if-unmodified-since": http_date(1)},
                    {"x-ms-source-if-tags": "a = '1'"}):
        assert copy(api, container, place, headers).status == 201
    before = contents(api, container)
    for headers in ({"x-ms-source-if-none-match": etag}, {"x-ms-source-if-modified-since": http_date(1)},
                    {"x-ms-source-if-tags": "a = '2'"}):
        assert_error(copy(api, container, place, headers), 412, "SourceConditionNotMet")
    assert_error(copy(api, container, place, {"x-ms-source-content-md5": md5(b"other")}), 400, "Md5Mismatch")
    assert_error(copy(api, container, place, {"x-ms-source-content-crc64": crc64(b"other")}), 400, "Crc64Mismatch")
    assert_error(copy(api, container, url(api, container, "nosuch")), 404, "CannotVerifyCopySource")
    assert_error(copy(api, container, "http://127.0.0.1:1/a/b"), 403, "CannotVerifyCopySource", "copy_sources")
    assert contents(api, container) == before


@BOTH
def test_who_may_read_the_source(api, container, place, copy):
    writes = service_sas(container, sp="aw")
    assert_error(copy(api, container, place, sas=writes), 404, "CannotVerifyCopySource")
    assert_error(copy(api, container, place, sas=account_sas(sp="w")), 404, "CannotVerifyCopySource")
    assert contents(api, container) == UNTOUCHED
    signed = url(api, container, "src", service_sas(container, "src", sp="r"))
    assert copy(api, container, signed, sas=writes).status == 201
    assert copy(api, container, place, sas=service_sas(container, sp="raw")).status == 201
