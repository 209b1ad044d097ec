"""Metadata: names, values, limits at their edges."""
import pytest
from wire import assert_error

TOTAL = 8192


def put(api, container, metadata):
    return api.put(container, "b", b"x", {f"x-ms-meta-{n}": v for n, v in metadata.items()})


def spread(total, parts=4):
    """Metadata whose names and values hold exactly `total` bytes, in a few headers."""
    each = total // parts
    out = {f"n{i}": "v" * (each - 2) for i in range(parts)}
    out["n0"] += "v" * (total - each * parts)
    assert sum(len(n) + len(v) for n, v in out.items()) == total
    return out


@pytest.mark.parametrize("metadata", [{"a": "1"}, {"a": ""}, {"_": "x"}, {"a1_b": "two  spaces"}, {"A": "Case", "b": "c"},
                                      {"long" * 10: "v" * 500}, {"quotes": "\"'<&>"}, {"sep": "a,b;c=d"}])
def test_comes_back(api, container, metadata):
    assert put(api, container, metadata).status == 201
    for method, path in ("GET", ""), ("HEAD", ""), ("GET", "?comp=metadata"), ("HEAD", "?comp=metadata"):
        r = api(method, f"/{container}/b{path}")
        assert r.metadata == {n.lower(): v for n, v in metadata.items()}


def test_case_of_names_is_kept(api, container):
    put(api, container, {"MixedCase": "1"})
    r = api("GET", f"/{container}/b")
    assert "x-ms-meta-MixedCase" in [n for n, _ in r.headers]


def test_set_metadata_replaces_all(api, container):
    put(api, container, {"a": "1", "b": "2"})
    assert api("PUT", f"/{container}/b?comp=metadata", {"x-ms-meta-c": "3"}).status == 200
    assert api("HEAD", f"/{container}/b").metadata == {"c": "3"}
    assert api("PUT", f"/{container}/b?comp=metadata").status == 200
    assert api("HEAD", f"/{container}/b").metadata == {}
    assert api("GET", f"/{container}/b").body == b"x"


@pytest.mark.parametrize("name", ["1a", "a-b", "a.b", "a!", "é".encode().decode("latin-1")])
def test_names_are_identifiers(api, container, name):
    r = put(api, container, {name: "x"})
    assert_error(r, 400, "InvalidMetadata" if name.isascii() else "InvalidHeaderValue")
    assert not api.exists(container, "b")


def test_empty_name(api, container):
    assert_error(api.put(container, "b", b"x", {"x-ms-meta-": "x"}), 400, "EmptyMetadataKey")


def test_same_name_in_two_cases(api, container):
    r = api("PUT", f"/{container}/b", [("x-ms-blob-type", "BlockBlob"), ("x-ms-meta-a", "1"), ("X-MS-META-A", "2")])
    assert r.status in (201, 400), r
    if r.status == 201:
        assert api("HEAD", f"/{container}/b").metadata == {"a": "1,2"}


def test_exactly_eight_kibibytes(api, container):
    m = spread(TOTAL)
    assert put(api, container, m).status == 201
    assert api("HEAD", f"/{container}/b").metadata == m
    r = api("PUT", f"/{container}?restype=container&comp=metadata", {f"x-ms-meta-{n}": v for n, v in m.items()})
    assert r.status == 200, r


def test_one_byte_more(api, container):
    m = spread(TOTAL + 1)
    assert_error(put(api, container, m), 400, "MetadataTooLarge")
    assert not api.exists(container, "b")
    headers = {f"x-ms-meta-{n}": v for n, v in m.items()}
    assert_error(api("PUT", f"/{container}?restype=container&comp=metadata", headers), 400, "MetadataTooLarge")
    api.put_ok(container, "b", b"x", {"x-ms-meta-old": "1"})
    assert_error(api("PUT", f"/{container}/b?comp=metadata", headers), 400, "MetadataTooLarge")
    assert api("HEAD", f"/{container}/b").metadata == {"old": "1"}


def test_many_small_ones(api, container):
    m = {f"n{i}": str(i) for i in range(200)}
    assert put(api, container, m).status == 201
    assert api("HEAD", f"/{container}/b").metadata == m


def test_metadata_of_containers(api):
    c = api.create_container(headers={"x-ms-meta-owner": "records office"})
    for path in "", "&comp=metadata":
        for method in "GET", "HEAD":
            assert api(method, f"/{c}?restype=container{path}").metadata == {"owner": "records office"}


def test_metadata_in_listing(api, container):
    put(api, container, {"Note": "a<b&\"c\""})
    blob = api.list(container, "&include=metadata").xml.find(".//Blob/Metadata")
    assert [(e.tag, e.text) for e in blob] == [("Note", 'a<b&"c"')]
    assert api.list(container).xml.find(".//Blob/Metadata") is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_metadata_of_what_is_not_there(api, container, method):
    head = method == "HEAD"
    assert_error(api(method, f"/{container}/b?comp=metadata"), 404, "BlobNotFound", head=head)
    assert_error(api(method, "/nothere?restype=container&comp=metadata"), 404, "ContainerNotFound", head=head)


# ---- Set Blob Properties ---------------------------------------------------------------------------------------

def test_properties_replace_all(api, container):
    """"Set Blob Properties": "If one or more properties are set for the blob, any properties that aren't specified are
    cleared"; content and metadata stay."""
    api.put_ok(container, "b", b"x", {"x-ms-blob-content-type": "text/a", "x-ms-blob-content-language": "de",
                                      "x-ms-meta-kept": "1"})
    etag = api("HEAD", f"/{container}/b").get("etag")
    r = api("PUT", f"/{container}/b?comp=properties", {
        "x-ms-blob-content-type": "text/b", "x-ms-blob-content-encoding": "gzip", "x-ms-blob-cache-control": "no-cache",
        "x-ms-blob-content-disposition": "inline"})
    assert r.status == 200 and r.get("etag") != etag and r.get("last-modified")
    r = api("GET", f"/{container}/b")
    assert r.body == b"x" and r.metadata == {"kept": "1"}
    assert [r.get(n) for n in ("content-type", "content-language", "content-encoding", "cache-control",
                               "content-disposition")] == ["text/b", None, "gzip", "no-cache", "inline"]


def test_properties_refused(api, container):
    assert_error(api("PUT", f"/{container}/b?comp=properties", {"x-ms-blob-content-type": "a/b"}), 404, "BlobNotFound")
    api.put_ok(container, "b", b"x", {"x-ms-blob-content-type": "text/a"})
    for headers, status, code in (({"x-ms-blob-content-md5": "x"}, 400, "InvalidMd5"),
                                  ({"If-Match": '"0x8D0000000000000"'}, 412, "ConditionNotMet")):
        assert_error(api("PUT", f"/{container}/b?comp=properties", headers), status, code)
    assert api("HEAD", f"/{container}/b").get("content-type") == "text/a"
