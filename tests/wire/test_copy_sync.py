"""Copies that are done when they are answered: Copy Blob From URL, Put Blob From URL, Put Block From URL. Sources on
this server; test_copy_elsewhere.py has the others."""
from urllib.parse import quote

import pytest

from wire import account_sas, assert_error, block_id, block_list, crc64, http_date, md5, service_sas

BIG = bytes(i * 7 % 251 for i in range(300_000))


def url(api, container, blob, query="", host=None):
    return f"http://{host or f'127.0.0.1:{api.server.port}'}/{api.account}/{container}/{quote(blob)}" + \
        (f"?{query}" if query else "")


def put_from(api, container, blob, source, headers=(), **how):
    return api("PUT", f"/{container}/{blob}",
               {"x-ms-copy-source": source, "x-ms-blob-type": "BlockBlob"} | dict(headers), **how)


def copy_from(api, container, blob, source, headers=(), **how):
    return api("PUT", f"/{container}/{blob}",
               {"x-ms-copy-source": source, "x-ms-requires-sync": "true"} | dict(headers), **how)


def block_from(api, container, blob, source, headers=(), number=1, **how):
    return api("PUT", f"/{container}/{blob}?comp=block&blockid={quote(block_id(number), safe='')}",
               {"x-ms-copy-source": source} | dict(headers), **how)


def get(api, container, blob):
    r = api("GET", f"/{container}/{blob}")
    assert r.status == 200, r
    return r


KINDS = pytest.mark.parametrize("copy", [put_from, copy_from, block_from])


# ---- Put Blob From URL ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("data", [b"", b"x", BIG], ids=len)
def test_put_blob_from_url(api, container, data):
    api.put_ok(container, "src", data)
    r = put_from(api, container, "dst", url(api, container, "src"))
    assert r.status == 201, r
    assert r.get("content-md5") == md5(data) and r.get("x-ms-content-crc64") == crc64(data)
    assert r.get("x-ms-request-server-encrypted") == "true"
    got = get(api, container, "dst")
    assert got.body == data and got.get("etag") == r.get("etag") and got.get("content-md5") == md5(data)
    assert got.get("x-ms-copy-id") is None


SOURCE = {"x-ms-blob-content-type": "text/x-source", "x-ms-blob-content-language": "de",
          "x-ms-blob-cache-control": "max-age=3", "x-ms-meta-from": "source"}


def test_put_blob_from_url_takes_properties_of_the_source(api, container):
    api.put_ok(container, "src", b"x", SOURCE)
    assert put_from(api, container, "dst", url(api, container, "src"),
                    {"x-ms-blob-content-type": "text/x-own"}).status == 201
    got = get(api, container, "dst")
    assert (got.get("content-type"), got.get("content-language")) == ("text/x-own", "de")
    assert got.get("cache-control") == "max-age=3" and got.metadata == {"from": "source"}


def test_put_blob_from_url_without_properties_of_the_source(api, container):
    api.put_ok(container, "src", b"x", SOURCE)
    assert put_from(api, container, "dst", url(api, container, "src"),
                    {"x-ms-copy-source-blob-properties": "false", "x-ms-meta-own": "1"}).status == 201
    got = get(api, container, "dst")
    assert (got.get("content-type"), got.get("content-language")) == ("application/octet-stream", None)
    assert got.metadata == {"own": "1"}
    assert_error(put_from(api, container, "dst", url(api, container, "src"),
                          {"x-ms-copy-source-blob-properties": "maybe"}), 400, "InvalidHeaderValue")


def test_put_blob_from_url_takes_no_other_type(api, container):
    api.put_ok(container, "src", b"x")
    r = put_from(api, container, "dst", url(api, container, "src"), {"x-ms-blob-type": "AppendBlob"})
    assert_error(r, 400, "InvalidHeaderValue", "x-ms-blob-type")


def test_tier_and_conditions_of_the_destination(api, container):
    api.put_ok(container, "src", b"x")
    api.put_ok(container, "dst", b"old")
    source = url(api, container, "src")
    for copy in (put_from, copy_from):
        assert_error(copy(api, container, "dst", source, {"If-None-Match": "*"}), 409, "BlobAlreadyExists")
        assert_error(copy(api, container, "dst", source, {"If-Match": '"0x1"'}), 412, "ConditionNotMet")
        assert get(api, container, "dst").body == b"old"
        assert copy(api, container, "cool", source, {"x-ms-access-tier": "Cool"}).status in (201, 202)
        assert api("HEAD", f"/{container}/cool").get("x-ms-access-tier") == "Cool"


# ---- Copy Blob From URL ---------------------------------------------------------------------------------------------

def test_copy_blob_from_url(api, container):
    api.put_ok(container, "src ü", BIG, SOURCE)
    source = url(api, container, "src ü")
    r = copy_from(api, container, "dst", source, {"x-ms-blob-content-type": "ignored/here"})
    assert r.status == 202, r
    assert r.get("x-ms-copy-status") == "success" and len(r.get("x-ms-copy-id")) == 36
    assert r.get("content-md5") is None and r.get("x-ms-content-crc64") == crc64(BIG)
    got = get(api, container, "dst")
    assert got.body == BIG and got.get("etag") == r.get("etag") and got.metadata == {"from": "source"}
    r = copy_from(api, container, "dst", source, {"x-ms-source-content-md5": md5(BIG)})
    assert r.status == 202 and r.get("content-md5") == md5(BIG)
    got = get(api, container, "dst")
    assert got.get("content-type") == "text/x-source"
    head = api("HEAD", f"/{container}/dst")
    for answer in (got, head):
        assert answer.get("x-ms-copy-id") == r.get("x-ms-copy-id")
        assert answer.get("x-ms-copy-source") == source and answer.get("x-ms-copy-status") == "success"
        assert answer.get("x-ms-copy-progress") == f"{len(BIG)}/{len(BIG)}"
        assert answer.get("x-ms-copy-completion-time") == answer.get("last-modified")


def test_metadata_of_the_request_replaces_that_of_the_source(api, container):
    api.put_ok(container, "src", b"x", SOURCE)
    assert copy_from(api, container, "dst", url(api, container, "src"), {"x-ms-meta-own": "1"}).status == 202
    assert get(api, container, "dst").metadata == {"own": "1"}


def test_a_copy_is_listed_as_one_when_asked(api, container):
    api.put_ok(container, "src", b"abc")
    r = copy_from(api, container, "dst", url(api, container, "src"))
    plain = api.list(container).xml
    assert plain.find(".//CopyId") is None
    listed = {b.findtext("Name"): b for b in api.list(container, "&include=copy").xml.iter("Blob")}
    properties = listed["dst"].find("Properties")
    assert properties.findtext("CopyId") == r.get("x-ms-copy-id")
    assert properties.findtext("CopyStatus") == "success" and properties.findtext("CopyProgress") == "3/3"
    assert properties.findtext("CopySource") == url(api, container, "src")
    assert properties.findtext("CopyCompletionTime")
    assert listed["src"].find(".//CopyId") is None


def test_what_changes_the_content_or_its_properties_ends_being_a_copy(api, container):
    api.put_ok(container, "src", b"abc")
    for change, stays in ((lambda: api("PUT", f"/{container}/dst?comp=metadata", {"x-ms-meta-a": "1"}), True),
                          (lambda: api("PUT", f"/{container}/dst?comp=properties"), False),
                          (lambda: api.put(container, "dst", b"new"), False),
                          (lambda: api("PUT", f"/{container}/dst?comp=blocklist", (), block_list()), False)):
        assert copy_from(api, container, "dst", url(api, container, "src")).status == 202
        assert change().status in (200, 201)
        assert bool(api("HEAD", f"/{container}/dst").get("x-ms-copy-id")) == stays


def test_a_signature_is_not_kept(api, container):
    api.put_ok(container, "src", b"abc")
    token = service_sas(container, "src")
    assert copy_from(api, container, "dst", url(api, container, "src", token)).status == 202
    shown = api("HEAD", f"/{container}/dst").get("x-ms-copy-source")
    assert "sig=" not in shown and "sv=" in shown and shown.startswith(url(api, container, "src"))


def test_copy_over_itself(api, container):
    api.put_ok(container, "b", BIG)
    assert copy_from(api, container, "b", url(api, container, "b"), {"x-ms-meta-new": "1"}).status == 202
    got = get(api, container, "b")
    assert got.body == BIG and got.metadata == {"new": "1"}


def test_source_larger_than_256_mib_is_refused(api, container):
    mib = bytes(1024 * 1024)
    names = []
    for i in range(2):
        api("PUT", f"/{container}/src?comp=block&blockid={quote(block_id(i), safe='')}", (), mib if i else mib * 8)
        names.append(block_id(i))
    picks = [("Latest", names[0])] * 32 + [("Latest", names[1])]
    assert api("PUT", f"/{container}/src?comp=blocklist", (), block_list(*picks)).status == 201
    assert_error(copy_from(api, container, "dst", url(api, container, "src")), 413, "RequestBodyTooLarge", "268435456")
    assert not api.exists(container, "dst")


# ---- Put Block From URL ---------------------------------------------------------------------------------------------

def test_put_block_from_url(api, container):
    api.put_ok(container, "src", BIG)
    source = url(api, container, "src")
    r = block_from(api, container, "dst", source, number=1)
    assert r.status == 201 and r.get("x-ms-content-crc64") == crc64(BIG), r
    assert block_from(api, container, "dst", source, {"x-ms-source-range": "bytes=10-19"}, 2).status == 201
    assert block_from(api, container, "dst", source, {"x-ms-source-range": f"bytes={len(BIG) - 5}-"}, 3).status == 201
    assert not api.exists(container, "dst")
    picks = [("Uncommitted", block_id(i)) for i in (2, 1, 3)]
    assert api("PUT", f"/{container}/dst?comp=blocklist", (), block_list(*picks)).status == 201
    assert get(api, container, "dst").body == BIG[10:20] + BIG + BIG[-5:]


def test_ranges(api, container):
    api.put_ok(container, "src", b"0123456789")
    source = url(api, container, "src")
    assert_error(block_from(api, container, "dst", source, {"x-ms-source-range": "bytes=10-"}), 416, "InvalidRange")
    for bad in ("bytes=5-2", "bytes=-3", "chars=0-1", "0-1"):
        assert_error(block_from(api, container, "dst", source, {"x-ms-source-range": bad}), 400, "InvalidHeaderValue",
                     "x-ms-source-range")
    # an end behind the source's is its end
    assert block_from(api, container, "dst", source, {"x-ms-source-range": "bytes=8-99"}).status == 201
    for copy in (put_from, copy_from):
        assert_error(copy(api, container, "dst", source, {"x-ms-source-range": "bytes=0-1"}), 400, "InvalidHeaderValue")


def test_a_block_has_at_least_one_byte(api, container):
    api.put_ok(container, "src", b"")
    assert_error(block_from(api, container, "dst", url(api, container, "src")), 400, "InvalidInput")


def test_block_id_is_checked(api, container):
    api.put_ok(container, "src", b"x")
    r = api("PUT", f"/{container}/dst?comp=block&blockid=%25", {"x-ms-copy-source": url(api, container, "src")})
    assert_error(r, 400, "InvalidQueryParameterValue")


# ---- what all have in common ----------------------------------------------------------------------------------------

@KINDS
def test_checksums_of_the_source(api, container, copy):
    api.put_ok(container, "src", BIG)
    source = url(api, container, "src")
    for headers in ({"x-ms-source-content-md5": md5(BIG)}, {"x-ms-source-content-crc64": crc64(BIG)}):
        assert copy(api, container, "dst", source, headers).status in (201, 202)
    assert_error(copy(api, container, "n", source, {"x-ms-source-content-md5": md5(b"other")}), 400, "Md5Mismatch")
    assert_error(copy(api, container, "n", source, {"x-ms-source-content-crc64": crc64(b"other")}), 400, "Crc64Mismatch")
    assert_error(copy(api, container, "n", source, {"x-ms-source-content-md5": "AAAA"}), 400, "InvalidMd5")
    assert_error(copy(api, container, "n", source, {"x-ms-source-content-crc64": "AAAA"}), 400, "InvalidHeaderValue")
    assert not api.exists(container, "n")


@KINDS
def test_conditions_of_the_source(api, container, copy):
    r = api.put_ok(container, "src", b"abc")
    source = url(api, container, "src")
    etag, now, before = r.get("etag"), http_date(1), http_date(-3600)
    met = [{"x-ms-source-if-match": etag}, {"x-ms-source-if-none-match": '"0x1"'},
           {"x-ms-source-if-modified-since": before}, {"x-ms-source-if-unmodified-since": now}]
    not_met = [{"x-ms-source-if-match": '"0x1"'}, {"x-ms-source-if-none-match": etag},
               {"x-ms-source-if-modified-since": now}, {"x-ms-source-if-unmodified-since": before}]
    for headers in met:
        assert copy(api, container, "dst", source, headers).status in (201, 202), headers
    for headers in not_met:
        assert_error(copy(api, container, "n", source, headers), 412, "SourceConditionNotMet")
    assert_error(copy(api, container, "n", source, {"x-ms-source-if-modified-since": "yesterday"}), 400,
                 "InvalidHeaderValue", "x-ms-source-if-modified-since")
    assert not api.exists(container, "n")


@KINDS
def test_tags_of_the_source_as_a_condition(api, container, copy):
    api.put_ok(container, "src", b"abc", {"x-ms-tags": "a=1"})
    source = url(api, container, "src")
    assert copy(api, container, "dst", source, {"x-ms-source-if-tags": "a = '1'"}).status in (201, 202)
    assert_error(copy(api, container, "n", source, {"x-ms-source-if-tags": "a = '2'"}), 412, "SourceConditionNotMet")
    assert_error(copy(api, container, "n", source, {"x-ms-source-if-tags": "a ="}), 400, "InvalidHeaderValue")


@pytest.mark.parametrize("copy", [put_from, copy_from])
def test_tags_are_set_or_copied(api, container, copy):
    api.put_ok(container, "src", b"abc", {"x-ms-tags": "a=1"})
    source = url(api, container, "src")

    def tags():
        x = api("GET", f"/{container}/dst?comp=tags").xml
        return {t.findtext("Key"): t.findtext("Value") for t in x.iter("Tag")}
    for headers, want in (({}, {}), ({"x-ms-tags": "b=2"}, {"b": "2"}),
                          ({"x-ms-copy-source-tag-option": "REPLACE", "x-ms-tags": "b=2"}, {"b": "2"}),
                          ({"x-ms-copy-source-tag-option": "COPY"}, {"a": "1"})):
        assert copy(api, container, "dst", source, headers).status in (201, 202)
        assert tags() == want
    both = {"x-ms-copy-source-tag-option": "COPY", "x-ms-tags": "b=2"}
    assert_error(copy(api, container, "dst", source, both), 409, "InvalidInput")
    assert_error(copy(api, container, "dst", source, {"x-ms-copy-source-tag-option": "BOTH"}), 400,
                 "InvalidHeaderValue")
    token = service_sas(container, "src", sp="r")
    assert_error(copy(api, container, "dst", url(api, container, "src", token),
                      {"x-ms-copy-source-tag-option": "COPY"}), 403, "CannotVerifyCopySource")


@KINDS
def test_a_source_that_is_not_there(api, container, copy):
    assert_error(copy(api, container, "dst", url(api, container, "nosuch")), 404, "CannotVerifyCopySource")
    assert_error(copy(api, container, "dst", url(api, "nosuchcontainer", "b")), 404, "CannotVerifyCopySource")
    assert not api.exists(container, "dst")


@KINDS
def test_a_destination_that_is_not_there(api, container, copy):
    api.put_ok(container, "src", b"x")
    assert_error(copy(api, "nosuchcontainer", "dst", url(api, container, "src")), 404, "ContainerNotFound")


@KINDS
@pytest.mark.parametrize("source, status, code", [
    ("nonsense", 400, "InvalidHeaderValue"), ("ftp://127.0.0.1/a/b/c", 400, "InvalidHeaderValue"),
    ("http:///a/b", 400, "InvalidHeaderValue"), ("http://user@127.0.0.1:{port}/a/b/c", 400, "InvalidHeaderValue"),
    ("http://127.0.0.1:{port}/{account}", 400, "CannotVerifyCopySource"),
    ("http://127.0.0.1:{port}/{account}/c/b?comp=list", 400, "CannotVerifyCopySource"),
    ("http://127.0.0.1:{port}/{account}/c/%ZZ", 400, "CannotVerifyCopySource"),
    ("http://127.0.0.1:{port}/nosuchaccount/con/b", 404, "CannotVerifyCopySource")])
def test_urls_that_name_no_blob(api, container, copy, source, status, code):
    source = source.format(port=api.server.port, account=api.account)
    assert_error(copy(api, container, "dst", source), status, code)


@KINDS
def test_every_name_of_the_server_is_read_inside_it(api, container, copy):
    api.put_ok(container, "src", b"abc")
    for host in (f"localhost:{api.server.port}", f"LOCALHOST:{api.server.port}", f"127.0.0.1:{api.server.port}"):
        r = copy(api, container, "dst", url(api, container, "src", host=host))
        assert r.status in (201, 202), r
    r = copy(api, container, "dst", url(api, container, "src", host="storage.example"), host="storage.example")
    assert r.status in (201, 202), r


# ---- who may read the source ----------------------------------------------------------------------------------------

@KINDS
def test_callers_own_permission_reaches_its_account(api, container, copy):
    api.put_ok(container, "src", b"abc")
    source = url(api, container, "src")
    assert copy(api, container, "dst", source, sas=account_sas(sp="rwc")).status in (201, 202)
    assert_error(copy(api, container, "n", source, sas=account_sas(sp="wc")), 404, "CannotVerifyCopySource")
    assert copy(api, container, "dst", source, sas=service_sas(container, sp="rcw")).status in (201, 202)
    assert_error(copy(api, container, "n", source, sas=service_sas(container, sp="cw")), 404, "CannotVerifyCopySource")
    # a token of the destination alone says nothing about another blob
    assert_error(copy(api, container, "n", source, sas=service_sas(container, "n", sp="rcw")), 404,
                 "CannotVerifyCopySource")
    other = api.create_container()
    api.put_ok(other, "src", b"abc")
    assert_error(copy(api, container, "n", url(api, other, "src"), sas=service_sas(container, sp="rcw")), 404,
                 "CannotVerifyCopySource")
    assert not api.exists(container, "n")


@KINDS
def test_token_in_the_sources_url(api, container, copy):
    api.put_ok(container, "src", b"abc")
    writes = service_sas(container, sp="cw")
    good = url(api, container, "src", service_sas(container, "src", sp="r"))
    assert copy(api, container, "dst", good, sas=writes).status in (201, 202)
    lists = url(api, container, "src", service_sas(container, sp="l"))
    assert_error(copy(api, container, "n", lists, sas=writes), 403, "CannotVerifyCopySource")
    wrong = url(api, container, "src", service_sas(container, "other", sp="r"))
    assert_error(copy(api, container, "n", wrong), 403, "CannotVerifyCopySource")
    expired = url(api, container, "src", service_sas(container, "src", sp="r", se="2020-01-01T00:00:00Z"))
    assert_error(copy(api, container, "n", expired), 403, "CannotVerifyCopySource")
    assert not api.exists(container, "n")


@KINDS
def test_public_source(api, container, copy):
    public = api.create_container(headers={"x-ms-blob-public-access": "blob"})
    api.put_ok(public, "src", b"abc")
    r = copy(api, container, "dst", url(api, public, "src"), sas=service_sas(container, sp="cw"))
    assert r.status in (201, 202), r


@KINDS
def test_source_authorization_goes_before_the_callers(api, container, copy):
    """What it says is what counts; this server knows no OAuth yet, so it is refused."""
    api.put_ok(container, "src", b"abc")
    r = copy(api, container, "n", url(api, container, "src"), {"x-ms-copy-source-authorization": "Bearer abc"})
    assert r.code == "CannotVerifyCopySource" and r.status in (400, 401, 403), r


@KINDS
def test_create_only_token(api, container, copy):
    api.put_ok(container, "src", b"abc")
    api.put_ok(container, "old", b"old")
    source = url(api, container, "src", service_sas(container, "src", sp="r"))
    creates = service_sas(container, sp="c")
    assert copy(api, container, "new", source, sas=creates).status in (201, 202)
    if copy is not block_from:
        assert_error(copy(api, container, "old", source, sas=creates), 403, "UnauthorizedBlobOverwrite")
        assert get(api, container, "old").body == b"old"


@KINDS
def test_not_without_a_signature_nor_on_the_secondary(api, container, copy):
    api.put_ok(container, "src", b"abc")
    source = url(api, container, "src")
    assert_error(copy(api, container, "n", source, sign=False), 401, "NoAuthenticationInformation")
    assert_error(copy(api, container, "n", source, base=f"/{api.account}-secondary"), 403,
                 "InsufficientAccountPermissions")
    # but a source may be read there
    source = source.replace(f"/{api.account}/", f"/{api.account}-secondary/")
    assert copy(api, container, "dst", source).status in (201, 202)


@KINDS
def test_elsewhere_is_refused_by_default(api, container, copy):
    for source in ("http://127.0.0.1:1/a/b", "http://169.254.169.254/metadata/instance", "https://example.org/a/b",
                   f"http://127.0.0.1:{api.server.port + 1}/metrics", "http://[::1]:80/a"):
        assert_error(copy(api, container, "n", source), 403, "CannotVerifyCopySource", "copy_sources")
    assert not api.exists(container, "n")
