"""Names of containers and blobs at their edges, and how they travel in URLs."""
from urllib.parse import quote

import pytest
from wire import Connection, assert_error, service_sas


@pytest.mark.parametrize("name", ["abc", "a1b", "1-2-3", "a" * 63, "123", "$root", "$web"])
def test_container_names(api, name):
    r = api("PUT", f"/{name}?restype=container")
    assert r.status == 201, r
    assert api("DELETE", f"/{name}?restype=container").status == 202


@pytest.mark.parametrize("name, code", [
    ("a", "OutOfRangeInput"), ("ab", "OutOfRangeInput"), ("a" * 64, "OutOfRangeInput"), ("Abc", "InvalidResourceName"),
    ("a_b", "InvalidResourceName"), ("a--b", "InvalidResourceName"), ("-abc", "InvalidResourceName"),
    ("abc-", "InvalidResourceName"), ("a.b", "InvalidResourceName"), ("a%20b", "InvalidResourceName"),
    ("%C3%A4bc", "InvalidResourceName"), ("$other", "InvalidResourceName"), ("abc%0A", "InvalidResourceName")])
def test_container_names_refused(api, name, code):
    assert_error(api("PUT", f"/{name}?restype=container"), 400, code, "3 to 63 lower-case letters")


def test_container_name_with_nul(api):
    assert_error(api("PUT", "/a%00b?restype=container"), 400, "InvalidUri", "NUL")


def listed(api, container):
    return [e.text for e in api.list(container).xml.iterfind(".//Blob/Name")]


@pytest.mark.parametrize("name", [
    "a", "a/b/c", "with space", "plus+plus", "per%cent", "hash#", "question?", "ä/ö/ü", "日本語", "🙂", "a=b&c", "semi;colon",
    "quote'\"", "<tag>&amp;", "~tilde", "a//b", "/lead", "trail/", "dot.", "..", "a/../b", "./x", "%2F",
    "a:b", "{}", "[]", "e\u0301", "tab\tname", "z" * 1024])
def test_blob_names(api, container, name):
    api.put_ok(container, name, b"x")
    r = api("GET", f"/{container}/{quote(name, safe='')}")
    assert r.body == b"x", r
    assert listed(api, container) == [name]
    assert api("DELETE", f"/{container}/{quote(name, safe='')}").status == 202
    assert listed(api, container) == []


def test_backslash_is_a_slash(api, container):
    """As on Azure, in an address; nowhere else."""
    api.put_ok(container, "back\\slash", b"x")
    assert listed(api, container) == ["back/slash"]
    assert api("GET", f"/{container}/back/slash", sas=service_sas(container, "back/slash")).body == b"x"
    assert api("GET", f"/{container}/back%5Cslash", sas=service_sas(container, "back/slash")).body == b"x"


def test_encoded_slash_is_a_slash(api, container):
    api.put_ok(container, "a/b", b"x")
    assert api("GET", f"/{container}/a%2Fb").body == b"x"
    assert api("GET", f"/{container}/a%2fb").body == b"x"


def test_unneeded_encoding_means_the_same_name(api, container):
    api.put_ok(container, "abc", b"x")
    assert api("GET", f"/{container}/%61b%63").body == b"x"


def test_plus_in_a_path_is_a_plus(api, container):
    api.put_ok(container, "a+b", b"x")
    assert api("GET", f"/{container}/a+b").body == b"x"
    assert api("GET", f"/{container}/a%20b").status == 404


def test_dots_never_leave_the_container(api, container):
    other = api.create_container()
    api.put_ok(other, "secret", b"s")
    for path in f"/{container}/../{other}/secret", f"/{container}/%2e%2e/{other}/secret", f"/{container}/..%2f{other}/secret":
        r = api("GET", path)
        assert r.status in (400, 404), r


def test_names_are_not_normalized(api, container):
    """e + combining acute and é are two names."""
    api.put_ok(container, "e\u0301", b"1")
    api.put_ok(container, "\u00e9", b"2")
    assert api("GET", f"/{container}/{quote(chr(0xe9))}").body == b"2"
    assert len(listed(api, container)) == 2


@pytest.mark.parametrize("chars, fine", [(["a"] * 1024, True), (["a"] * 1025, False), (["ä"] * 1024, True),
                                         (["ä"] * 1025, False), (["🙂"] * 512, True), (["🙂"] * 513, False),
                                         (["日"] * 800, True)])
def test_length_counts_utf16_units(api, container, chars, fine):
    name = "".join(chars)
    r = api.put(container, name, b"x")
    if fine:
        assert r.status == 201, r
        assert api("GET", f"/{container}/{quote(name)}").body == b"x"
    else:
        assert_error(r, 400, "InvalidResourceName", "1024")


@pytest.mark.parametrize("segments, fine", [(254, True), (255, False)])
def test_path_segments(api, container, segments, fine):
    r = api.put(container, "/".join("s" * segments), b"x")
    assert r.status == (201 if fine else 400), r


@pytest.mark.parametrize("path", [
    "a%C0%AFb",       # over-long '/'
    "a%E0%80%AF",     # over-long '/'
    "a%C1%81",        # over-long 'A'
    "a%FF",           # never in UTF-8
    "a%80",           # continuation without a start
    "a%ED%A0%80",     # surrogate
    "a%F4%90%80%80",  # beyond U+10FFFF
    "a%F0%9F%99",     # torn
    "a%00b", "%00",   # NUL
    "a%zz", "a%", "a%1", "%", "a%G0",
])
def test_malformed_names(api, container, path):
    r = api("PUT", f"/{container}/{path}", {"x-ms-blob-type": "BlockBlob"}, b"x")
    assert_error(r, 400, "InvalidUri", "the path")
    assert listed(api, container) == []


def test_raw_utf8_in_the_target(api, container, server):
    """Not a URI, but some clients send it: taken as the name or refused, never something else."""
    with Connection(server.port) as c:
        target = f"/devstoreaccount1/{container}/".encode() + "ä".encode()
        c.send(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.read().status in (400, 403, 404)


@pytest.mark.parametrize("name", ["\x01", "a\x1fb", "\ufffe", "a\rb", "a\nb", "\x7f"])
def test_names_xml_cannot_carry(api, container, name):
    """Listed percent-encoded with Encoded="true" where XML has no way to say them; never a broken document."""
    api.put_ok(container, name, b"x")
    e = api.list(container).xml.find(".//Blob/Name")
    assert e.text == name or (e.get("Encoded") == "true" and e.text == quote(name, safe="")), e.text
    assert api("GET", f"/{container}/{quote(name, safe='')}").body == b"x"


def test_missing_container(api):
    for method in "GET", "DELETE", "PUT":
        headers = {"x-ms-blob-type": "BlockBlob"} if method == "PUT" else {}
        assert_error(api(method, "/nosuchcontainer/b", headers), 404, "ContainerNotFound")
    assert_error(api("HEAD", "/nosuchcontainer/b"), 404, "ContainerNotFound", head=True)


def test_root_container(api):
    """Without a container in the URL, the blob is in $root."""
    api.create_container("$root")
    try:
        api.put_ok("$root", "in-root.txt", b"r")
        assert api("GET", "/in-root.txt").body == b"r"
    finally:
        assert api("DELETE", "/$root?restype=container").status == 202
