"""Find Blobs by Tags, in an account and in a container."""
from urllib.parse import quote

import pytest
from wire import account_sas, assert_error, service_sas


def find(api, where, container=None, more="", **how):
    path = f"/{container}?restype=container&comp=blobs" if container else "?comp=blobs"
    return api("GET", path + ("" if where is None else "&where=" + quote(where, safe="")) + more, **how)


def parse(r):
    assert r.status == 200 and r.get("content-type") == "application/xml", r
    assert r.xml.tag == "EnumerationResults" and r.xml.get("ServiceEndpoint")
    return [(b.findtext("ContainerName"), b.findtext("Name"),
             {t.findtext("Key"): t.findtext("Value") or "" for t in b.find("Tags/TagSet").iter("Tag")})
            for b in r.xml.find("Blobs").iter("Blob")]


@pytest.fixture
def filled(api, container):
    for name, tags in (("a", "Day=1&Kind=x"), ("b", "Day=2&Kind=x"), ("c<&", "Day=3&Kind=y"), ("d", "")):
        api.put_ok(container, name, b"x", {"x-ms-tags": tags + f"&Run={container}" if tags else tags})
    return container


def test_in_a_container(api, filled):
    r = find(api, "\"Kind\" = 'x'", filled)
    assert parse(r) == [(filled, "a", {"Kind": "x"}), (filled, "b", {"Kind": "x"})]
    assert r.xml.findtext("Where") == "\"Kind\" = 'x'" and r.xml.findtext("NextMarker") == ""


def test_in_the_account(api, filled):
    other = api.create_container()
    api.put_ok(other, "e", b"x", {"x-ms-tags": f"Run={filled}"})
    found = parse(find(api, f"Run='{filled}'"))
    assert sorted(f[:2] for f in found) == sorted([(filled, n) for n in ("a", "b", "c<&")] + [(other, "e")])
    assert [f[1] for f in parse(find(api, f"@container='{other}' AND Run='{filled}'"))] == ["e"]
    api("DELETE", f"/{other}?restype=container")
    assert len(parse(find(api, f"Run='{filled}'"))) == 3


@pytest.mark.parametrize("where, names", [
    ("Day>'1'", ["b", "c<&"]), ("Day>='1' AND Day<'3'", ["a", "b"]), ("Day<='2' and Kind='x'", ["a", "b"]),
    ("Kind='y' AND Day>='2'", ["c<&"]), ("Kind='z'", []), ("Day>'9'", []), ("None='1'", []), ("(Day='2')", ["b"])])
def test_expressions(api, filled, where, names):
    assert [n for _, n, _ in parse(find(api, where, filled))] == names
    here = [n for c, n, _ in parse(find(api, f"{where} AND @container='{filled}'")) if c == filled]
    assert here == names


@pytest.mark.parametrize("where, says", [
    ("astring", "at or near character position"), ("Day<>'1'", "at or near character position"),
    ("Day='1' OR Kind='x'", "at or near character position"), ("'Day'='1'", "at or near character position"),
    ("Day='1@'", "not permitted in tag name or value"), ("Day='1", "at or near character position"),
    ("k" * 129 + "='v'", "tag must be between 1 and 128 characters in length"),
    ("k='" + "v" * 257 + "'", "tag value must be between 0 and 256 characters in length"),
    ("Day='1' AND Day='2'", "unless they define a range"), ("Day>'1' AND Day>='2'", "unless they define a range"),
    ("@container='x'", "no tag"), ("@other='x' AND Day='1'", "@container"),
    (" AND ".join(f"k{i}='v'" for i in range(11)), "at most 10 unique tags in a query")])
def test_malformed(api, filled, where, says):
    for container in filled, None:
        r = assert_error(find(api, where, container), 400, "InvalidQueryParameterValue", says)
        assert r.xml.findtext("Message").startswith("Error parsing query")


def test_parameters(api, filled):
    for container in filled, None:
        assert_error(find(api, None, container), 400, "MissingRequiredQueryParameter", "where")
        assert_error(find(api, "Day='1'", container, "&maxresults=0"), 400, "OutOfRangeQueryParameterValue")
        assert_error(find(api, "Day='1'", container, "&maxresults=x"), 400, "InvalidQueryParameterValue")
        assert_error(find(api, "Day='1'", container, "&marker=junk"), 400, "OutOfRangeInput")
        assert_error(find(api, "Day='1'", container, "&include=metadata"), 400, "InvalidQueryParameterValue")
        assert find(api, "Day='1'", container, "&include=versions&maxresults=6000&timeout=30").status == 200
    assert_error(find(api, "Day='1'", "nocontainer"), 404, "ContainerNotFound")


def test_pages(api, container):
    for i in range(25):
        api.put_ok(container, f"b{i:02}", b"", {"x-ms-tags": f"Run={container}"})
    for where in container, None:
        marker, names = "", []
        while True:
            r = find(api, f"Run='{container}'", where, f"&maxresults=10&marker={quote(marker)}")
            page = parse(r)
            assert 1 <= len(page) <= 10
            names += [n for _, n, _ in page]
            marker = r.xml.findtext("NextMarker")
            if not marker:
                break
        assert names == [f"b{i:02}" for i in range(25)]


def test_follows_changes_at_once(api, container):
    def names():
        return [n for _, n, _ in parse(find(api, "State='open'", container))]
    api.put_ok(container, "b", b"x", {"x-ms-tags": "State=open"})
    assert names() == ["b"]
    body = b"<Tags><TagSet><Tag><Key>State</Key><Value>done</Value></Tag></TagSet></Tags>"
    assert api("PUT", f"/{container}/b?comp=tags", body=body).status == 204
    assert names() == []
    api.put_ok(container, "b", b"x", {"x-ms-tags": "State=open"})
    assert names() == ["b"]
    assert api("DELETE", f"/{container}/b").status == 202
    assert names() == []


def test_permissions(api, filled):
    where = "Day='1'"
    for token in account_sas(sp="rwdl", srt="sco"), service_sas(filled, sp="rlt"):
        assert_error(find(api, where, filled, sas=token), 403, "AuthorizationPermissionMismatch")
    for token in account_sas(sp="f"), service_sas(filled, sp="f"):
        assert find(api, where, filled, sas=token).status == 200
    assert find(api, where, sas=account_sas(sp="f")).status == 200
    assert_error(find(api, where, sas=account_sas(sp="rwdlt")), 403, "AuthorizationPermissionMismatch")
    assert_error(find(api, where, filled, sas=account_sas(sp="f", srt="o")), 403, "AuthorizationResourceTypeMismatch")
    assert_error(find(api, where, sign=False), 401, "NoAuthenticationInformation")
    assert_error(find(api, where, filled, sign=False), 401, "NoAuthenticationInformation")
