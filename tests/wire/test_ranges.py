"""Ranges of Get Blob: Range, x-ms-range, their edges and their checksums."""
import pytest
from wire import assert_error, assert_survives, crc64, md5

DATA = bytes(range(256)) * 4
SIZE = len(DATA)


@pytest.fixture
def blob(api, container):
    api.put_ok(container, "b", DATA)
    return f"/{container}/b"


@pytest.mark.parametrize("header", ["Range", "x-ms-range"])
@pytest.mark.parametrize("value, first, last", [
    ("bytes=0-0", 0, 0), ("bytes=0-9", 0, 9), ("bytes=10-", 10, SIZE - 1), (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
    (f"bytes=0-{SIZE - 1}", 0, SIZE - 1), (f"bytes=5-{SIZE + 100}", 5, SIZE - 1),
    ("bytes=0-18446744073709551615", 0, SIZE - 1), ("bytes=1000-1000", 1000, 1000)])
def test_range(api, blob, header, value, first, last):
    r = api("GET", blob, {header: value})
    assert r.status == 206, r
    assert r.body == DATA[first:last + 1]
    assert r.get("content-range") == f"bytes {first}-{last}/{SIZE}"
    assert r.get("content-length") == str(last - first + 1)


def test_x_ms_range_wins(api, blob):
    r = api("GET", blob, {"Range": "bytes=0-9", "x-ms-range": "bytes=20-29"})
    assert r.body == DATA[20:30]


def test_without_range(api, blob):
    r = api("GET", blob)
    assert r.status == 200 and r.body == DATA
    assert r.get("accept-ranges") == "bytes" and r.get("content-range") is None


@pytest.mark.parametrize("value", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=18446744073709551615-"])
def test_beyond_the_end(api, blob, connection, value):
    for header in "Range", "x-ms-range":
        assert_error(api("GET", blob, {header: value}), 416, "InvalidRange")
    connection.send(api.build("GET", blob, {"x-ms-range": value}))
    assert_survives(api, connection, connection.read())


def test_any_range_of_an_empty_blob(api, container):
    api.put_ok(container, "e")
    assert_error(api("GET", f"/{container}/e", {"x-ms-range": "bytes=0-"}), 416, "InvalidRange")


@pytest.mark.parametrize("value", ["bytes=5-2", "bytes=", "bytes=-", "bytes=a-b", "5-10", "items=0-5", "bytes=0-5-9",
                                   "bytes=0x10-", "bytes= 0 - 5", "bytes=1.5-", "bytes=99999999999999999999999-",
                                   "bytes=0-99999999999999999999999", "bytes=-5", "bytes=0-1,5-6"])
def test_malformed_x_ms_range(api, blob, value):
    r = api("GET", blob, {"x-ms-range": value})
    assert_error(r, 400, "InvalidHeaderValue", "x-ms-range")


@pytest.mark.parametrize("value", ["bytes=5-2", "bytes=a-b", "items=0-5", "bytes=0-1,5-6"])
def test_malformed_range_is_ignored(api, blob, value):
    """RFC 9110 14.2: a server ignores what it does not understand, and the whole blob comes."""
    r = api("GET", blob, {"Range": value})
    assert r.status == 200 and r.body == DATA


@pytest.mark.parametrize("n", [1, 10, SIZE, SIZE * 2])
def test_suffix_range(api, blob, n):
    """Of RFC 9110; x-ms-range has none, as on Azure."""
    r = api("GET", blob, {"Range": f"bytes=-{n}"})
    assert r.status == 206 and r.body == DATA[-n:]


@pytest.mark.parametrize("header, name, value", [
    ("x-ms-range-get-content-md5", "content-md5", md5(DATA[3:700])),
    ("x-ms-range-get-content-crc64", "x-ms-content-crc64", crc64(DATA[3:700]))])
def test_range_checksums(api, blob, header, name, value):
    r = api("GET", blob, {"x-ms-range": "bytes=3-699", header: "true"})
    assert r.status == 206 and r.get(name) == value
    assert r.body == DATA[3:700]


@pytest.mark.parametrize("header", ["x-ms-range-get-content-md5", "x-ms-range-get-content-crc64"])
def test_range_checksum_needs_a_range(api, blob, header):
    r = api("GET", blob, {header: "true"})
    assert_error(r, 400, "InvalidHeaderValue", header)


@pytest.mark.parametrize("header", ["x-ms-range-get-content-md5", "x-ms-range-get-content-crc64"])
def test_range_checksum_up_to_four_mebibytes(api, container, header):
    size = (4 << 20) + 1
    api.put_ok(container, "big", bytes(size))
    assert api("GET", f"/{container}/big", {"x-ms-range": f"bytes=0-{size - 2}", header: "true"}).status == 206
    r = api("GET", f"/{container}/big", {"x-ms-range": f"bytes=0-{size - 1}", header: "true"})
    assert_error(r, 400, "OutOfRangeInput", "4 MiB")


def test_one_range_checksum_at_a_time(api, blob):
    r = api("GET", blob, {"x-ms-range": "bytes=0-9", "x-ms-range-get-content-md5": "true",
                          "x-ms-range-get-content-crc64": "true"})
    assert_error(r, 400, "InvalidHeaderValue", "together")


@pytest.mark.parametrize("header", ["x-ms-range-get-content-md5", "x-ms-range-get-content-crc64"])
def test_range_checksum_flag_is_a_boolean(api, blob, header):
    r = api("GET", blob, {"x-ms-range": "bytes=0-9", header: "maybe"})
    assert_error(r, 400, "InvalidHeaderValue", header)


def test_whole_blob_keeps_its_md5_in_a_range(api, blob):
    r = api("GET", blob, {"x-ms-range": "bytes=0-9"})
    assert r.get("x-ms-blob-content-md5") == md5(DATA) and r.get("content-md5") is None
    assert api("GET", blob).get("content-md5") == md5(DATA)


def test_range_is_ignored_by_head(api, blob):
    r = api("HEAD", blob, {"x-ms-range": "bytes=0-9"})
    assert r.status == 200 and r.get("content-length") == str(SIZE)


@pytest.mark.parametrize("size", [16383, 16384, 16385, 65535, 65536, 65537, (1 << 20) + 7])
def test_ranges_across_sizes(api, container, size):
    data = bytes((i * 31 + i // 251) & 255 for i in range(size))
    api.put_ok(container, "s", data)
    for first, last in (0, 0), (size - 1, size - 1), (size // 2 - 1, size // 2 + 1), (16383, 16384), (0, size - 1):
        if last < size:
            r = api("GET", f"/{container}/s", {"x-ms-range": f"bytes={first}-{last}"})
            assert r.body == data[first:last + 1]
