"""Content-MD5 and CRC-64/NVME of what comes in and goes out."""
import base64

import pytest
from wire import assert_error, assert_survives, block_id, block_list, crc64, md5


def test_crc64_of_the_reference():
    assert crc64(b"123456789") == base64.b64encode(0xAE8B14860A799888.to_bytes(8, "little")).decode()


@pytest.mark.parametrize("size", [0, 1, 5, 16384, 70000, 300000])
def test_put_blob_answers_both(api, container, size):
    data = bytes(i & 255 for i in range(size))
    r = api.put_ok(container, "b", data, {"Content-MD5": md5(data)})
    assert r.get("content-md5") == md5(data)
    r = api.put_ok(container, "b", data, {"x-ms-content-crc64": crc64(data)})
    assert r.get("x-ms-content-crc64") == crc64(data)
    assert api("GET", f"/{container}/b").get("content-md5") == md5(data)


@pytest.mark.parametrize("size", [5, 70000])
@pytest.mark.parametrize("header, wrong, code", [
    ("Content-MD5", md5(b"other"), "Md5Mismatch"), ("x-ms-content-crc64", crc64(b"other"), "Crc64Mismatch")])
def test_mismatch_stores_nothing(api, container, connection, size, header, wrong, code):
    data = b"x" * size
    r = api.put(container, "b", data, {header: wrong})
    assert_error(r, 400, code)
    assert not api.exists(container, "b")
    r = api("PUT", f"/{container}/b?comp=block&blockid={block_id(1)}", {header: wrong}, data)
    assert_error(r, 400, code)
    assert_error(api("GET", f"/{container}/b?comp=blocklist&blocklisttype=all"), 404, "BlobNotFound")
    connection.send(api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob", header: wrong}, data))
    assert_survives(api, connection, connection.read())


def test_mismatch_keeps_the_old_blob(api, container):
    api.put_ok(container, "b", b"old")
    assert_error(api.put(container, "b", b"new", {"Content-MD5": md5(b"wrong")}), 400, "Md5Mismatch")
    assert api("GET", f"/{container}/b").body == b"old"


@pytest.mark.parametrize("header, code", [("Content-MD5", "InvalidMd5"), ("x-ms-blob-content-md5", "InvalidMd5"),
                                          ("x-ms-content-crc64", "InvalidHeaderValue")])
@pytest.mark.parametrize("value", ["x", "AAAA", "not base64 at all", "A" * 200, "AAAAAAAAAAAAAAAAAAAAAA"])
def test_malformed(api, container, header, code, value):
    r = api.put(container, "b", b"x", {header: value})
    assert_error(r, 400, code, header)
    assert not api.exists(container, "b")


def test_md5_and_crc64_together(api, container):
    r = api.put(container, "b", b"x", {"Content-MD5": md5(b"x"), "x-ms-content-crc64": crc64(b"x")})
    assert_error(r, 400, "BothCrc64AndMd5HeaderPresent", "together")
    assert not api.exists(container, "b")


@pytest.mark.parametrize("header, of", [("Content-MD5", md5), ("x-ms-content-crc64", crc64)])
def test_put_block(api, container, header, of):
    r = api("PUT", f"/{container}/b?comp=block&blockid={block_id(1)}", {header: of(b"data")}, b"data")
    assert r.status == 201 and r.get(header) == of(b"data")


@pytest.mark.parametrize("header, of, code", [("Content-MD5", md5, "Md5Mismatch"),
                                              ("x-ms-content-crc64", crc64, "Crc64Mismatch")])
def test_block_list_body(api, container, header, of, code):
    api("PUT", f"/{container}/b?comp=block&blockid={block_id(1)}", body=b"data")
    body = block_list(("Latest", block_id(1)))
    r = api("PUT", f"/{container}/b?comp=blocklist", {header: of(b"other")}, body)
    assert_error(r, 400, code)
    assert not api.exists(container, "b")
    assert api("PUT", f"/{container}/b?comp=blocklist", {header: of(body)}, body).status == 201


def test_blob_content_md5_is_kept_not_checked(api, container):
    """x-ms-blob-content-md5 of Put Block List is what the client says of the whole."""
    api("PUT", f"/{container}/b?comp=block&blockid={block_id(1)}", body=b"data")
    said = md5(b"whatever")
    r = api("PUT", f"/{container}/b?comp=blocklist", {"x-ms-blob-content-md5": said},
            block_list(("Latest", block_id(1))))
    assert r.status == 201
    assert api("HEAD", f"/{container}/b").get("content-md5") == said


def test_block_list_without_md5_has_none(api, container):
    api("PUT", f"/{container}/b?comp=block&blockid={block_id(1)}", body=b"data")
    api("PUT", f"/{container}/b?comp=blocklist", body=block_list(("Latest", block_id(1))))
    assert api("HEAD", f"/{container}/b").get("content-md5") is None
