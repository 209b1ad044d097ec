"""Blob index tags: Set and Get Blob Tags, x-ms-tags, x-ms-if-tags, counts and listings."""
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from wire import account_sas, assert_error, block_id, block_list, http_date, service_sas


def document(*pairs):
    return ("<?xml version='1.0' encoding='utf-8'?><Tags><TagSet>" + "".join(
        f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in pairs) + "</TagSet></Tags>").encode()


def parse(element):
    return {t.findtext("Key"): t.findtext("Value") or "" for t in element.iter("Tag")}


def set_tags(api, path, *pairs, headers=(), **how):
    return api("PUT", path + "?comp=tags", headers, document(*pairs), **how)


def tags_of(api, path):
    r = api("GET", path + "?comp=tags")
    assert r.status == 200, r
    assert r.get("content-type") == "application/xml"
    assert r.xml.tag == "Tags" and r.xml.find("TagSet") is not None
    return parse(r.xml)


@pytest.fixture
def blob(api, container):
    api.put_ok(container, "b", b"hello", {"x-ms-tags": "Status=Done&Date=2020-04-20"})
    return f"/{container}/b"


def test_set_get(api, blob):
    before = api("HEAD", blob)
    r = set_tags(api, blob, ("b", "2"), ("a", "1"), ("empty", ""))
    assert (r.status, r.body) == (204, b"")
    assert tags_of(api, blob) == {"a": "1", "b": "2", "empty": ""}
    after = api("HEAD", blob)
    assert (after.get("etag"), after.get("last-modified")) == (before.get("etag"), before.get("last-modified"))
    assert api("GET", blob).body == b"hello"
    assert set_tags(api, blob).status == 204
    assert tags_of(api, blob) == {}


def test_spaces_at_the_ends_are_kept(api, blob):
    assert set_tags(api, blob, (" key 1 +-.:=_/", " v ")).status == 204
    assert tags_of(api, blob) == {" key 1 +-.:=_/": " v "}


def test_count(api, container, blob):
    for method in "GET", "HEAD":
        assert api(method, blob).get("x-ms-tag-count") == "2"
    set_tags(api, blob)
    assert api("GET", blob).get("x-ms-tag-count") is None


@pytest.mark.parametrize("header, expected", [
    ("a=1", {"a": "1"}), ("a=1&b=", {"a": "1", "b": ""}), ("a%20b=c%3Dd", {"a b": "c=d"}), ("a=b+c", {"a": "b c"}),
    ("a=1=2", {"a": "1=2"}), ("%2B=%2F", {"+": "/"}), ("", {})])
def test_header_of_put_blob(api, container, header, expected):
    api.put_ok(container, "b", b"x", {"x-ms-tags": header})
    assert tags_of(api, f"/{container}/b") == expected


def test_header_of_put_block_list(api, container):
    path = f"/{container}/b"
    assert api("PUT", path + f"?comp=block&blockid={block_id(1)}", body=b"new").status == 201
    r = api("PUT", path + "?comp=blocklist", {"x-ms-tags": "a=1"}, block_list(("Latest", block_id(1))))
    assert r.status == 201, r
    assert tags_of(api, path) == {"a": "1"}


def test_new_content_has_its_own_tags(api, container, blob):
    api.put_ok(container, "b", b"new")
    assert tags_of(api, blob) == {}


@pytest.mark.parametrize("operation", ["metadata", "properties"])
def test_changes_of_properties_keep_them(api, blob, operation):
    assert api("PUT", f"{blob}?comp={operation}", {"x-ms-meta-a": "1"}).status == 200
    assert tags_of(api, blob) == {"Status": "Done", "Date": "2020-04-20"}


LONG_KEY, LONG_VALUE = "k" * 129, "v" * 257


@pytest.mark.parametrize("tags, code", [
    ([(f"k{i}", "v") for i in range(11)], "TagsTooLarge"), ([(LONG_KEY, "v")], "TagsTooLarge"),
    ([("k", LONG_VALUE)], "TagsTooLarge"), ([("", "v")], "EmptyTagName"), ([("k", "v*")], "InvalidTag"),
    ([("k@", "v")], "InvalidTag"), ([("k", "\u00e4")], "InvalidTag"), ([("k", "a\nb")], "InvalidTag"),
    ([("k", "1"), ("k", "2")], "DuplicateTagNames")])
def test_refused_tags(api, container, blob, tags, code):
    assert_error(set_tags(api, blob, *tags), 400, code)
    assert tags_of(api, blob) == {"Status": "Done", "Date": "2020-04-20"}
    header = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in tags)
    assert_error(api.put(container, "c", b"x", {"x-ms-tags": header}), 400, code)
    assert not api.exists(container, "c")


def test_as_large_as_they_may_be(api, container, blob):
    tags = [("k" * 127 + str(i), "v" * 256) for i in range(10)]
    assert set_tags(api, blob, *tags).status == 204
    assert tags_of(api, blob) == dict(tags)
    header = "&".join(f"{k}={v}" for k, v in tags)
    api.put_ok(container, "c", b"x", {"x-ms-tags": header})
    assert tags_of(api, f"/{container}/c") == dict(tags)


@pytest.mark.parametrize("header", ["a", "a=1&", "a=%", "a=%G1", "=&b"])
def test_malformed_header(api, container, header):
    r = api.put(container, "c", b"x", {"x-ms-tags": header})
    assert r.status == 400 and r.code in ("InvalidHeaderValue", "EmptyTagName"), r


@pytest.mark.parametrize("body, code", [
    (b"", "InvalidXmlDocument"), (b"<Tags>", "InvalidXmlDocument"), (b"<Tags/>", "MissingRequiredXmlNode"),
    (b"<TagSet/>", "UnsupportedXmlNode"), (b"<Tags><Tag/></Tags>", "UnsupportedXmlNode"),
    (b"<Tags><TagSet><Tag><Key>a</Key></Tag></TagSet></Tags>", "MissingRequiredXmlNode"),
    (b"<Tags><TagSet><Tag><Value>a</Value></Tag></TagSet></Tags>", "MissingRequiredXmlNode"),
    (b"<Tags><TagSet><Tag><Key>a</Key><Key>b</Key><Value>a</Value></Tag></TagSet></Tags>", "InvalidXmlDocument"),
    (b"<Tags><TagSet>x<Tag><Key>a</Key><Value>a</Value></Tag></TagSet></Tags>", "InvalidXmlDocument"),
    (b"<Tags><TagSet><Tag><Name>a</Name><Value>a</Value></Tag></TagSet></Tags>", "UnsupportedXmlNode"),
    (b"<!DOCTYPE x><Tags><TagSet/></Tags>", "InvalidXmlDocument")])
def test_malformed_document(api, blob, body, code):
    assert_error(api("PUT", blob + "?comp=tags", body=body), 400, code)
    assert tags_of(api, blob) == {"Status": "Done", "Date": "2020-04-20"}


def test_checksum_of_the_document(api, blob):
    assert_error(set_tags(api, blob, ("a", "1"), headers={"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}), 400,
                 "Md5Mismatch")
    assert tags_of(api, blob) == {"Status": "Done", "Date": "2020-04-20"}


def test_of_nothing(api, container):
    assert_error(api("GET", f"/{container}/none?comp=tags"), 404, "BlobNotFound")
    assert_error(set_tags(api, f"/{container}/none", ("a", "1")), 404, "BlobNotFound")
    assert_error(api("GET", "/nocontainer/none?comp=tags"), 404, "ContainerNotFound")


def test_where_they_do_not_go(api, container, blob):
    r = api("PUT", f"{blob}?comp=metadata", {"x-ms-tags": "a=1"})
    assert_error(r, 400, "UnsupportedHeader", "x-ms-tags")
    r = api("GET", f"/{container}?restype=container", {"x-ms-if-tags": "a='1'"})
    assert_error(r, 400, "UnsupportedHeader", "x-ms-if-tags")
    assert_error(api("DELETE", blob + "?comp=tags"), 405, "UnsupportedHttpVerb")


# ---- conditions ----------------------------------------------------------------------------------------------------

MET = ["Status='Done'", "\"Status\" = 'Done' AND Date >= '2020' AND Date < '2021'", "Status<>'x' OR Other='y'",
       "(Other='x' OR Status='Done') AND Date<>''"]
NOT_MET = ["Status='done'", "Other<>'x'", "Status='Done' AND Date>'2021'"]
MALFORMED = ["", "adfec", "Status==Done", "key+1='v'", "key--1='v'", "Status='$'", "@container='x'", "Status='Done' AND",
             "('Status'='Done')", "(Status='Done'", "NOT Status='Done'"]


@pytest.mark.parametrize("method, query", [("GET", ""), ("HEAD", ""), ("GET", "?comp=metadata"), ("GET", "?comp=tags"),
                                           ("GET", "?comp=blocklist")])
def test_reading(api, blob, method, query):
    for text in MET:
        assert api(method, blob + query, {"x-ms-if-tags": text}).status == 200, text
    for text in NOT_MET:
        assert_error(api(method, blob + query, {"x-ms-if-tags": text}), 412, "ConditionNotMet", head=method == "HEAD")
    for text in MALFORMED:
        assert_error(api(method, blob + query, {"x-ms-if-tags": text}), 400, "InvalidHeaderValue", head=method == "HEAD")


@pytest.mark.parametrize("operation", ["put", "metadata", "properties", "tags", "blocklist", "delete"])
def test_writing(api, container, blob, operation):
    def write(text):
        headers = {"x-ms-if-tags": text}
        if operation == "put":
            return api.put(container, "b", b"new", headers)
        if operation == "blocklist":
            return api("PUT", blob + "?comp=blocklist", headers, block_list(("Latest", block_id(1))))
        if operation == "tags":
            return set_tags(api, blob, ("x", "y"), headers=headers)
        if operation == "delete":
            return api("DELETE", blob, headers)
        return api("PUT", blob + "?comp=" + operation, headers | {"x-ms-meta-a": "1"})
    assert api("PUT", blob + f"?comp=block&blockid={block_id(1)}", body=b"new").status == 201
    for text in NOT_MET:
        assert_error(write(text), 412, "ConditionNotMet")
    for text in MALFORMED:
        assert_error(write(text), 400, "InvalidHeaderValue")
    now = api("GET", blob)
    assert (now.body, now.metadata, now.get("x-ms-tag-count")) == (b"hello", {}, "2")
    assert write(MET[1]).status in (200, 201, 202, 204)


def test_what_is_not_there_meets_none(api, container):
    assert_error(api.put(container, "new", b"x", {"x-ms-if-tags": "a<>'b'"}), 412, "ConditionNotMet")
    assert_error(api("GET", f"/{container}/new", {"x-ms-if-tags": "a='b'"}), 404, "BlobNotFound")


def test_together_with_others(api, blob):
    etag = api("HEAD", blob).get("etag")
    met = {"x-ms-if-tags": MET[0]}
    assert api("GET", blob, met | {"If-Match": etag}).status == 200
    assert api("GET", blob, met | {"If-None-Match": etag}).status == 304
    assert_error(api("GET", blob, met | {"If-Match": '"0x1"'}), 412, "ConditionNotMet")
    assert_error(api("GET", blob, {"x-ms-if-tags": NOT_MET[0], "If-None-Match": etag}), 412, "ConditionNotMet")


@pytest.mark.parametrize("operation", ["get", "set"])
def test_own_names_of_the_tags_operations(api, blob, operation):
    """x-ms-blob-if-match and its kin are theirs; If-Match is of the document, which has no ETag."""
    etag = api("HEAD", blob).get("etag")

    def run(headers):
        return api("GET", blob + "?comp=tags", headers) if operation == "get" else \
            set_tags(api, blob, ("a", "1"), headers=headers)
    for headers in {"x-ms-blob-if-match": '"0x1"'}, {"x-ms-blob-if-unmodified-since": http_date(-3600)}:
        assert_error(run(headers), 412, "ConditionNotMet")
    assert tags_of(api, blob) == {"Status": "Done", "Date": "2020-04-20"}
    for headers in ({"x-ms-blob-if-match": etag}, {"x-ms-blob-if-none-match": '"0x1"'},
                    {"x-ms-blob-if-modified-since": http_date(-3600)}, {"If-Match": '"0x1"'}):
        assert run(headers).status in (200, 204), headers


# ---- who may -------------------------------------------------------------------------------------------------------

def test_permissions(api, container, blob):
    rights = "racwdl"
    for token in (service_sas(container, sp=rights), service_sas(container, "b", sp=rights), account_sas(sp=rights)):
        assert_error(api("GET", blob + "?comp=tags", sas=token), 403, "AuthorizationPermissionMismatch")
        assert_error(set_tags(api, blob, ("a", "1"), sas=token), 403, "AuthorizationPermissionMismatch")
        # the other ways to them
        assert_error(api.put(container, "b", b"x", {"x-ms-tags": "a=1"}, sas=token), 403,
                     "AuthorizationPermissionMismatch", "x-ms-tags")
        assert_error(api("GET", blob, {"x-ms-if-tags": MET[0]}, sas=token), 403, "AuthorizationPermissionMismatch",
                     "x-ms-if-tags")
    assert api("GET", blob).body == b"hello"
    for token in service_sas(container, sp="rwt"), service_sas(container, "b", sp="rwt"), account_sas(sp="rwt"):
        assert api("GET", blob + "?comp=tags", sas=token).status == 200
        assert api("GET", blob, {"x-ms-if-tags": "Status<>''"}, sas=token).status == 200
        assert set_tags(api, blob, ("Status", "1"), sas=token).status == 204
        assert api.put(container, "b", b"x", {"x-ms-tags": "Status=1"}, sas=token).status == 201
    assert_error(api("GET", blob, sas=service_sas(container, sp="t")), 403, "AuthorizationPermissionMismatch")


def test_public_access_does_not_show_them(api):
    name = api.create_container(headers={"x-ms-blob-public-access": "container"})
    api.put_ok(name, "b", b"x", {"x-ms-tags": "a=1"})
    assert api("GET", f"/{name}/b", sign=False).status == 200
    assert_error(api("GET", f"/{name}/b?comp=tags", sign=False), 401, "NoAuthenticationInformation")
    assert_error(api("GET", f"/{name}/b", {"x-ms-if-tags": "a='1'"}, sign=False), 403,
                 "AuthorizationPermissionMismatch")
    assert_error(api("GET", f"/{name}?restype=container&comp=list&include=tags", sign=False), 403,
                 "AuthorizationPermissionMismatch")


# ---- listings ------------------------------------------------------------------------------------------------------

def test_listing(api, container, blob):
    api.put_ok(container, "c", b"x")
    plain = {b.findtext("Name"): b for b in api.list(container).xml.iter("Blob")}
    assert plain["b"].find("Tags") is None and plain["b"].findtext("Properties/TagCount") == "2"
    assert plain["c"].find("Properties/TagCount") is None
    asked = {b.findtext("Name"): b for b in api.list(container, "&include=metadata,tags").xml.iter("Blob")}
    assert parse(asked["b"].find("Tags")) == {"Status": "Done", "Date": "2020-04-20"}
    assert asked["c"].find("Tags") is None


def test_listing_them_needs_the_permission(api, container, blob):
    path = f"/{container}?restype=container&comp=list&include=tags"
    assert_error(api("GET", path, sas=service_sas(container, sp="rl")), 403, "AuthorizationPermissionMismatch", "tags")
    assert api("GET", path, sas=service_sas(container, sp="lt")).status == 200
