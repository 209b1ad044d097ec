"""Bytes and connections: request lines, headers, lengths, 100-continue, chunks, pipelining, keep-alive."""
import socket
import time

import pytest
from wire import Closed, Connection, assert_error, assert_survives, http_date


def refused(connection, data, api):
    """Sends bytes that are no request. An error answer or a close; never a success, never a dead server."""
    connection.send(data)
    if b"HTTP" not in data:
        connection.sock.shutdown(socket.SHUT_WR)  # else a server may wait for the rest of a line
    try:
        r = connection.read()
    except (Closed, TimeoutError) as e:
        assert not isinstance(e, TimeoutError), "neither an answer nor a close"
        r = None
    if r is not None:
        assert 400 <= r.status < 600, r
    assert api("GET", "/?comp=list&maxresults=1").status == 200
    return r


HOST = b"Host: x\r\n"


@pytest.mark.parametrize("data", [
    b"\x00\x01\x02\x03\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    b"GET / HTCPCP/1.0\r\n" + HOST + b"\r\n",
    b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\nNoColon\r\n\r\n",
    b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /a\x00b HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: ten\r\n\r\n",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 200000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: 1\r\n" % i for i in range(1000)) + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
], ids=["binary", "no target", "http/0.9", "version", "protocol", "two spaces", "method", "no colon", "empty name",
        "space before colon", "no host", "nul in target", "nul in header", "negative length", "length text", "huge length",
        "two lengths", "length and chunks", "unknown coding", "bad chunk", "long target", "long header", "many headers",
        "tls hello"])
def test_what_is_no_request(api, connection, data):
    refused(connection, data, api)


def test_target_of_sixteen_kibibytes(api, container):
    r = api("GET", f"/{container}?restype=container&comp=list&x=" + "a" * 16000)
    assert r.status == 200, r
    r = api("GET", f"/{container}?restype=container&comp=list&x=" + "a" * 16400)
    assert r.status in (400, 414), r
    if r.code:
        assert_error(r, 400, r.code)


def test_too_many_headers(api, container):
    headers = [(f"X-H{i}", "1") for i in range(240)]
    assert api("GET", f"/{container}?restype=container", headers).status == 200
    headers = [(f"X-H{i}", "1") for i in range(270)]
    r = api("GET", f"/{container}?restype=container", headers)
    assert r.status == 400, r


def test_too_many_parameters(api, container):
    r = api("GET", f"/{container}?restype=container&" + "&".join(f"p{i}=1" for i in range(80)))
    assert r.status == 400, r


@pytest.mark.parametrize("query", ["%", "%zz", "a=%G1", "prefix=%FF", "prefix=%C0%AF", "prefix=%00"])
def test_malformed_query(api, container, query):
    r = api("GET", f"/{container}?restype=container&comp=list&{query}", sign=False)
    assert r.status in (400, 404), r
    assert r.code, r


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_no_length_is_411(api, container, connection, method):
    path = f"/{container}/b" if method == "PUT" else f"/{container}?restype=container&comp=batch"
    headers = {"x-ms-blob-type": "BlockBlob"} if method == "PUT" else {}
    connection.send(api.build(method, path, headers, length=False))
    r = connection.read()
    if method == "PUT":
        assert_error(r, 411, "MissingContentLengthHeader")
    else:
        assert r.status in (400, 405, 411, 501), r
    assert_survives(api, connection, r)
    assert not api.exists(container, "b")


# ---- Expect: 100-continue

def test_continue(api, container, connection):
    body = b"x" * 100000
    data = api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob", "Expect": "100-continue"}, body)
    connection.send(data[:-len(body)])
    assert connection.read_head()[0] == 100
    connection.send(body)
    assert connection.read().status == 201
    assert api("GET", f"/{container}/b").body == body


@pytest.mark.parametrize("size", [100, 10000000])
def test_refused_before_the_body(api, container, connection, size):
    """The answer comes instead of 100; no byte of the body was needed."""
    head = api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob", "Expect": "100-continue",
                                               "Content-Length": str(size), "x-ms-date": http_date(-3600)})
    connection.send(head)
    status, _, headers = connection.read_head()
    assert status == 403, status
    assert not api.exists(container, "b")


# ---- chunked bodies

def chunked(*chunks):
    return b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize("chunks", [[b"hello"], [b"a", b"b" * 1000, b"c" * 70000], [b"x" * 300000]])
def test_chunked_body(api, container, connection, chunks):
    data = api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob", "Transfer-Encoding": "chunked"})
    connection.send(data + chunked(*chunks))
    r = connection.read()
    assert r.status == 201, r
    assert api("GET", f"/{container}/b").body == b"".join(chunks)
    assert_survives(api, connection, r)


def test_torn_chunks_store_nothing(api, container, server):
    with Connection(server.port) as c:
        c.send(api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob", "Transfer-Encoding": "chunked"}) +
               b"400\r\nonly this")
        time.sleep(0.2)
    time.sleep(0.3)
    assert not api.exists(container, "b")


# ---- interrupted bodies

@pytest.mark.parametrize("size, sent", [(100, 50), (70000, 100), (1 << 20, 600000), (10 << 20, 9 << 20)])
def test_torn_body_stores_nothing(api, container, server, size, sent):
    with Connection(server.port) as c:
        head = api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob", "Content-Length": str(size)})
        c.send(head + b"x" * sent)
        time.sleep(0.2)
    time.sleep(0.3)
    assert not api.exists(container, "b")


def test_torn_body_keeps_the_old_blob(api, container, server):
    api.put_ok(container, "b", b"old")
    with Connection(server.port) as c:
        c.send(api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob", "Content-Length": "500000"}) +
               b"x" * 400000)
    time.sleep(0.3)
    assert api("GET", f"/{container}/b").body == b"old"


def test_client_that_leaves_while_reading(api, container, server):
    api.put_ok(container, "b", b"x" * (8 << 20))
    for _ in range(5):
        with Connection(server.port) as c:
            c.send(api.build("GET", f"/{container}/b"))
            c.sock.recv(1000)
    assert len(api("GET", f"/{container}/b").body) == 8 << 20


def test_slow_body(api, container, connection):
    body = b"slowly but surely" * 10
    data = api.build("PUT", f"/{container}/b", {"x-ms-blob-type": "BlockBlob"}, body)
    for i in range(0, len(data), 37):
        connection.send(data[i:i + 37])
        time.sleep(0.005)
    assert connection.read().status == 201
    assert api("GET", f"/{container}/b").body == body


# ---- keep-alive and pipelining

def test_many_requests_on_one_connection(api, container, connection):
    for i in range(100):
        connection.send(api.build("PUT", f"/{container}/b{i}", {"x-ms-blob-type": "BlockBlob"}, b"%d" % i))
        assert connection.read().status == 201
        connection.send(api.build("GET", f"/{container}/b{i}"))
        assert connection.read().body == b"%d" % i


@pytest.mark.parametrize("method, path, headers, body", [
    ("GET", "/{c}/missing", {}, b""), ("HEAD", "/{c}/missing", {}, b""), ("GET", "/nosuchcontainer/b", {}, b""),
    ("PUT", "/{c}/b", {}, b"no blob type"), ("PUT", "/{c}/b", {"x-ms-blob-type": "BlockBlob", "Content-MD5": "bad"}, b"x"),
    ("PUT", "/{c}/b", {}, b"x" * 200000), ("DELETE", "/{c}/missing", {}, b""), ("BREW", "/{c}/b", {}, b""),
    ("PUT", "/{c}/b?comp=nonsense", {}, b"x" * 1000), ("GET", "/{c}?restype=container&comp=list&maxresults=0", {}, b"")])
def test_connection_after_an_error(api, container, connection, method, path, headers, body):
    connection.send(api.build(method, path.format(c=container), headers, body))
    r = connection.read(method)
    assert r.status >= 400
    assert_survives(api, connection, r)


def test_pipelined_requests_are_answered_in_order(api, container, connection):
    for i in range(5):
        api.put_ok(container, f"p{i}", b"%d" % i * 3000)
    connection.send(b"".join(api.build("GET", f"/{container}/p{i}") for i in range(5)))
    for i in range(5):
        assert connection.read().body == b"%d" % i * 3000


def test_pipelined_writes_and_reads(api, container, connection):
    out = b""
    for i in range(5):
        out += api.build("PUT", f"/{container}/w{i}", {"x-ms-blob-type": "BlockBlob"}, b"%d" % i)
        out += api.build("GET", f"/{container}/w{i}")
    connection.send(out)
    for i in range(5):
        assert connection.read().status == 201
        assert connection.read().body == b"%d" % i


def test_connection_close_is_honoured(api, container, connection):
    connection.send(api.build("GET", f"/{container}?restype=container", {"Connection": "close"}))
    assert connection.read().status == 200
    assert connection.closed()


def test_http_1_0(api, container, connection):
    data = api.build("GET", f"/{container}?restype=container").replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")
    connection.send(data)
    r = connection.read()
    assert r.status in (200, 400, 505), r


def test_header_names_in_any_case(api, container):
    r = api("PUT", f"/{container}/b", {"X-MS-BLOB-TYPE": "BlockBlob", "X-Ms-Meta-A": "1"}, b"x")
    assert r.status == 201 and api("HEAD", f"/{container}/b").metadata == {"a": "1"}


def test_half_closed_client_gets_its_answer(api, container, connection):
    connection.send(api.build("GET", f"/{container}?restype=container"))
    connection.sock.shutdown(socket.SHUT_WR)
    try:
        assert connection.read().status == 200
    except Closed:
        pass  # a server may take it as a goodbye


def test_many_idle_connections(api, server):
    idle = [Connection(server.port) for _ in range(200)]
    assert api("GET", "/?comp=list&maxresults=1").status == 200
    for c in idle[::20]:
        c.send(api.build("GET", "/?comp=list&maxresults=1"))
        assert c.read().status == 200
    for c in idle:
        c.close()


def test_absolute_form_target(api, container, server, connection):
    data = api.build("GET", f"/{container}?restype=container")
    connection.send(data.replace(b"GET /", f"GET http://127.0.0.1:{server.port}/".encode(), 1))
    assert connection.read().status in (200, 400, 403)
