"""List Blobs, flat and by hierarchy; List Containers: pages, markers, prefixes, limits."""
from urllib.parse import quote

import pytest
from wire import ACCOUNT, assert_error


def names(r):
    return [e.text for e in r.xml.iterfind(".//Blob/Name")]


def prefixes(r):
    return [e.text for e in r.xml.iterfind(".//BlobPrefix/Name")]


def pages(api, container, query, size):
    """All pages: lists of (prefixes, names)."""
    marker, out = "", []
    while True:
        r = api.list(container, f"{query}&maxresults={size}" + (f"&marker={quote(marker, safe='')}" if marker else ""))
        out.append((prefixes(r), names(r)))
        marker = r.xml.findtext("NextMarker")
        if not marker:
            return out
        assert len(out) < 1000


@pytest.fixture
def tree(api, container):
    for n in ["a", "a/1", "a/2", "a/b/3", "b", "c/1", "c0", "d/", "ä", "Z"]:
        api.put_ok(container, n, n.encode())
    return container


def test_order_is_by_bytes(api, tree):
    assert names(api.list(tree)) == ["Z", "a", "a/1", "a/2", "a/b/3", "b", "c/1", "c0", "d/", "ä"]


@pytest.mark.parametrize("prefix, want", [("", 10), ("a", 4), ("a/", 3), ("a/b", 1), ("c", 2), ("nothing", 0), ("ä", 1)])
def test_prefix(api, tree, prefix, want):
    r = api.list(tree, f"&prefix={quote(prefix)}")
    assert len(names(r)) == want
    assert (r.xml.findtext("Prefix") or "") == prefix


def test_hierarchy(api, tree):
    r = api.list(tree, "&delimiter=/")
    assert (prefixes(r), names(r)) == (["a/", "c/", "d/"], ["Z", "a", "b", "c0", "ä"])
    r = api.list(tree, "&delimiter=/&prefix=a/")
    assert (prefixes(r), names(r)) == (["a/b/"], ["a/1", "a/2"])
    assert r.xml.findtext("Delimiter") == "/"


def test_hierarchy_order_mixes_blobs_and_prefixes(api, tree):
    r = api.list(tree, "&delimiter=/")
    assert [e.findtext("Name") for e in r.xml.find("Blobs")] == ["Z", "a", "a/", "b", "c/", "c0", "d/", "ä"]


@pytest.mark.parametrize("delimiter, want", [("1", ["a/1", "c/1"]), ("/b/", ["a/b/"])])
def test_other_delimiters(api, tree, delimiter, want):
    assert prefixes(api.list(tree, f"&delimiter={quote(delimiter)}")) == want


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 5000])
@pytest.mark.parametrize("query", ["", "&prefix=a", "&delimiter=/", "&delimiter=/&prefix=a/"])
def test_pages_join_to_the_whole(api, tree, query, size):
    whole = api.list(tree, query)
    got = pages(api, tree, query, size)
    assert [n for _, page in got for n in page] == names(whole)
    assert [p for page, _ in got for p in page] == prefixes(whole)
    assert all(len(p) + len(n) <= size for p, n in got)


def test_marker_is_echoed(api, tree):
    r = api.list(tree, "&maxresults=2")
    marker = r.xml.findtext("NextMarker")
    assert marker
    r = api.list(tree, f"&maxresults=2&marker={quote(marker, safe='')}")
    assert r.xml.findtext("Marker") == marker and r.xml.findtext("MaxResults") == "2"


def test_marker_survives_changes_around_it(api, tree):
    marker = api.list(tree, "&maxresults=3").xml.findtext("NextMarker")  # after Z, a, a/1
    api("DELETE", f"/{tree}/a/2")
    api.put_ok(tree, "a/1x", b"")
    got = names(api.list(tree, f"&marker={quote(marker, safe='')}"))
    assert got[-1] == "ä" and "a/1" not in got and "a/b/3" in got


@pytest.mark.parametrize("marker", ["garbage", "AAAA", "a/1", "!" * 2000])
def test_marker_that_we_did_not_make(api, tree, marker):
    r = api("GET", f"/{tree}?restype=container&comp=list&marker={quote(marker)}")
    assert_error(r, 400, "OutOfRangeInput", "marker")


def test_no_marker_at_the_end(api, tree):
    r = api.list(tree, "&maxresults=10")
    assert len(names(r)) == 10 and not r.xml.findtext("NextMarker")


@pytest.mark.parametrize("value, code", [("0", "OutOfRangeQueryParameterValue")] + [
    (v, "InvalidQueryParameterValue") for v in ("-1", "x", "1.5", "", "99999999999999999999")])
@pytest.mark.parametrize("path", ["/?comp=list", "/{c}?restype=container&comp=list"])
def test_maxresults_refused(api, container, path, value, code):
    r = api("GET", path.format(c=container) + f"&maxresults={value}")
    assert_error(r, 400, code, "maxresults")


@pytest.mark.parametrize("value", ["1", "5000", "5001", "100000"])
def test_maxresults_accepted(api, tree, value):
    r = api.list(tree, f"&maxresults={value}")
    assert len(names(r)) == min(int(value), 10)


@pytest.mark.parametrize("query", ["&include=everything", "&include=metadata,nonsense"])
def test_include_refused(api, container, query):
    r = api("GET", f"/{container}?restype=container&comp=list{query}")
    assert_error(r, 400, "InvalidQueryParameterValue", "include")


def test_properties_of_an_entry(api, container):
    put = api.put_ok(container, "b", b"hello", {
        "x-ms-blob-content-type": "text/plain", "x-ms-blob-content-language": "de", "x-ms-blob-cache-control": "no-cache",
        "x-ms-blob-content-disposition": "inline; filename=\"a&b\"", "x-ms-blob-content-encoding": "identity"})
    p = api.list(container).xml.find(".//Blob/Properties")
    got = {e.tag: e.text for e in p}
    assert got["Content-Length"] == "5" and got["BlobType"] == "BlockBlob"
    assert got["Content-Type"] == "text/plain" and got["Content-Language"] == "de"
    assert got["Cache-Control"] == "no-cache" and got["Content-Disposition"] == 'inline; filename="a&b"'
    assert got["Content-Encoding"] == "identity" and got["Content-MD5"] == put.get("content-md5")
    assert got["Last-Modified"] == put.get("last-modified") and got["Creation-Time"]
    assert got["AccessTier"] == "Hot" and got["LeaseStatus"] == "unlocked" and got["LeaseState"] == "available"
    assert got["ServerEncrypted"] == "true"


def test_root_of_a_listing(api, server, tree):
    x = api.list(tree, "&prefix=a&maxresults=3").xml
    assert x.tag == "EnumerationResults"
    assert x.get("ServiceEndpoint") == f"http://127.0.0.1:{server.port}/{ACCOUNT}/" or \
        x.get("ServiceEndpoint") == f"http://127.0.0.1:{server.port}/{ACCOUNT}"
    assert x.get("ContainerName") == tree


def test_start_from(api, tree):
    assert names(api.list(tree, "&startFrom=b")) == ["b", "c/1", "c0", "d/", "ä"]


def test_missing_container(api):
    assert_error(api("GET", "/nosuchcontainer?restype=container&comp=list"), 404, "ContainerNotFound")


def test_prefix_with_xml_in_it(api, container):
    api.put_ok(container, "<&>\"'/x", b"")
    r = api.list(container, f"&prefix={quote('<&>')}&delimiter=/")
    assert r.xml.findtext("Prefix") == "<&>" and prefixes(r) == ["<&>\"'/"]


def test_page_of_a_thousand(api, container):
    for i in range(1000):
        api.put_ok(container, f"n{i:04}")
    got = pages(api, container, "", 333)
    assert [len(n) for _, n in got] == [333, 333, 333, 1]
    assert [n for _, page in got for n in page] == [f"n{i:04}" for i in range(1000)]


# ---- List Containers

def containers(r):
    return [e.text for e in r.xml.iterfind(".//Container/Name")]


@pytest.fixture
def five(api):
    made = [api.create_container(f"listing-{n}", {"x-ms-meta-n": n}) for n in "abcde"]
    yield made
    for n in made:
        api("DELETE", f"/{n}?restype=container")


def test_list_containers(api, five):
    r = api("GET", "/?comp=list&prefix=listing-")
    assert containers(r) == five and r.xml.findtext("Prefix") == "listing-"
    p = {e.tag: e.text for e in r.xml.find(".//Container/Properties")}
    assert p["Last-Modified"] and p["Etag"] and p["LeaseState"] == "available" and p["LeaseStatus"] == "unlocked"


@pytest.mark.parametrize("size", [1, 2, 5])
def test_list_containers_in_pages(api, five, size):
    marker, got = "", []
    while True:
        r = api("GET", f"/?comp=list&prefix=listing-&maxresults={size}" + (f"&marker={quote(marker)}" if marker else ""))
        assert r.status == 200 and len(containers(r)) <= size
        got += containers(r)
        marker = r.xml.findtext("NextMarker")
        if not marker:
            break
    assert got == five


def test_list_containers_with_metadata(api, five):
    r = api("GET", "/?comp=list&prefix=listing-a&include=metadata")
    assert r.xml.findtext(".//Container/Metadata/n") == "a"
    assert api("GET", "/?comp=list&prefix=listing-a").xml.find(".//Metadata") is None


def test_path_with_and_without_slash(api, five):
    assert containers(api("GET", "?comp=list&prefix=listing-")) == five
