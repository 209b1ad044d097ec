"""Put Block, Put Block List, Get Block List: ids, sources, documents well formed and not."""
import base64

import pytest
from wire import assert_error, assert_survives, block_id, block_list


def put_block(api, container, n, body, blob="b", **how):
    return api("PUT", f"/{container}/{blob}?comp=block&blockid={n if isinstance(n, str) else block_id(n)}", body=body, **how)


def commit(api, container, body, headers=(), blob="b"):
    if not isinstance(body, bytes):
        body = block_list(*body)
    return api("PUT", f"/{container}/{blob}?comp=blocklist", headers, body)


def blocks(api, container, which="all", blob="b"):
    r = api("GET", f"/{container}/{blob}?comp=blocklist&blocklisttype={which}")
    assert r.status == 200, r
    return {kind: [(b.findtext("Name"), int(b.findtext("Size"))) for b in r.xml.iterfind(f"{kind}/Block")]
            for kind in ("CommittedBlocks", "UncommittedBlocks")}


def test_upload_in_blocks(api, container):
    for n in 1, 2, 3:
        assert put_block(api, container, n, b"%d" % n * n).status == 201
    assert_error(api("GET", f"/{container}/b"), 404, "BlobNotFound")
    r = commit(api, container, [("Latest", block_id(n)) for n in (3, 1, 2)])
    assert r.status == 201 and r.get("etag") and r.get("last-modified")
    assert api("GET", f"/{container}/b").body == b"333122"
    assert blocks(api, container) == {"CommittedBlocks": [(block_id(3), 3), (block_id(1), 1), (block_id(2), 2)],
                                      "UncommittedBlocks": []}


def test_a_block_may_stand_twice(api, container):
    put_block(api, container, 1, b"ab")
    assert commit(api, container, [("Latest", block_id(1))] * 3).status == 201
    assert api("GET", f"/{container}/b").body == b"ababab"


def test_sources(api, container):
    put_block(api, container, 1, b"old1")
    put_block(api, container, 2, b"old2")
    commit(api, container, [("Uncommitted", block_id(1)), ("Uncommitted", block_id(2))])
    put_block(api, container, 1, b"new1")
    put_block(api, container, 3, b"new3")
    r = commit(api, container, [("Committed", block_id(1)), ("Uncommitted", block_id(1)), ("Latest", block_id(1)),
                                ("Latest", block_id(2)), ("Uncommitted", block_id(3))])
    assert r.status == 201, r
    assert api("GET", f"/{container}/b").body == b"old1new1new1old2new3"


@pytest.mark.parametrize("kind, n", [("Latest", 9), ("Committed", 9), ("Uncommitted", 9), ("Uncommitted", 1),
                                     ("Committed", 2)])
def test_block_that_is_not_there(api, container, kind, n):
    put_block(api, container, 1, b"one")
    commit(api, container, [("Latest", block_id(1))])
    put_block(api, container, 2, b"two")
    assert_error(commit(api, container, [(kind, block_id(n))]), 400, "InvalidBlockList")
    assert api("GET", f"/{container}/b").body == b"one"
    assert blocks(api, container)["UncommittedBlocks"] == [(block_id(2), 3)]


def test_commit_discards_what_it_leaves_out(api, container):
    put_block(api, container, 1, b"one")
    put_block(api, container, 2, b"two")
    commit(api, container, [("Latest", block_id(1))])
    assert blocks(api, container)["UncommittedBlocks"] == []
    assert_error(commit(api, container, [("Latest", block_id(2))]), 400, "InvalidBlockList")


def test_put_blob_discards_uncommitted_blocks(api, container):
    put_block(api, container, 1, b"one")
    api.put_ok(container, "b", b"whole")
    assert blocks(api, container) == {"CommittedBlocks": [], "UncommittedBlocks": []}


def test_empty_list_makes_an_empty_blob(api, container):
    assert commit(api, container, []).status == 201
    assert api("GET", f"/{container}/b").body == b""


def test_same_id_replaces(api, container):
    put_block(api, container, 1, b"first")
    put_block(api, container, 1, b"second!")
    assert blocks(api, container)["UncommittedBlocks"] == [(block_id(1), 7)]


@pytest.mark.parametrize("which, committed, uncommitted", [("committed", 1, 0), ("uncommitted", 0, 1), ("all", 1, 1)])
def test_get_block_list_types(api, container, which, committed, uncommitted):
    put_block(api, container, 1, b"one")
    commit(api, container, [("Latest", block_id(1))])
    put_block(api, container, 2, b"two")
    b = blocks(api, container, which)
    assert (len(b["CommittedBlocks"]), len(b["UncommittedBlocks"])) == (committed, uncommitted)


def test_get_block_list_defaults_to_committed(api, container):
    put_block(api, container, 1, b"one")
    r = api("GET", f"/{container}/b?comp=blocklist")
    assert r.status == 200 and r.xml.find(".//Block") is None
    assert_error(api("GET", f"/{container}/missing?comp=blocklist"), 404, "BlobNotFound")


def test_get_block_list_type_refused(api, container):
    put_block(api, container, 1, b"one")
    r = api("GET", f"/{container}/b?comp=blocklist&blocklisttype=some")
    assert_error(r, 400, "InvalidQueryParameterValue", "blocklisttype")


def test_get_block_list_headers(api, container):
    put_block(api, container, 1, b"one")
    assert api("GET", f"/{container}/b?comp=blocklist&blocklisttype=all").get("etag") is None
    commit(api, container, [("Latest", block_id(1))])
    r = api("GET", f"/{container}/b?comp=blocklist&blocklisttype=all")
    assert r.get("x-ms-blob-content-length") == "3" and r.get("etag") and r.get("last-modified")


@pytest.mark.parametrize("raw", [b"1", b"x" * 64, b"\x00\xff\x01", b"a b", "ä".encode()])
def test_block_ids(api, container, raw):
    from urllib.parse import quote
    i = base64.b64encode(raw).decode()
    assert put_block(api, container, quote(i, safe=""), b"data").status == 201
    assert commit(api, container, [("Latest", i)]).status == 201
    assert blocks(api, container)["CommittedBlocks"] == [(i, 4)]


@pytest.mark.parametrize("i", ["A", "AAA", "!!!!", "AA%3D", "QUJD%3D", "%00", base64.b64encode(b"x" * 65).decode()])
def test_block_ids_refused(api, container, i):
    r = put_block(api, container, i, b"data")
    assert_error(r, 400, "InvalidQueryParameterValue", "blockid" if i != "%00" else "NUL")
    assert_error(api("GET", f"/{container}/b?comp=blocklist&blocklisttype=all"), 404, "BlobNotFound")


@pytest.mark.parametrize("query", ["", "&blockid=", "&blockid"])
def test_block_without_id(api, container, query):
    r = api("PUT", f"/{container}/b?comp=block{query}", body=b"data")
    assert_error(r, 400, "MissingRequiredQueryParameter", "blockid")


def test_ids_of_one_blob_have_one_length(api, container):
    put_block(api, container, block_id(1, 4), b"data")
    assert_error(put_block(api, container, block_id(1, 8), b"data"), 400, "InvalidBlobOrBlock")


def test_empty_block(api, container):
    r = put_block(api, container, 1, b"")
    assert_error(r, 400, "InvalidHeaderValue", "Content-Length")


def test_block_into_missing_container(api):
    assert_error(put_block(api, "nosuchcontainer", 1, b"x"), 404, "ContainerNotFound")


@pytest.mark.parametrize("body", [
    b"<?xml version='1.0' encoding='utf-8'?>\r\n<BlockList>\r\n  <Latest>%s</Latest>\r\n</BlockList>\r\n",
    b"\xef\xbb\xbf<BlockList><Latest>%s</Latest></BlockList>",
    b"<BlockList><!-- note --><Latest><![CDATA[%s]]></Latest></BlockList>",
    b"<BlockList><Latest> %s </Latest></BlockList>",
    b"<BlockList xmlns:i='http://www.w3.org/2001/XMLSchema-instance'><Latest>%s</Latest></BlockList>",
], ids=["declaration", "bom", "cdata", "space", "namespace"])
def test_documents_accepted(api, container, body):
    put_block(api, container, 1, b"one")
    r = commit(api, container, body.replace(b"%s", block_id(1).encode()))
    assert r.status == 201, r
    assert api("GET", f"/{container}/b").body == b"one"


DEEP = b"<BlockList>" + b"<Latest>" * 5000 + b"</Latest>" * 5000 + b"</BlockList>"
LAUGHS = b"""<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>""" \
    b"<BlockList><Latest>&b;</Latest></BlockList>"


NOT_XML, NODE, VALUE = "InvalidXmlDocument", "UnsupportedXmlNode", "InvalidXmlNodeValue"


@pytest.mark.parametrize("code, body", [
    (NOT_XML, b""), (NOT_XML, b"x"), (NOT_XML, b"<"), (NOT_XML, b"<BlockList>"),
    (NOT_XML, b"<BlockList><Latest>AAAA</BlockList>"), (NOT_XML, b"<BlockList/><BlockList/>"), (NOT_XML, b"{}"),
    (NODE, b"<Other/>"), (NODE, b"<BlockList><Unknown>AAAA</Unknown></BlockList>"),
    (VALUE, b"<BlockList><Latest/></BlockList>"), (VALUE, b"<BlockList><Latest>!!!!</Latest></BlockList>"),
    (NOT_XML, b"<BlockList>text</BlockList>"), (NOT_XML, LAUGHS), (NODE, DEEP),
    (NOT_XML, b"<?xml version='1.0' encoding='utf-8'?><BlockList><Latest>\xff\xfe</Latest></BlockList>"),
    (NOT_XML, b"<BlockList><Latest>A\x00AA</Latest></BlockList>"),
    (NOT_XML, b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><BlockList/>"),
    (VALUE, b"<BlockList><Latest>" + base64.b64encode(b"x" * 65) + b"</Latest></BlockList>"),
], ids=["empty", "text", "torn", "open", "mismatched", "two roots", "json", "other root", "unknown child", "empty id",
        "bad base64", "stray text", "entities", "deep", "bad utf-8", "nul", "doctype", "long id"])
def test_malformed_documents(api, container, connection, code, body):
    put_block(api, container, 1, b"one")
    connection.send(api.build("PUT", f"/{container}/b?comp=blocklist", body=body))
    r = connection.read()
    assert_error(r, 400, code)
    assert "root:" not in r.text
    assert_survives(api, connection, r)
    assert not api.exists(container, "b")
    assert blocks(api, container)["UncommittedBlocks"] == [(block_id(1), 3)]


def test_properties_with_the_list(api, container):
    put_block(api, container, 1, b"one")
    commit(api, container, [("Latest", block_id(1))], {
        "x-ms-blob-content-type": "text/x-a", "x-ms-blob-content-language": "de", "x-ms-blob-content-encoding": "gzip",
        "x-ms-blob-cache-control": "no-cache", "x-ms-blob-content-disposition": "inline", "x-ms-meta-k": "v"})
    r = api("HEAD", f"/{container}/b")
    assert [r.get(n) for n in ("content-type", "content-language", "content-encoding", "cache-control",
                               "content-disposition")] == ["text/x-a", "de", "gzip", "no-cache", "inline"]
    assert r.metadata == {"k": "v"}


def test_many_blocks(api, container):
    for n in range(300):
        assert put_block(api, container, n, b"%03d" % n).status == 201
    assert commit(api, container, [("Latest", block_id(n)) for n in range(300)]).status == 201
    assert api("GET", f"/{container}/b").body == b"".join(b"%03d" % n for n in range(300))
    assert len(blocks(api, container)["CommittedBlocks"]) == 300


def test_list_longer_than_fifty_thousand(api, container):
    put_block(api, container, 1, b"x")
    assert commit(api, container, [("Latest", block_id(1))] * 50000).status == 201
    assert api("HEAD", f"/{container}/b").get("content-length") == "50000"
    r = commit(api, container, [("Latest", block_id(1))] * 50001)
    assert_error(r, 400, "BlockListTooLong")


def test_uncommitted_blob_in_listings(api, container):
    put_block(api, container, 1, b"x")
    assert api.list(container).xml.find(".//Blob") is None
    e = api.list(container, "&include=uncommittedblobs").xml.find(".//Blob")
    assert e.findtext("Name") == "b" and e.findtext("Properties/Content-Length") == "0"
