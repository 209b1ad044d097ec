"""Copy Blob of append and page blobs, from current states and snapshots, here and elsewhere."""
import pytest

from test_copy_async import Restartable, abort, copy, head, wait_for
from test_copy_sync import get, url
from wire import Api, Server, assert_error, service_sas

PAGES = bytes(i * 7 % 251 + 1 for i in range(2048))


def make_append(api, container, name, *blocks, headers=()):
    assert api("PUT", f"/{container}/{name}", {"x-ms-blob-type": "AppendBlob"} | dict(headers)).status == 201
    for block in blocks:
        assert api("PUT", f"/{container}/{name}?comp=appendblock", body=block).status == 201


def make_page(api, container, name, length, *pages, headers=()):
    new = {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(length)}
    assert api("PUT", f"/{container}/{name}", new | dict(headers)).status == 201
    for offset, data in pages:
        put_page(api, container, name, offset, data)


def put_page(api, container, name, offset, data):
    r = api("PUT", f"/{container}/{name}?comp=page",
            {"x-ms-page-write": "update", "x-ms-range": f"bytes={offset}-{offset + len(data) - 1}"}, data)
    assert r.status == 201, r


def ranges(api, container, name):
    r = api("GET", f"/{container}/{name}?comp=pagelist")
    return [(int(p.findtext("Start")), int(p.findtext("End"))) for p in r.xml.iter("PageRange")]


def copied(api, container, source, headers=(), name="dst"):
    r = copy(api, container, name, source, headers)
    assert r.status == 202, r
    return wait_for(api, container, name, "success")


@pytest.mark.parametrize("blocks", [(), (b"one",), (b"one", b"two" * 50_000, b"three")])
def test_append_blob(api, container, blocks):
    make_append(api, container, "src", *blocks, headers={"x-ms-meta-a": "1", "x-ms-blob-content-type": "text/x"})
    r = copied(api, container, url(api, container, "src"))
    data = b"".join(blocks)
    assert (r.get("x-ms-blob-type"), r.get("x-ms-blob-sealed")) == ("AppendBlob", "false")
    assert r.get("x-ms-copy-progress") == f"{len(data)}/{len(data)}" and r.metadata == {"a": "1"}
    got = get(api, container, "dst")
    assert got.body == data and got.get("content-type") == "text/x"
    # and it can be appended to
    assert api("PUT", f"/{container}/dst?comp=appendblock", body=b"more").status == 201
    assert get(api, container, "dst").body == data + b"more" and get(api, container, "src").body == data


def test_sealing_the_copy(api, container):
    make_append(api, container, "src", b"one")
    assert copied(api, container, url(api, container, "src"), {"x-ms-seal-blob": "true"}).get("x-ms-blob-sealed") == "true"
    assert_error(api("PUT", f"/{container}/dst?comp=appendblock", body=b"more"), 409, "BlobIsSealed")
    assert_error(copy(api, container, "dst", url(api, container, "src")), 409, "BlobIsSealed")
    assert api("PUT", f"/{container}/src?comp=seal").status == 200
    assert copied(api, container, url(api, container, "src"), name="open").get("x-ms-blob-sealed") == "false"
    api.put_ok(container, "block", b"x")
    assert_error(copy(api, container, "n", url(api, container, "block"), {"x-ms-seal-blob": "true"}), 400, "InvalidHeaderValue")
    assert_error(copy(api, container, "n", url(api, container, "src"), {"x-ms-seal-blob": "maybe"}), 400, "InvalidHeaderValue")
    assert not api.exists(container, "n")


@pytest.mark.parametrize("length, pages", [
    (0, []), (512, []), (4096, [(512, PAGES[:512]), (2048, PAGES[:1024])]), (2048, [(0, PAGES)]),
    (1024, [(0, bytes(512))]),  # written, with zeros
    (64 << 20, [(0, PAGES), (40 << 20, PAGES[:512]), ((64 << 20) - 512, PAGES[:512])])], ids=str)
def test_page_blob(api, container, length, pages):
    make_page(api, container, "src", length, *pages, headers={"x-ms-blob-sequence-number": "7"})
    r = copied(api, container, url(api, container, "src"))
    assert (r.get("x-ms-blob-type"), r.get("x-ms-blob-sequence-number")) == ("PageBlob", "7")
    assert r.get("content-length") == str(length) and r.get("x-ms-copy-progress") == f"{length}/{length}"
    assert ranges(api, container, "dst") == ranges(api, container, "src")
    for offset, data in pages:
        got = api("GET", f"/{container}/dst", {"Range": f"bytes={offset}-{offset + len(data) - 1}"})
        assert got.body == data
    if length:
        put_page(api, container, "dst", 0, PAGES[:512])
        assert api("GET", f"/{container}/src", {"Range": "bytes=0-511"}).body == (pages[0][1] if pages and not pages[0][0] else
                                                                                  bytes(512))[:512]


def test_more_ranges_than_one_answer_has(api, container):
    n = 1500
    make_page(api, container, "src", n * 1024, *((i * 1024, PAGES[:512]) for i in range(n)))
    copied(api, container, url(api, container, "src"))
    assert ranges(api, container, "dst") == ranges(api, container, "src") and len(ranges(api, container, "dst")) == n
    assert get(api, container, "dst").body == get(api, container, "src").body


@pytest.mark.parametrize("kind", ["append", "page"])
def test_of_a_snapshot(api, container, kind):
    if kind == "append":
        make_append(api, container, "src", b"old")
    else:
        make_page(api, container, "src", 1024, (0, PAGES[:512]))
    before = get(api, container, "src").body
    moment = api("PUT", f"/{container}/src?comp=snapshot").get("x-ms-snapshot")
    if kind == "append":
        assert api("PUT", f"/{container}/src?comp=appendblock", body=b"new").status == 201
    else:
        put_page(api, container, "src", 0, PAGES[512:1024])
    copied(api, container, url(api, container, "src", f"snapshot={moment}"))
    assert get(api, container, "dst").body == before != get(api, container, "src").body
    # over its own current state: Azure's way of going back
    copied(api, container, url(api, container, "src", f"snapshot={moment}"), name="src")
    assert get(api, container, "src").body == before


def test_types_do_not_mix(api, container):
    make_append(api, container, "append", b"one")
    make_page(api, container, "page", 512)
    api.put_ok(container, "block", b"x")
    for source in ("append", "page", "block"):
        for there in {"append", "page", "block"} - {source}:
            assert_error(copy(api, container, there, url(api, container, source)), 409, "InvalidBlobType")
    for source in ("append", "page"):
        assert_error(copy(api, container, source, url(api, container, source)), 400, "CannotVerifyCopySource", "onto itself")
        r = copy(api, container, "n", url(api, container, source), {"x-ms-access-tier": "Cool"})
        assert_error(r, 400, "AccessTierNotSupportedForBlobType")
    assert not api.exists(container, "n")
    assert copied(api, container, url(api, container, "page"), name="page2").get("x-ms-blob-type") == "PageBlob"
    assert copied(api, container, url(api, container, "page"), name="page2").status == 200  # over one of its type


def test_conditions_and_leases_of_the_destination(api, container):
    make_append(api, container, "src", b"one")
    make_append(api, container, "dst", b"two")
    source = url(api, container, "src")
    assert_error(copy(api, container, "dst", source, {"If-None-Match": "*"}), 409, "BlobAlreadyExists")
    assert_error(copy(api, container, "dst", source, {"If-Match": '"0x1"'}), 412, "ConditionNotMet")
    lease = api("PUT", f"/{container}/dst?comp=lease", {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"})
    assert_error(copy(api, container, "dst", source), 412, "LeaseIdMissing")
    copied(api, container, source, {"x-ms-lease-id": lease.get("x-ms-lease-id")})
    assert get(api, container, "dst").body == b"one"


# ---- from another server, over a restart, and ended early

@pytest.fixture(scope="module")
def source_server():
    s = Server()
    yield s
    assert s.stop() == 0


@pytest.fixture(scope="module")
def reader_server(source_server):
    s = Restartable(f"copy_sources_private:\n  - http://127.0.0.1:{source_server.port}/\n")
    yield s
    assert s.alive(), "".join(s.output)
    assert s.stop() == 0, "".join(s.output)


def test_from_another_server(source_server, reader_server):
    there, here = Api(source_server), Api(reader_server)
    c, box = there.create_container(), here.create_container()
    make_append(there, c, "append", b"one", b"two")
    make_page(there, c, "page", 2 << 20, (512, PAGES[:1024]), (1 << 20, PAGES), headers={"x-ms-blob-sequence-number": "9"})
    for name, kind in (("append", "AppendBlob"), ("page", "PageBlob")):
        r = copied(here, box, url(there, c, name, service_sas(c, name)), name=name)
        assert r.get("x-ms-blob-type") == kind
        assert get(here, box, name).body == get(there, c, name).body
    assert head(here, box, "page").get("x-ms-blob-sequence-number") == "9"
    assert ranges(here, box, "page") == ranges(there, c, "page")
    here.close()
    there.close()


def test_over_a_kill_and_ended_early(reader_server):
    here = Api(reader_server)
    box = here.create_container()
    make_page(here, box, "src", 24 << 20, *((i << 20, bytes([i + 1]) * (1 << 20)) for i in range(24)))
    make_append(here, box, "append", *(bytes([i]) * (4 << 20) for i in range(8)))
    for name in ("src", "append"):
        r = copy(here, box, name + "-copy", url(here, box, name))
        assert (r.status, r.get("x-ms-copy-status")) == (202, "pending"), r
    r = copy(here, box, "ended", url(here, box, "src"))
    assert_error(here("PUT", f"/{box}/ended?comp=page", {"x-ms-page-write": "update", "x-ms-range": "bytes=0-511"},
                      PAGES[:512]), 409, "PendingCopyOperation")
    assert abort(here, box, "ended", r.get("x-ms-copy-id")).status == 204
    r = head(here, box, "ended")
    assert (r.get("x-ms-copy-status"), r.get("content-length"), r.get("x-ms-blob-type")) == ("aborted", "0", "PageBlob")
    here.close()
    reader_server.kill()
    reader_server.start()
    for name in ("src", "append"):
        wait_for(here, box, name + "-copy", "success")
        assert get(here, box, name + "-copy").body == get(here, box, name).body
    assert head(here, box, "ended").get("x-ms-copy-status") == "aborted"
    here.close()
    reader_server.process.terminate()
    assert reader_server.process.wait(30) == 0
    r = reader_server.check()
    assert r.returncode == 0, r.stdout + r.stderr
    reader_server.start()
