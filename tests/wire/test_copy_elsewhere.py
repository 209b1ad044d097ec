"""Copies whose source is on another server: what may be read, and what is refused. The other server is one of ours to
command, on loopback."""
import contextlib
import http.server
import os
import pathlib
import socket
import ssl
import subprocess
import threading
import time

import pytest

from wire import ROOT, Api, Server, assert_error, crc64, md5
from test_copy_sync import block_from, copy_from, put_from

CONTENT = bytes(i * 11 % 253 for i in range(3_000_000))
KINDS = pytest.mark.parametrize("copy", [put_from, copy_from, block_from])


class Other(http.server.BaseHTTPRequestHandler):
    """/STATUS answers that status, /redirect elsewhere, /short less than it said, all else CONTENT."""
    protocol_version = "HTTP/1.1"
    seen = []

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=(), length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    def do_GET(self):
        Other.seen.append((self.command, self.path, dict(self.headers)))
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        headers = [("Content-Type", "text/x-other"), ("ETag", '"abc"'), ("x-ms-meta-far", "away")]
        if name.isdigit():
            self.answer(int(name), b"no", [("x-ms-error-code", "SomeCode")])
        elif name == "redirect":
            self.answer(302, b"", [("Location", "/public/data")])
        elif name == "short":
            self.answer(200, CONTENT[:1000], headers, len(CONTENT))
            self.close_connection = True
        elif name == "gzip":
            self.answer(200, b"not really gzip", headers + [("Content-Encoding", "gzip")])
        elif name == "append":
            self.answer(200, b"x", headers + [("x-ms-blob-type", "AppendBlob")])
        elif name == "chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\n0\r\n\r\n")
        elif name == "manyheaders":
            self.answer(200, b"x", [(f"x-{i}", "y") for i in range(90)] + [("x-long", "z" * 60000)] * 2)
        elif (wanted := self.headers.get("Range")) and name != "norange":
            first, last = wanted.removeprefix("bytes=").split("-")
            first, last = int(first), int(last) if last else len(CONTENT) - 1
            if first >= len(CONTENT):
                return self.answer(416)
            self.answer(206, CONTENT[first:last + 1],
                        headers + [("Content-Range", f"bytes {first}-{last}/{len(CONTENT)}")])
        else:
            self.answer(200, CONTENT, headers)

    do_HEAD = do_GET


@contextlib.contextmanager
def listening(tls=None):
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    s.daemon_threads = True
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        s.socket = context.wrap_socket(s.socket, server_side=True)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield s.server_address[1]
    s.shutdown()
    s.server_close()


class Configured(Server):
    """A production server with more lines in its configuration."""

    def __init__(self, lines):
        self.lines = lines
        super().__init__(production=True)

    def _init(self):
        path = super()._init()
        with open(path, "a") as f:
            f.write(f"admin:\n  listen: 127.0.0.1:{self.port + 1}\n{self.lines}")  # its metrics are looked at
        return path


@contextlib.contextmanager
def served(lines):
    s = Configured(lines)
    a = Api(s)
    yield a
    a.close()
    assert s.alive(), "".join(s.output)
    assert s.stop() == 0, "".join(s.output)


@pytest.fixture(scope="module")
def other():
    with listening() as port:
        yield port


@pytest.fixture(scope="module")
def far(other):
    """A server that may read from some of the other one, and whose other entries lead to addresses it must not reach."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        Configured.closed = s.getsockname()[1]
    with served(f"copy_sources:\n  - http://localhost:{other}/\n  - http://169.254.169.254/\n  - http://10.1.2.3/\n"
                f"  - http://[::1]:{other}/\n  - http://[::ffff:127.0.0.1]:{other}/\n  - http://0.0.0.0:{other}/\n"
                f"copy_sources_private:\n  - http://127.0.0.1:{other}/public/\n"
                f"  - http://127.0.0.1:{Configured.closed}/\n") as api:
        yield api


@pytest.fixture
def box(far):
    name = far.create_container()
    yield name
    far("DELETE", f"/{name}?restype=container")


def public(other, name="data"):
    return f"http://127.0.0.1:{other}/public/{name}"


@KINDS
def test_reads_what_is_allowed(far, box, other, copy):
    r = copy(far, box, "dst", public(other, "a%20b?x=1&y=%2F"), {"x-ms-source-content-md5": md5(CONTENT)})
    assert r.status in (201, 202), r
    assert Other.seen[-1][:2] == ("GET", "/public/a%20b?x=1&y=%2F")
    if copy is not block_from:
        got = far("GET", f"/{box}/dst")
        assert got.body == CONTENT and got.metadata == {"far": "away"} and got.get("content-type") == "text/x-other"


def test_range_of_a_source_elsewhere(far, box, other):
    r = block_from(far, box, "dst", public(other), {"x-ms-source-range": "bytes=7-106"})
    assert r.status == 201 and r.get("x-ms-content-crc64") == crc64(CONTENT[7:107])
    assert_error(block_from(far, box, "dst", public(other), {"x-ms-source-range": "bytes=3000000-"}), 416, "InvalidRange")
    assert_error(block_from(far, box, "dst", public(other, "norange"), {"x-ms-source-range": "bytes=7-9"}), 400,
                 "CannotVerifyCopySource", "range")


@KINDS
def test_conditions_and_authorization_go_to_the_source(far, box, other, copy):
    copy(far, box, "dst", public(other), {"x-ms-source-if-match": '"abc"', "x-ms-copy-source-authorization": "Bearer t",
                                          "x-ms-source-if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT"})
    sent = Other.seen[-1][2]
    assert sent["If-Match"] == '"abc"' and sent["Authorization"] == "Bearer t"
    assert sent["If-Modified-Since"] == "Sun, 06 Nov 1994 08:49:37 GMT" and sent["x-ms-version"]


@KINDS
@pytest.mark.parametrize("answer, status, code", [
    ("304", 412, "SourceConditionNotMet"), ("412", 412, "SourceConditionNotMet"), ("401", 401, "CannotVerifyCopySource"),
    ("403", 403, "CannotVerifyCopySource"), ("404", 404, "CannotVerifyCopySource"), ("409", 409, "CannotVerifyCopySource"),
    ("418", 400, "CannotVerifyCopySource"), ("500", 500, "CannotVerifyCopySource"), ("503", 500, "CannotVerifyCopySource"),
    ("chunked", 400, "CannotVerifyCopySource"), ("short", 500, "CannotVerifyCopySource"),
    ("manyheaders", 500, "CannotVerifyCopySource"), ("redirect", 403, "CannotVerifyCopySource")])
def test_what_the_source_answers(far, box, other, copy, answer, status, code):
    r = copy(far, box, "dst", public(other, answer))
    assert (r.status, r.code) == (status, code), r
    assert not far.exists(box, "dst")
    assert Other.seen[-1][1] == f"/public/{answer}", "and nothing else was asked"


@KINDS
def test_bytes_are_copied_as_they_are(far, box, other, copy):
    assert copy(far, box, "dst", public(other, "gzip"), {"x-ms-source-content-crc64": crc64(b"not really gzip")}).status \
        in (201, 202)


def test_type_of_a_source_elsewhere(far, box, other):
    assert_error(copy_from(far, box, "dst", public(other, "append")), 409, "InvalidSourceBlobType")


@KINDS
def test_nobody_listens(far, box, copy):
    assert_error(copy(far, box, "dst", f"http://127.0.0.1:{Configured.closed}/x"), 500, "CannotVerifyCopySource")


@KINDS
def test_addresses_that_are_not_public_are_refused(far, box, other, copy):
    """Listed by name or by number, but not as private: the address that a socket would go to decides."""
    before = len(Other.seen)
    for host in (f"localhost:{other}", "169.254.169.254", "10.1.2.3", f"[::1]:{other}", f"[::ffff:127.0.0.1]:{other}",
                 f"0.0.0.0:{other}"):
        assert_error(copy(far, box, "dst", f"http://{host}/public/data"), 403, "CannotVerifyCopySource", "not public")
    assert len(Other.seen) == before


@KINDS
def test_what_is_not_listed_is_refused(far, box, other, copy):
    before = len(Other.seen)
    for source in (f"http://127.0.0.1:{other}/private", f"http://127.0.0.1:{other}/publicly/data",
                   f"http://127.0.0.1:{other}/public/../private", f"http://127.0.0.1:{other}/public/%2e%2e/private",
                   f"http://127.0.0.1:{other}/public/%2E./private", f"https://127.0.0.1:{other}/public/data",
                   f"http://127.0.0.1:{other + 1}/public/data", f"http://127.1:{other}/private",
                   f"http://2130706433:{other}/private", f"http://0x7f.1:{other}/private", "http://example.org/"):
        assert_error(copy(far, box, "dst", source), 403, "CannotVerifyCopySource", "copy_sources")
    assert len(Other.seen) == before


def test_own_addresses_are_not_asked_over_the_network(far, box):
    """127.0.0.1 at this server's port is read inside it even though nothing lists it."""
    far.put_ok(box, "src", b"abc")
    for host in (f"127.0.0.1:{far.server.port}", f"localhost:{far.server.port}"):
        r = put_from(far, box, "dst", f"http://{host}/{far.account}/{box}/src")
        assert r.status == 201, r
    r = put_from(far, box, "dst", f"http://{far.account}.{far.server.suffix}/{box}/src")
    assert r.status == 201, r


def test_memory_is_bounded(far, box, other):
    """Many copies at once; the memory they take is that of their buffers."""
    def rss():
        with open(f"/proc/{far.server.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    before, results = rss(), []

    def one(i):
        a = Api(far.server)
        results.append(put_from(a, box, f"n{i}", public(other)).status)
        a.close()
    threads = [threading.Thread(target=one, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [201] * 16
    assert rss() - before < 64 * 1024, "KiB"


def certificate(folder, name):
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True,
                   capture_output=True)
    return cert, key


def test_certificates_are_verified(tmp_path):
    good, bad = certificate(tmp_path, "good"), certificate(tmp_path, "bad")
    with listening(good) as right, listening(bad) as wrong:
        lines = (f"copy_sources_private:\n  - https://127.0.0.1:{right}/\n  - 127.0.0.1:{wrong}\n"
                 f"copy_sources_ca: {good[0]}\n")
        with served(lines) as api:
            container = api.create_container()
            assert put_from(api, container, "dst", f"https://127.0.0.1:{right}/data").status == 201
            assert_error(put_from(api, container, "n", f"https://127.0.0.1:{wrong}/data"), 500,
                         "CannotVerifyCopySource", "certificate")
            assert not api.exists(container, "n")


def test_stopping_ends_copies_under_way(tmp_path):
    """A source that sends nothing more does not hold the server."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        api_server = Configured(f"copy_sources_private:\n  - http://127.0.0.1:{port}/\n")
        api = Api(api_server)
        container = api.create_container()
        got = []
        thread = threading.Thread(target=lambda: got.append(put_from(api, container, "dst", f"http://127.0.0.1:{port}/x")))
        thread.start()
        peer, _ = s.accept()
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
        time.sleep(0.3)
        start = time.monotonic()
        assert api_server.stop() == 0
        assert time.monotonic() - start < 10
        thread.join()
        assert got[0].status == 500
        peer.close()


@pytest.mark.parametrize("entry", ["", "ftp://example.org/", "a b", "example.org/path", "http://", "host:0", ".", "http://u@h/"])
def test_entries_that_mean_nothing_stop_the_server_at_its_start(tmp_path, entry):
    binary = os.environ.get("STRONGROOM", str(ROOT / "build" / "strongroom"))
    subprocess.run([binary, "init", "--data", tmp_path / "data", "--account", "records"], check=True, capture_output=True)
    config = pathlib.Path(tmp_path / "c.yaml")
    config.write_text(f"data: {tmp_path}/data\nlisten:\n  - 127.0.0.1:1\ncopy_sources:\n  - '{entry}'\n")
    done = subprocess.run([binary, "serve", "--config", config], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "copy_sources" in done.stderr, done
