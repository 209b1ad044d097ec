"""Page blobs: creation, Put Page and its conditions, Get Page Ranges, resize, sequence numbers."""
import threading

import pytest
import wire
from wire import assert_error, block_id, block_list, crc64, md5

P = 512
TIB = 1 << 40


def create(api, container, length=8 * P, headers=(), blob="p", body=b"", **how):
    headers = {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(length)} | dict(headers)
    return api("PUT", f"/{container}/{blob}", {n: v for n, v in headers.items() if v is not None}, body, **how)


def page(api, container, first, body, headers=(), blob="p", last=None, **how):
    headers = {"x-ms-page-write": "update",
               "x-ms-range": f"bytes={first}-{first + len(body) - 1 if last is None else last}"} | dict(headers)
    return api("PUT", f"/{container}/{blob}?comp=page", {n: v for n, v in headers.items() if v is not None}, body, **how)


def clear(api, container, first, last, headers=(), **how):
    return page(api, container, first, b"", {"x-ms-page-write": "clear"} | dict(headers), last=last, **how)


def properties(api, container, headers, blob="p"):
    return api("PUT", f"/{container}/{blob}?comp=properties", headers)


def ranges(api, container, query="", headers=(), blob="p"):
    r = api("GET", f"/{container}/{blob}?comp=pagelist{query}", headers)
    assert r.status == 200, r
    assert r.xml.tag == "PageList"
    return [(int(e.findtext("Start")), int(e.findtext("End"))) for e in r.xml.iter("PageRange")]


def read(api, container, blob="p"):
    r = api("GET", f"/{container}/{blob}")
    assert r.status == 200, r
    return r.body


@pytest.fixture
def disk(api, container):
    r = create(api, container)
    assert r.status == 201 and r.get("etag") and r.get("x-ms-request-server-encrypted") == "true", r
    return container


def test_zeros_until_written(api, disk):
    g = api("GET", f"/{disk}/p")
    assert g.body == bytes(8 * P) and g.get("x-ms-blob-type") == "PageBlob" and g.get("x-ms-blob-sequence-number") == "0"
    assert ranges(api, disk) == []
    r = page(api, disk, 2 * P, b"a" * P)
    assert r.status == 201 and r.get("x-ms-content-crc64") == crc64(b"a" * P), r
    assert r.get("x-ms-blob-sequence-number") == "0" and r.get("x-ms-request-server-encrypted") == "true"
    h = api("HEAD", f"/{disk}/p")
    assert h.get("etag") == r.get("etag") != g.get("etag") and h.get("content-length") == str(8 * P)
    assert h.get("x-ms-access-tier") is None and h.get("content-md5") is None
    assert read(api, disk) == bytes(2 * P) + b"a" * P + bytes(5 * P)
    assert api("GET", f"/{disk}/p", {"x-ms-range": f"bytes={2 * P - 3}-{3 * P + 2}"}).body == bytes(3) + b"a" * P + bytes(3)


def test_overwriting_and_clearing(api, disk):
    page(api, disk, 0, b"a" * 4 * P)
    page(api, disk, P, b"b" * P)
    page(api, disk, 3 * P, b"c" * 2 * P)
    assert read(api, disk) == b"a" * P + b"b" * P + b"a" * P + b"c" * 2 * P + bytes(3 * P)
    assert ranges(api, disk) == [(0, 5 * P - 1)]
    r = clear(api, disk, 2 * P, 4 * P - 1)
    assert r.status == 201 and r.get("content-md5") is None and r.get("x-ms-blob-sequence-number") == "0", r
    assert read(api, disk) == b"a" * P + b"b" * P + bytes(2 * P) + b"c" * P + bytes(3 * P)
    assert ranges(api, disk) == [(0, 2 * P - 1), (4 * P, 5 * P - 1)]
    assert clear(api, disk, 0, 8 * P - 1).status == 201
    assert ranges(api, disk) == [] and read(api, disk) == bytes(8 * P)


def test_large_pages(api, container):
    assert create(api, container, 16 << 20).status == 201
    body = bytes(range(256)) * (4 << 12)
    assert page(api, container, 4 << 20, body).status == 201
    page(api, container, (4 << 20) + 100 * P, b"x" * P)
    whole = read(api, container)
    assert whole == bytes(4 << 20) + body[:100 * P] + b"x" * P + body[101 * P:] + bytes(8 << 20)


def test_eight_tebibytes(api, container):
    assert create(api, container, 8 * TIB).status == 201
    assert page(api, container, 8 * TIB - P, b"z" * P).status == 201
    assert page(api, container, 3 * TIB, b"y" * P).status == 201
    assert ranges(api, container) == [(3 * TIB, 3 * TIB + P - 1), (8 * TIB - P, 8 * TIB - 1)]
    r = api("GET", f"/{container}/p", {"x-ms-range": f"bytes={8 * TIB - P - 2}-{8 * TIB - P + 1}"})
    assert r.status == 206 and r.body == b"\0\0zz" and r.get("content-range").endswith(f"/{8 * TIB}")
    assert api("HEAD", f"/{container}/p").get("content-length") == str(8 * TIB)
    assert clear(api, container, 0, 8 * TIB - 1).status == 201
    assert ranges(api, container) == []


@pytest.mark.parametrize("length", ["1", "511", "513", str(8 * TIB + P), "-512", "x", "18446744073709551104", ""])
def test_create_refuses_lengths(api, container, length):
    assert_error(create(api, container, length), 400, "InvalidHeaderValue", "x-ms-blob-content-length")
    assert not api.exists(container, "p")


def test_create_refuses(api, container):
    assert_error(create(api, container, headers={"x-ms-blob-content-length": None}), 400, "MissingRequiredHeader",
                 "x-ms-blob-content-length")
    assert_error(create(api, container, body=b"x" * P), 400, "InvalidHeaderValue", "Content-Length must be 0")
    assert_error(create(api, container, headers={"x-ms-access-tier": "Hot"}), 400, "AccessTierNotSupportedForBlobType")
    for n in "-1", "x", str(1 << 63):
        assert_error(create(api, container, headers={"x-ms-blob-sequence-number": n}), 400, "InvalidHeaderValue")
    assert not api.exists(container, "p")
    assert_error(api.put(container, "b", b"x" * P, {"x-ms-blob-content-length": "512"}), 400, "InvalidHeaderValue")


def test_create(api, container):
    r = create(api, container, 0, {"x-ms-blob-sequence-number": "42", "x-ms-meta-k": "v", "x-ms-blob-content-type": "a/b",
                                   "x-ms-blob-content-md5": md5(b"all")})
    assert r.status == 201
    h = api("HEAD", f"/{container}/p")
    assert h.get("x-ms-blob-sequence-number") == "42" and h.metadata == {"k": "v"} and h.get("content-type") == "a/b"
    assert h.get("content-length") == "0" and h.get("content-md5") == md5(b"all")
    assert read(api, container) == b"" and ranges(api, container) == []
    assert_error(create(api, container, headers={"If-None-Match": "*"}), 409, "BlobAlreadyExists")


@pytest.mark.parametrize("range_, status, code", [
    ("bytes=0-510", 416, "InvalidPageRange"), ("bytes=1-512", 416, "InvalidPageRange"), ("bytes=0-512", 416, "InvalidPageRange"),
    ("bytes=0-", 416, "InvalidPageRange"), ("bytes=-512", 416, "InvalidPageRange"), ("bytes=0-1023", 416, "InvalidPageRange"),
    ("bytes=4096-4607", 416, "InvalidPageRange"), (f"bytes={9 * TIB}-{9 * TIB + 511}", 416, "InvalidPageRange"),
    ("bytes=18446744073709551104-18446744073709551615", 416, "InvalidPageRange"),
    ("bytes=512-0", 400, "InvalidHeaderValue"), ("bytes=a-b", 400, "InvalidHeaderValue"), ("pages=0-511", 400, "InvalidHeaderValue"),
    ("bytes=0-511,1024-1535", 400, "InvalidHeaderValue"), (None, 400, "MissingRequiredHeader")])
def test_ranges_refused(api, disk, range_, status, code):
    assert_error(page(api, disk, 0, b"a" * P, {"x-ms-range": range_}), status, code)
    if range_ != "bytes=0-1023":  # clearing has no body that could contradict it
        assert_error(clear(api, disk, 0, 0, {"x-ms-range": range_}), status, code)
    assert ranges(api, disk) == []


def test_across_the_end(api, disk):
    assert_error(page(api, disk, 7 * P, b"a" * 2 * P), 416, "InvalidPageRange", "4096 bytes")
    assert_error(clear(api, disk, 7 * P, 9 * P - 1), 416, "InvalidPageRange")
    assert page(api, disk, 7 * P, b"a" * P).status == 201


def test_range_header_of_http(api, disk):
    assert page(api, disk, 0, b"a" * P, {"x-ms-range": None, "Range": "bytes=0-511"}).status == 201
    assert ranges(api, disk) == [(0, P - 1)]


def test_put_page_refuses(api, disk):
    a = b"a" * P
    assert_error(page(api, disk, 0, a, {"x-ms-page-write": None}), 400, "MissingRequiredHeader", "x-ms-page-write")
    assert_error(page(api, disk, 0, a, {"x-ms-page-write": "erase"}), 400, "InvalidHeaderValue", "x-ms-page-write")
    assert_error(page(api, disk, 0, a, {"x-ms-page-write": "clear"}), 400, "InvalidHeaderValue", "Content-Length")
    assert_error(page(api, disk, 0, b"", last=P - 1), 416, "InvalidPageRange", "Content-Length")
    assert_error(page(api, disk, 0, a, {"Content-MD5": md5(b"b")}), 400, "Md5Mismatch")
    assert_error(page(api, disk, 0, a, {"x-ms-content-crc64": crc64(b"b")}), 400, "Crc64Mismatch")
    assert_error(page(api, disk, 0, a, blob="missing"), 404, "BlobNotFound")
    assert_error(page(api, "nothere", 0, a), 404, "ContainerNotFound")
    assert_error(page(api, disk, 0, a, {"If-Match": '"0x1"'}), 412, "ConditionNotMet")
    assert_error(page(api, disk, 0, a, {"x-ms-lease-id": "0a0a0a0a-0000-0000-0000-000000000000"}), 412,
                 "LeaseNotPresentWithBlobOperation")
    for which in "le", "lt", "eq":
        assert_error(page(api, disk, 0, a, {f"x-ms-if-sequence-number-{which}": "x"}), 400, "InvalidHeaderValue")
    assert ranges(api, disk) == []


def test_too_large_a_write(api, container):
    create(api, container, 16 << 20)
    assert_error(page(api, container, 0, b"a" * ((4 << 20) + P)), 413, "RequestBodyTooLarge")
    api.close()
    assert clear(api, container, 0, (16 << 20) - 1).status == 201


def test_checksums_are_answered(api, disk):
    a = b"a" * P
    assert page(api, disk, 0, a, {"Content-MD5": md5(a)}).get("content-md5") == md5(a)
    assert page(api, disk, 0, a, {"x-ms-content-crc64": crc64(a)}).get("x-ms-content-crc64") == crc64(a)


@pytest.mark.parametrize("which, number, met", [("le", 10, True), ("le", 9, False), ("lt", 11, True), ("lt", 10, False),
                                                ("eq", 10, True), ("eq", 11, False)])
def test_sequence_conditions(api, container, which, number, met):
    create(api, container, headers={"x-ms-blob-sequence-number": "10"})
    for send in (lambda h: page(api, container, 0, b"a" * P, h), lambda h: clear(api, container, 0, P - 1, h)):
        r = send({f"x-ms-if-sequence-number-{which}": str(number)})
        if met:
            assert r.status == 201 and r.get("x-ms-blob-sequence-number") == "10", r
        else:
            assert_error(r, 412, "SequenceNumberConditionNotMet", f"{which} is {number}")


def test_sequence_actions(api, disk):
    action, number = "x-ms-sequence-number-action", "x-ms-blob-sequence-number"

    def act(headers):
        r = properties(api, disk, headers)
        assert r.status == 200, r
        assert r.get(number) == api("HEAD", f"/{disk}/p").get(number)
        return int(r.get(number))

    assert act({action: "update", number: "7"}) == 7
    assert act({action: "max", number: "5"}) == 7
    assert act({action: "max", number: "9"}) == 9
    assert act({action: "increment"}) == 10
    assert act({action: "update", number: "1"}) == 1
    assert_error(properties(api, disk, {action: "increment", number: "1"}), 400, "InvalidHeaderValue")
    assert_error(properties(api, disk, {action: "double"}), 400, "InvalidHeaderValue")
    assert_error(properties(api, disk, {action: "update"}), 400, "MissingRequiredHeader")
    assert_error(properties(api, disk, {number: "3"}), 400, "MissingRequiredHeader")
    assert act({action: "update", number: str((1 << 63) - 1)}) == (1 << 63) - 1
    assert_error(properties(api, disk, {action: "increment"}), 409, "SequenceNumberIncrementTooLarge")


def test_resize(api, disk):
    length = "x-ms-blob-content-length"
    page(api, disk, 0, b"a" * 8 * P)
    etag = api("HEAD", f"/{disk}/p").get("etag")
    r = properties(api, disk, {length: str(3 * P)})
    assert r.status == 200 and r.get("etag") != etag and r.get("x-ms-blob-sequence-number") == "0", r
    assert read(api, disk) == b"a" * 3 * P and ranges(api, disk) == [(0, 3 * P - 1)]
    assert properties(api, disk, {length: str(6 * P)}).status == 200
    assert read(api, disk) == b"a" * 3 * P + bytes(3 * P) and ranges(api, disk) == [(0, 3 * P - 1)]
    for bad in "100", "-512", str(9 * TIB):
        assert_error(properties(api, disk, {length: bad}), 400, "InvalidHeaderValue")
    assert_error(properties(api, disk, {length: "512", "If-Match": '"0x1"'}), 412, "ConditionNotMet")
    assert len(read(api, disk)) == 6 * P


def test_what_set_properties_leaves(api, container):
    """A change of length or number alone leaves the rest; of other properties all are set together."""
    create(api, container, headers={"x-ms-blob-content-type": "a/b", "x-ms-blob-content-language": "de"})
    properties(api, container, {"x-ms-blob-content-length": "512"})
    properties(api, container, {"x-ms-sequence-number-action": "increment"})
    h = api("HEAD", f"/{container}/p")
    assert (h.get("content-type"), h.get("content-language"), h.get("content-length")) == ("a/b", "de", "512")
    properties(api, container, {"x-ms-blob-content-type": "c/d"})
    h = api("HEAD", f"/{container}/p")
    assert (h.get("content-type"), h.get("content-language"), h.get("content-length")) == ("c/d", None, "512")
    assert h.get("x-ms-blob-sequence-number") == "1"


def test_an_empty_md5_is_none(api, disk):
    """azcopy sends one when it has written a page blob and was not asked for its MD5."""
    assert properties(api, disk, {"x-ms-blob-content-md5": md5(b"x"), "x-ms-blob-content-type": "a/b"}).status == 200
    assert properties(api, disk, {"x-ms-blob-content-md5": "", "x-ms-blob-content-type": "a/b"}).status == 200
    assert api("HEAD", f"/{disk}/p").get("content-md5") is None


@pytest.mark.parametrize("headers", [{"x-ms-blob-content-length": "512"}, {"x-ms-sequence-number-action": "increment"}])
def test_other_kinds_are_not_resized(api, container, headers):
    api.put_ok(container, "p", b"x")
    assert_error(properties(api, container, headers), 409, "InvalidBlobType")
    assert read(api, container) == b"x"


def test_ranges_of_a_range(api, disk):
    page(api, disk, 0, b"a" * 2 * P)
    page(api, disk, 4 * P, b"a" * 2 * P)
    assert ranges(api, disk, headers={"x-ms-range": f"bytes={P}-{5 * P - 1}"}) == [(P, 2 * P - 1), (4 * P, 5 * P - 1)]
    assert ranges(api, disk, headers={"Range": f"bytes={2 * P}-{4 * P - 1}"}) == []
    assert ranges(api, disk, headers={"x-ms-range": "bytes=0-99999999"}) == [(0, 2 * P - 1), (4 * P, 6 * P - 1)]
    assert ranges(api, disk, headers={"x-ms-range": "bytes=600-700"}) == [(P, 2 * P - 1)]  # the pages it touches
    assert_error(api("GET", f"/{disk}/p?comp=pagelist", {"x-ms-range": f"bytes={8 * P}-"}), 416, "InvalidRange")
    assert_error(api("GET", f"/{disk}/p?comp=pagelist", {"x-ms-range": "bytes=9-3"}), 400, "InvalidHeaderValue")


def test_pages_of_ranges(api, container):
    create(api, container, 200 * P)
    for n in range(0, 20, 2):
        page(api, container, n * P, b"a" * P)
    expected = [(n * P, n * P + P - 1) for n in range(0, 20, 2)]
    found, marker, pages = [], "", 0
    while True:
        r = api("GET", f"/{container}/p?comp=pagelist&maxresults=3&marker={marker}")
        part = [(int(e.findtext("Start")), int(e.findtext("End"))) for e in r.xml.iter("PageRange")]
        assert 1 <= len(part) <= 3
        found += part
        pages += 1
        marker = r.xml.findtext("NextMarker")
        if not marker:
            break
    assert found == expected and pages == 4
    for n in "0", "x", "-1":
        assert api("GET", f"/{container}/p?comp=pagelist&maxresults={n}").status == 400
    for marker in "x", "100", "99999999999999999999999":
        assert_error(api("GET", f"/{container}/p?comp=pagelist&marker={marker}"), 400, "InvalidQueryParameterValue", "marker")


def test_ranges_headers_and_conditions(api, disk):
    h = api("HEAD", f"/{disk}/p")
    r = api("GET", f"/{disk}/p?comp=pagelist", {"If-Match": h.get("etag")})
    assert r.get("etag") == h.get("etag") and r.get("last-modified") == h.get("last-modified")
    assert r.get("x-ms-blob-content-length") == str(8 * P) and r.get("content-type") == "application/xml"
    assert_error(api("GET", f"/{disk}/p?comp=pagelist", {"If-Match": '"0x1"'}), 412, "ConditionNotMet")
    assert api("GET", f"/{disk}/p?comp=pagelist", {"If-None-Match": h.get("etag")}).status == 304
    assert_error(api("GET", f"/{disk}/missing?comp=pagelist"), 404, "BlobNotFound")


def test_wrong_kinds(api, disk):
    api.put_ok(disk, "b", b"x" * P)
    assert_error(page(api, disk, 0, b"a" * P, blob="b"), 409, "InvalidBlobType", "block blob")
    assert_error(clear(api, disk, 0, P - 1, blob="b"), 409, "InvalidBlobType")
    assert_error(api("GET", f"/{disk}/b?comp=pagelist"), 409, "InvalidBlobType")
    assert_error(api("PUT", f"/{disk}/p?comp=block&blockid={block_id(1)}", body=b"x"), 409, "InvalidBlobType", "page blob")
    assert_error(api("PUT", f"/{disk}/p?comp=blocklist", body=block_list()), 409, "InvalidBlobType")
    assert_error(api("GET", f"/{disk}/p?comp=blocklist"), 409, "InvalidBlobType")
    assert_error(api("PUT", f"/{disk}/p?comp=appendblock", body=b"x"), 409, "InvalidBlobType")
    assert_error(api("PUT", f"/{disk}/p?comp=seal"), 409, "InvalidBlobType")


def test_types_replace_one_another(api, disk):
    page(api, disk, 0, b"a" * P)
    api.put_ok(disk, "p", b"whole")
    assert read(api, disk) == b"whole"
    assert create(api, disk).status == 201
    assert read(api, disk) == bytes(8 * P)


def test_listing(api, container):
    create(api, container, headers={"x-ms-blob-sequence-number": "3"})
    p = api.list(container).xml.find(".//Blob/Properties")
    assert p.findtext("BlobType") == "PageBlob" and p.findtext("x-ms-blob-sequence-number") == "3"
    assert p.findtext("Content-Length") == str(8 * P) and p.find("AccessTier") is None


def test_permissions(api, disk):
    for letter in "racd":
        assert_error(page(api, disk, 0, b"a" * P, sas=wire.service_sas(disk, sp=letter)), 403, "AuthorizationPermissionMismatch")
    assert page(api, disk, 0, b"a" * P, sas=wire.service_sas(disk, sp="w")).status == 201
    assert api("GET", f"/{disk}/p?comp=pagelist", sas=wire.service_sas(disk, sp="r")).status == 200
    assert_error(api("GET", f"/{disk}/p?comp=pagelist", sas=wire.service_sas(disk, sp="w")), 403, "AuthorizationPermissionMismatch")


def test_readers_among_writers(server, api, container):
    """A read that is answered with one ETag is of one state: all pages of the same writer and turn."""
    create(api, container, 16 * P)
    stop, wrong = threading.Event(), []

    def writer(letter):
        mine = wire.Api(server)
        for n in range(25):
            body = bytes([letter + n % 5]) * 16 * P
            if page(mine, container, 0, body).status != 201:
                wrong.append("write")
        mine.close()

    def reader():
        mine, seen = wire.Api(server), {}
        while not stop.is_set():
            r = mine("GET", f"/{container}/p")
            if r.status != 200 or len(set(r.body)) != 1 or seen.setdefault(r.get("etag"), r.body) != r.body:
                wrong.append(r)
        mine.close()

    threads = [threading.Thread(target=writer, args=(n,)) for n in (65, 75)] + [threading.Thread(target=reader)]
    for t in threads:
        t.start()
    for t in threads[:-1]:
        t.join()
    stop.set()
    threads[-1].join()
    assert not wrong, wrong[:3]


def test_snapshots_keep_their_pages(api, disk):
    page(api, disk, 0, b"a" * 2 * P)
    taken = []
    for letter in b"bcd":
        r = api("PUT", f"/{disk}/p?comp=snapshot")
        assert r.status == 201, r
        taken.append((r.get("x-ms-snapshot"), read(api, disk), ranges(api, disk)))
        page(api, disk, P, bytes([letter]) * P)
        clear(api, disk, 0, P - 1) if letter == ord("c") else page(api, disk, 4 * P, bytes([letter]) * P)
    assert properties(api, disk, {"x-ms-blob-content-length": str(2 * P)}).status == 200
    assert read(api, disk) == bytes(P) + b"d" * P
    for moment, body, listed in taken:
        r = api("GET", f"/{disk}/p?snapshot={moment}")
        assert r.status == 200 and r.body == body
        assert ranges(api, disk, f"&snapshot={moment}") == listed
    assert api("DELETE", f"/{disk}/p?snapshot={taken[1][0]}").status == 202
    for moment, body, listed in taken[::2]:
        assert api("GET", f"/{disk}/p?snapshot={moment}").body == body
    assert api("DELETE", f"/{disk}/p", {"x-ms-delete-snapshots": "only"}).status == 202
    assert read(api, disk) == bytes(P) + b"d" * P


def diff(api, container, since, query="", headers=()):
    r = api("GET", f"/{container}/p?comp=pagelist{query}" + (f"&prevsnapshot={since}" if since else ""), headers)
    assert r.status == 200, r
    return [(e.tag[0], int(e.findtext("Start")), int(e.findtext("End"))) for e in r.xml if e.tag != "NextMarker"]


def snapshot(api, container):
    r = api("PUT", f"/{container}/p?comp=snapshot")
    assert r.status == 201, r
    return r.get("x-ms-snapshot")


def test_diff_against_a_snapshot(api, disk):
    page(api, disk, 0, b"a" * 4 * P)
    first = snapshot(api, disk)
    assert diff(api, disk, first) == []
    page(api, disk, P, b"b" * P)
    clear(api, disk, 2 * P, 4 * P - 1)
    page(api, disk, 6 * P, b"b" * P)
    second = snapshot(api, disk)
    expected = [("P", P, 2 * P - 1), ("C", 2 * P, 4 * P - 1), ("P", 6 * P, 7 * P - 1)]
    assert diff(api, disk, first) == expected
    page(api, disk, 0, b"c" * P)
    assert diff(api, disk, first, f"&snapshot={second}") == expected
    assert diff(api, disk, second) == [("P", 0, P - 1)]
    assert diff(api, disk, first) == [("P", 0, 2 * P - 1), *expected[1:]]
    assert diff(api, disk, first, headers={"x-ms-range": f"bytes={3 * P}-{8 * P - 1}"}) == \
        [("C", 3 * P, 4 * P - 1), ("P", 6 * P, 7 * P - 1)]
    url = f"http://127.0.0.1/devstoreaccount1/{disk}/p?snapshot={first.replace(':', '%3A')}"
    assert diff(api, disk, None, headers={"x-ms-previous-snapshot-url": url}) == diff(api, disk, first)
    assert properties(api, disk, {"x-ms-blob-content-length": "512"}).status == 200
    assert diff(api, disk, first) == [("P", 0, P - 1)]
    assert api("DELETE", f"/{disk}/p?snapshot={second}").status == 202
    assert diff(api, disk, first) == [("P", 0, P - 1)]


def test_pages_of_a_diff(api, disk):
    page(api, disk, 0, b"a" * 8 * P)
    since = snapshot(api, disk)
    for n in 0, 2, 4, 6:
        page(api, disk, n * P, b"b" * P)
    found, marker = [], ""
    while True:
        r = api("GET", f"/{disk}/p?comp=pagelist&prevsnapshot={since}&maxresults=3&marker={marker}")
        found += [int(e.findtext("Start")) // P for e in r.xml.iter("PageRange")]
        marker = r.xml.findtext("NextMarker")
        if not marker:
            break
    assert found == [0, 2, 4, 6]


def test_diff_refused(api, disk):
    first, second = snapshot(api, disk), snapshot(api, disk)
    assert_error(api("GET", f"/{disk}/p?comp=pagelist&prevsnapshot=x"), 400, "InvalidQueryParameterValue", "prevsnapshot")
    assert_error(api("GET", f"/{disk}/p?comp=pagelist&prevsnapshot=2020-01-01T00:00:00.0000000Z"), 409, "PreviousSnapshotNotFound")
    assert_error(api("GET", f"/{disk}/p?comp=pagelist&snapshot={first}&prevsnapshot={second}"), 400,
                 "PreviousSnapshotCannotBeNewer")
    assert_error(api("GET", f"/{disk}/p?comp=pagelist", {"x-ms-previous-snapshot-url": "http://x/y"}), 400, "InvalidHeaderValue")
    assert create(api, disk).status == 201
    assert_error(api("GET", f"/{disk}/p?comp=pagelist&prevsnapshot={first}"), 409, "BlobOverwritten")
