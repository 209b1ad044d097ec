"""What a hostile client tries, and what must not reach the log."""
import time

import pytest
from wire import Api, Connection, assert_error, account_sas, block_list, service_sas

OTHER_KEY = "AAAA" * 21 + "AA=="


def answer(connection, data, method="GET"):
    connection.send(data)
    return connection.read(method)


# ---- the log

def test_secrets_stay_out_of_the_log(api, container, server):
    """Every way to fail with a secret at hand: the answer may quote the request, the log may not."""
    api.put_ok(container, "secretname", b"x")
    before = len(server.output)
    token = service_sas(container, "secretname", key=OTHER_KEY, rscd="secretvalue")
    for r in (api("GET", f"/{container}/secretname", sas=token),
              api("GET", f"/{container}/secretname?sig=secretsig&se=x", key=OTHER_KEY),
              api("GET", f"/{container}/secretname", {"x-ms-meta-a": "secretmeta", "x-ms-encryption-key": "secretkey"},
                  key=OTHER_KEY),
              api("GET", f"/{container}/secretname", {"Authorization": "Bearer secretbearer"}, sign=False),
              api("GET", f"/{container}/secretname", {"Authorization": "secretpassword"}, sign=False),
              api("GET", f"/{container}/missing", sas=service_sas(container, "missing"))):
        assert r.status >= 400, r
    api("DELETE", f"/{container}/secretname?marker=1", key=OTHER_KEY)
    time.sleep(0.5)
    lines = list(server.output)
    assert len(lines) > before or len(lines) == server.output.maxlen
    text = "".join(lines)
    assert "AuthenticationFailed" in text or "ERR_AUTHENTICATION_FAILED" in text
    for word in ("secretname", "secretsig", "secretmeta", "secretkey", "secretbearer", "secretpassword", "secretvalue"):
        assert word not in text, [line for line in lines if word in line]


# ---- two readings of one request

@pytest.mark.parametrize("line", ["Host: other", "X: a\rContent-Length: 5", "X: a\x01b", "X: a\x7fb",
                                  "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"])
def test_head_with_two_readings(api, container, connection, line):
    data = api.build("GET", f"/{container}?restype=container")
    at = data.index(b"\r\n") + 2
    r = answer(connection, data[:at] + line.encode("latin-1") + b"\r\n" + data[at:])
    assert_error(r, 400, "InvalidHeaderValue")
    assert connection.closed()


@pytest.mark.parametrize("size", [b"+5", b"0x5", b"-1", b" 5", b"5 ", b"", b"f" * 17])
def test_chunk_sizes(api, container, server, size):
    data = api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob", "Transfer-Encoding": "chunked"})
    with Connection(server.port) as c:
        r = answer(c, data + size + b"\r\nhello\r\n0\r\n\r\n", "PUT")
        assert r.status in (400, 413) and c.closed()
    assert not api.exists(container, "b")


def test_trailers_are_no_headers(api, container, connection):
    data = api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob", "Transfer-Encoding": "chunked"})
    r = answer(connection, data + b"5\r\nhello\r\n0\r\nx-ms-meta-evil: 1\r\nContent-Length: 3\r\n\r\n", "PUT")
    assert r.status == 201, r
    assert api("HEAD", f"/{container}/b").metadata == {}


# ---- names between routing and signing

@pytest.mark.parametrize("path", ["{c}%2Fother", "{c}/./allowed/../other", "{c}//allowed", "{c}/allowed/", "{c}/allowed%00",
                                  "%24root/allowed", "allowed", "{c}/Allowed", "{c}/allowed%3Fx", "{c}%2f%2e%2e%2f{c}%2fallowed"])
def test_sas_of_a_blob_opens_no_other(api, container, path):
    api.put_ok(container, "allowed", b"x")
    api.put_ok(container, "other", b"secret")
    token = service_sas(container, "allowed", sp="rwd")
    assert api("GET", f"/{container}/allowed", sas=token).status == 200
    assert api("GET", f"/{container}%2Fallowed", sas=token).status == 200
    for method in "GET", "DELETE":
        r = api(method, "/" + path.format(c=container), sas=token)
        assert r.status in (400, 403), r
    assert api.exists(container, "other")


@pytest.mark.parametrize("query", ["?restype=container", "?restype=container&comp=list", "?restype=container&comp=acl"])
def test_sas_of_a_blob_opens_no_container(api, container, query):
    token = service_sas(container, "allowed", sp="rwdl")
    assert_error(api("GET", f"/{container}{query}", sas=token), 403, "AuthenticationFailed")
    assert_error(api("GET", f"/{container}/{query}", sas=token), 403, "AuthenticationFailed")


@pytest.mark.parametrize("name, value", [("sr", "c"), ("sr", "d"), ("sdd", "1"), ("ss", "b"), ("srt", "sco"), ("sp", "rwdl")])
def test_sas_told_to_be_another(api, container, name, value):
    """Fields of another kind of token, added or changed."""
    api.put_ok(container, "dir/b", b"x")
    token = service_sas(container, "dir/b")
    fields = [f for f in token.split("&") if not f.startswith(name + "=")] + [f"{name}={value}"]
    for sv in None, "2018-03-28":
        changed = [f for f in fields if not f.startswith("sv=")] + [f"sv={sv}"] if sv else fields
        r = api("GET", f"/{container}/dir/c", sas="&".join(changed))
        assert r.status == 403, r


def test_root_container_by_its_short_address(api):
    """/account/name is a blob of $root: a token of another container does not open it."""
    r = api("PUT", "/$root?restype=container")
    assert r.status in (201, 409), r
    api.put_ok("$root", "short", b"x")
    assert api("GET", "/short", sas=service_sas("$root", "short")).body == b"x"
    assert_error(api("GET", "/short", sas=service_sas("short")), 403, "AuthenticationFailed")
    assert_error(api("GET", "/short", sas=service_sas("short", "")), 403, "AuthenticationFailed")
    assert api("GET", "/short", sign=False).status == 404
    assert api("DELETE", "/$root?restype=container").status == 202


def test_create_only_token_replaces_nothing(api, container):
    """Neither by Put Blob nor by a block list, nor by saying that it may."""
    api.put_ok(container, "b", b"old")
    for token in service_sas(container, "b", sp="c"), account_sas(sp="c", srt="o"):
        for headers in {}, {"If-Match": "*"}, {"If-None-Match": '"0x1"'}:
            r = api("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob"} | headers, b"new", sas=token)
            assert r.status in (400, 403, 409, 412), r
        r = api("PUT", f"/{container}/b?comp=blocklist", {}, block_list(), sas=token)
        assert r.status in (400, 403, 409, 412), r
    assert api("GET", f"/{container}/b").body == b"old"


# ---- what is echoed

@pytest.mark.parametrize("value", ["a%0D%0ASet-Cookie:%20x=1", "a%0Dx", "a%7F", "a%01b"])
def test_overrides_split_no_header(api, container, value):
    from urllib.parse import unquote
    api.put_ok(container, "b", b"x")
    r = api("GET", f"/{container}/b", sas=service_sas(container, "b", rsct=unquote(value)))
    assert r.get("set-cookie") is None and r.status in (200, 403), r
    if r.status == 200:
        assert r.get("content-type") is None or "a" != r.get("content-type")[0], r.headers


# ---- accounts

@pytest.mark.parametrize("headers", [
    {}, {"Authorization": "SharedKey devstoreaccount1:AAAA"}, {"Origin": "http://x"}, {"Authorization": "Bearer x"},
    {"Access-Control-Request-Method": "PUT"}, {"Origin": "http://x", "Access-Control-Request-Method": "PUT"}])
@pytest.mark.parametrize("method, path", [("GET", "/c/b"), ("GET", "/?comp=list"), ("PUT", "/c?restype=container"),
                                          ("OPTIONS", "/c/b")])
def test_accounts_cannot_be_probed(api, server, method, path, headers):
    """Status, code and text are the same for an account that is there and one that is not."""
    known = api(method, path, headers, sign=False)
    unknown = Api(server, account="nosuchaccount")(method, path, headers, sign=False)
    assert (known.status, known.code) == (unknown.status, unknown.code)
    told = [r.text.split("RequestId")[0] + "".join(e.text for e in r.xml.iter("AuthenticationErrorDetail"))
            for r in (known, unknown)]
    assert told[0] == told[1].replace("nosuchaccount", api.account)


def test_accounts_cannot_be_probed_by_a_signature(api, server):
    """Signed by a wrong key, each way of signing."""
    other = Api(server, account="nosuchaccount", key=OTHER_KEY)
    for path, how in (("/c/b", {}), ("/c/b", {"sign": "lite"}), ("/c/b", {"date": -3600})):
        known, unknown = api("GET", path, key=OTHER_KEY, **how), other("GET", path, **how)
        assert (known.status, known.code) == (unknown.status, unknown.code) == (403, "AuthenticationFailed")
        assert known.xml.findtext("AuthenticationErrorDetail")[:38] == unknown.xml.findtext("AuthenticationErrorDetail")[:38]
    for token in service_sas, account_sas:
        args = ("c", "b") if token is service_sas else ()
        known = api("GET", "/c/b", sas=token(*args, key=OTHER_KEY))
        unknown = other("GET", "/c/b", sas=token(*args, key=OTHER_KEY, account="nosuchaccount"))
        assert (known.status, known.code) == (unknown.status, unknown.code) == (403, "AuthenticationFailed")
        assert known.xml.findtext("AuthenticationErrorDetail")[:38] == unknown.xml.findtext("AuthenticationErrorDetail")[:38]
