"""Many connections and large things, with bounded memory: 10,000 idle connections, a 5,000 MiB Put Blob, a
list of 50,000 blocks, and what lies one past each limit."""

import base64
import hashlib
import http.client
import pathlib
import resource
import socket
import sys

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobServiceClient

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
from server import Server, content  # noqa: E402

MIB = 1 << 20
RSS_MAX = 512 * MIB


@pytest.fixture(scope="module")
def server():
    with Server() as s:
        with BlobServiceClient.from_connection_string(s.connection_string) as service:
            service.create_container("load")
        yield s


def peak_rss(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def ask(sock, server):
    """One small request on an open connection: the status."""
    sock.sendall(f"GET /{server.account}?comp=list HTTP/1.1\r\nHost: x\r\nx-ms-version: 2021-12-02\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        got = sock.recv(65536)
        assert got, "the server closed an idle connection"
        data += got
    head, _, rest = data.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(rest) < length:
        rest += sock.recv(65536)
    return int(head.split()[1])


def test_idle_connections(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10000
    if hard < wanted + 500:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = []
    try:
        for i in range(wanted):
            s = socket.create_connection(("127.0.0.1", server.port), 60)
            held.append(s)
            assert ask(s, server) in (401, 403, 404, 409)  # nobody has signed: an answer all the same
            if i == 999:
                thousand = server.process.rss_bytes()
        assert len(held) == wanted
        for s in held[::100]:
            assert ask(s, server) in (401, 403, 404, 409)
        with BlobServiceClient.from_connection_string(server.connection_string) as service:
            blob = service.get_blob_client("load", "while")
            blob.upload_blob(b"others still work", overwrite=True)
            assert blob.download_blob().readall() == b"others still work"
        print(f"resident: {thousand >> 20} MiB at 1,000, {server.process.rss_bytes() >> 20} MiB at {wanted:,}")
        assert thousand < RSS_MAX
    finally:
        for s in held:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def request(server, method, target, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    separator = "&" if "?" in target else "?"
    connection.request(method, f"/{server.account}/{target}{separator}{server.account_sas()}", body,
                       {"x-ms-version": "2021-12-02", **(headers or {})})
    answer = connection.getresponse()
    return answer, answer.read()


def test_put_blob_of_5000_mib(server):
    piece = content("piece", 8 * MIB)
    length = 5000 * MIB
    md5 = hashlib.md5()

    def parts():
        for _ in range(length // len(piece)):
            md5.update(piece)
            yield piece

    answer, data = request(server, "PUT", "load/huge", {"x-ms-blob-type": "BlockBlob", "Content-Length": str(length)},
                           parts())
    assert answer.status == 201, data
    assert base64.b64decode(answer.headers["Content-MD5"]) == md5.digest()
    with BlobServiceClient.from_connection_string(server.connection_string) as service:
        blob = service.get_blob_client("load", "huge")
        assert blob.get_blob_properties().size == length
        for offset in (0, 1, 12345678, 4 * 1024 * MIB - 1, length - 100):
            wanted = (piece * 2)[offset % len(piece):][:min(1000, length - offset)]
            assert blob.download_blob(offset, 1000).readall() == wanted
        blob.delete_blob()
    assert peak_rss(server) < RSS_MAX


def test_put_blob_of_one_more(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("PUT", f"/{server.account}/load/more?{server.account_sas()}")
    for name, value in (("x-ms-version", "2021-12-02"), ("x-ms-blob-type", "BlockBlob"),
                        ("Content-Length", str(5000 * MIB + 1))):
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()  # refused before any of the body is sent
    assert (answer.status, answer.headers["x-ms-error-code"]) == (413, "RequestBodyTooLarge")


def test_slow_readers_of_large_blobs(server):
    """1,000 that ask for 8 MiB and do not read: of one blob that is kept in memory, then of 40 that do not fit."""
    def start(name):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(60)
        s.connect(("127.0.0.1", server.port))
        s.sendall(f"GET /{server.account}/load/{name}?{server.account_sas()} HTTP/1.1\r\nHost: x\r\n"
                  "x-ms-version: 2021-12-02\r\n\r\n".encode())
        return s

    def finish(s, wanted):
        data = bytearray()
        while b"\r\n\r\n" not in data or len(data) - data.index(b"\r\n\r\n") - 4 < len(wanted):
            more = s.recv(MIB)
            assert more, "the answer was cut"
            data += more
        assert data.startswith(b"HTTP/1.1 200") and data.partition(b"\r\n\r\n")[2] == wanted

    one = content("one", 8 * MIB)
    assert request(server, "PUT", "load/one", {"x-ms-blob-type": "BlockBlob"}, one)[0].status == 201
    for i in range(40):
        assert request(server, "PUT", f"load/of{i}", {"x-ms-blob-type": "BlockBlob"}, content(i, 8 * MIB))[0].status == 201
    for _ in range(3):
        assert request(server, "GET", "load/one")[1] == one
    for names in ["one"] * 1000, [f"of{i % 40}" for i in range(1000)]:
        held = [start(name) for name in names]
        try:
            for s in held[::50]:
                assert s.recv(1, socket.MSG_PEEK)  # it is being answered
            rss, kept = server.process.rss_bytes(), server.metrics()
            print(f"1,000 slow readers of {len(set(names))}: {rss >> 20} MiB resident")
            assert rss < RSS_MAX
            assert kept["strongroom_store_opened_bytes"] <= kept["strongroom_store_opened_bytes_max"]
            assert request(server, "GET", "load/one")[1] == one  # others are served
            for i in (0, 500, 999):
                finish(held[i], one if names[i] == "one" else content(i % 40, 8 * MIB))
        finally:
            for s in held:
                s.close()
    assert peak_rss(server) < RSS_MAX


def test_50000_blocks(server):
    with BlobServiceClient.from_connection_string(server.connection_string, retry_total=0) as service:
        blob = service.get_blob_client("load", "blocks")
        for i in range(10):
            blob.stage_block(f"{i:05}", content(i, 1000 + i))
        blocks = [BlobBlock(f"{i % 10:05}") for i in range(50001)]
        with pytest.raises(HttpResponseError) as e:
            blob.commit_block_list(blocks)
        assert (e.value.status_code, e.value.error_code) == (400, "BlockListTooLong")
        assert not blob.exists()
        blob.commit_block_list(blocks[:50000])
        ten = b"".join(content(i, 1000 + i) for i in range(10))
        assert blob.get_blob_properties().size == 5000 * len(ten)
        assert len(blob.get_block_list("committed")[0]) == 50000
        assert blob.download_blob(max_concurrency=2).readall() == ten * 5000
        blob.delete_blob()
    assert peak_rss(server) < RSS_MAX


def test_many_distinct_blocks(server):
    """2,000 blocks of their own (50,000 would be minutes), listed, committed in reverse, read."""
    with BlobServiceClient.from_connection_string(server.connection_string, retry_total=0) as service:
        blob = service.get_blob_client("load", "distinct")
        for i in range(2000):
            blob.stage_block(f"{i:05}", f"{i:05}".encode())
        assert len(blob.get_block_list("uncommitted")[1]) == 2000
        blob.commit_block_list([BlobBlock(f"{i:05}") for i in reversed(range(2000))])
        assert blob.download_blob().readall() == b"".join(f"{i:05}".encode() for i in reversed(range(2000)))
        blob.delete_blob()
