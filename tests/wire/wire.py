"""Raw HTTP towards a Strongroom server: sockets, our own signing, no SDK and no HTTP library.

A test says what goes over the wire, byte by byte where it matters, and what must come back.
"""
import base64
import collections
import datetime
import hashlib
import hmac
import http.client
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from urllib.parse import quote, unquote

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2026-06-06"
TIMEOUT_S = int(os.environ.get("WIRE_TIMEOUT_S", "30"))
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from ports import free_port as free_base_port  # noqa: E402


# How often development servers that have stopped answered (operation, status); conftest.py compares with
# docs/operations.md.
ANSWERED = collections.Counter()


def answered(port):
    """The same of the development server on that port, from its metrics; nothing when it does not say."""
    found = collections.Counter()
    try:
        c = http.client.HTTPConnection("127.0.0.1", port + 1, timeout=TIMEOUT_S)
        c.request("GET", "/metrics")
        text = c.getresponse().read().decode()
        c.close()
    except (OSError, http.client.HTTPException):
        return found
    for operation, status, n in re.findall(r'^strongroom_requests_total\{protocol="blob",operation="([^"]+)",'
                                           r'status="(\d+)"\} (\d+)$', text, re.M):
        found[operation, int(status)] += int(n)
    return found


class Server:
    """A server on a folder of its own, from its start to its death. In development mode it is ready when it has
    printed its connection string; in production (init, serve --config) when it answers."""

    def __init__(self, production=False, arguments=()):
        self.program = os.environ.get("STRONGROOM", str(ROOT / "build" / "strongroom"))
        self.port = free_base_port()
        self.folder = tempfile.mkdtemp(prefix="strongroom-wire-")
        self.output = collections.deque(maxlen=400)
        self.account, self.key, self.suffix = ACCOUNT, KEY, "blob.storage.example"
        start = ["--dev", "--data", self.folder, "--port", str(self.port)]
        if production:
            start = ["--config", self._init()]
        self.process = subprocess.Popen([self.program, "serve", *start, *arguments], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        printed = threading.Event()
        threading.Thread(target=self._drain, args=(printed,), daemon=True).start()
        ready = self._answers() if production else printed.wait(TIMEOUT_S)
        if not ready or not self.alive():
            self.stop()
            raise RuntimeError("the server did not get ready:\n" + "".join(self.output))

    def _init(self):
        out = subprocess.run([self.program, "init", "--data", self.folder + "/data", "--account", "records"],
                             check=True, capture_output=True, text=True).stdout
        line = next(x for x in out.splitlines() if "AccountKey=" in x)
        fields = dict(f.split("=", 1) for f in line.strip().split(";") if f)
        self.account, self.key = fields["AccountName"], fields["AccountKey"]
        path = self.folder + "/strongroom.yaml"
        pathlib.Path(path).write_text(f"data: {self.folder}/data\nlisten:\n  - 127.0.0.1:{self.port}\n"
                                      f"host_suffix: {self.suffix}\n")
        return path

    def _answers(self):
        end = time.monotonic() + TIMEOUT_S
        while self.alive() and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                time.sleep(0.05)
        return False

    def _drain(self, printed):
        for line in self.process.stdout:
            self.output.append(line)
            if "AccountName=" in line:
                printed.set()
        printed.set()

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        if self.alive():
            ANSWERED.update(answered(self.port))
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.process.returncode


class Closed(Exception):
    """The server closed the connection before a whole answer."""


class Response:
    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body

    def get(self, name, default=None):
        return next((v for n, v in self.headers if n.lower() == name.lower()), default)

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    @property
    def code(self):
        return self.get("x-ms-error-code")

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def xml(self):
        return ElementTree.fromstring(self.body.removeprefix(b"\xef\xbb\xbf"))

    @property
    def metadata(self):
        return {n.lower()[10:]: v for n, v in self.headers if n.lower().startswith("x-ms-meta-")}

    def __repr__(self):
        return f"<{self.status} {self.code or ''} {self.body[:600]!r}>"


class Connection:
    """One TCP connection. Requests go out as bytes; answers are parsed strictly."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the answer, if there is one, tells

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(f"closed after {self.buffer[:200]!r}")
        self.buffer += data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _take(self, n):
        while len(self.buffer) < n:
            self._more()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_head(self):
        line = self._line().decode("ascii")
        version, status, reason = (line.split(" ", 2) + [""])[:3]
        assert version in ("HTTP/1.1", "HTTP/1.0"), line
        headers = []
        while line := self._line():
            name, colon, value = line.decode("latin-1").partition(":")
            assert colon and name == name.strip(), line
            headers.append((name, value.strip()))
        return int(status), reason, headers

    def read(self, method="GET"):
        """The next final answer; interim ones (100 Continue) are skipped."""
        while True:
            status, reason, headers = self.read_head()
            if status >= 200:
                break
        low = {n.lower(): v for n, v in headers}
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif low.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self._line().split(b";")[0], 16):
                body += self._take(size)
                assert self._take(2) == b"\r\n"
            while self._line():
                pass
        elif "content-length" in low:
            body = self._take(int(low["content-length"]))
        else:
            body = b""
            try:
                while True:
                    self._more()
            except Closed:
                body, self.buffer = self.buffer, b""
        return Response(status, reason, headers, body)

    def closed(self):
        """True when the server closes its side and sends nothing more. It may wait for us to finish first, so that
        its answer is not lost (RFC 9112 9.6)."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            self._more()
        except Closed:
            return not self.buffer
        except TimeoutError:
            pass
        return False


# ---- signing: "Authorize with Shared Key", "Create an account SAS", "Create a service SAS" ----------------------

def http_date(offset_s=0):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset_s)
    return at.strftime("%a, %d %b %Y %H:%M:%S GMT")


def iso(offset_s=0):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset_s)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def mac(key, text):
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


def split_target(target):
    path, _, query = target.partition("?")
    params = [tuple(unquote(x) for x in (p.partition("=")[0], p.partition("=")[2])) for p in query.split("&") if p]
    return path, params


def string_to_sign(method, target, headers, account=ACCOUNT, lite=False):
    low = {}
    for name, value in headers:
        low[name.lower()] = low[name.lower()] + "," + value.strip() if name.lower() in low else value.strip()
    path, params = split_target(target)
    ms = "".join(f"{n}:{low[n]}\n" for n in sorted(low) if n.startswith("x-ms-"))
    date = "" if "x-ms-date" in low else low.get("date", "")
    if lite:
        comp = dict(params).get("comp")
        return "\n".join([method, low.get("content-md5", ""), low.get("content-type", ""), date, ms]) + \
            f"/{account}{path}" + (f"?comp={comp}" if comp else "")
    length = low.get("content-length", "")
    values = collections.defaultdict(list)
    for name, value in params:
        values[name.lower()].append(value)
    fields = [method, low.get("content-encoding", ""), low.get("content-language", ""), "" if length == "0" else length,
              low.get("content-md5", ""), low.get("content-type", ""), date, low.get("if-modified-since", ""),
              low.get("if-match", ""), low.get("if-none-match", ""), low.get("if-unmodified-since", ""),
              low.get("range", ""), ms]
    return "\n".join(fields) + f"/{account}{path}" + \
        "".join(f"\n{n}:{','.join(sorted(values[n]))}" for n in sorted(values))


def authorization(method, target, headers, account=ACCOUNT, key=KEY, lite=False):
    text = string_to_sign(method, target, headers, account, lite)
    return f"SharedKey{'Lite' if lite else ''} {account}:{mac(key, text)}"


def encode_token(fields):
    return "&".join(f"{n}={quote(v, safe='')}" for n, v in fields.items() if v)


def account_sas(key=KEY, account=ACCOUNT, **fields):
    f = {"sv": VERSION, "ss": "b", "srt": "sco", "sp": "rwdlacup", "se": iso(3600)} | fields
    text = "\n".join([account] + [f.get(n, "") for n in ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv")]) + "\n"
    if f["sv"] >= "2020-12-06":
        text += f.get("ses", "") + "\n"
    return encode_token(f | {"sig": mac(key, text)})


def service_sas(container, blob=None, key=KEY, account=ACCOUNT, **fields):
    """A token for the container, or for one blob of it. Pass a field as None to leave it out."""
    f = {"sv": VERSION, "sr": "c" if blob is None else "b", "sp": "r", "se": iso(3600)} | fields
    f = {n: v for n, v in f.items() if v is not None}
    resource = f"/blob/{account}/{container}" + ("" if blob is None else f"/{blob}")
    lines = [f.get("sp", ""), f.get("st", ""), f.get("se", ""), resource] + \
        [f.get(n, "") for n in ("si", "sip", "spr", "sv")]
    if f["sv"] >= "2018-11-09":
        lines += [f["sr"], f.get("snapshot", "")]
    if f["sv"] >= "2020-12-06":
        lines.append(f.get("ses", ""))
    lines += [f.get(n, "") for n in ("rscc", "rscd", "rsce", "rscl", "rsct")]
    return encode_token(f | {"sig": mac(key, "\n".join(lines))})


# ---- a client ------------------------------------------------------------------------------------------------------

counter = itertools.count(1)


class Api:
    """Requests against one account, signed with Shared Key unless told otherwise. Keeps one connection."""

    def __init__(self, server, account=None, key=None):
        self.server, self.account, self.key = server, account or server.account, key or server.key
        self.connection = None

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def build(self, method, path, headers=(), body=b"", *, sign=True, sas=None, length=True, base=None, version=VERSION,
              host=None, key=None, date=0):
        """The bytes of a request. path: below the account, "/container/blob?query", already encoded.
        sign: True, False or "lite"; sas: a token to append (then unsigned); base: instead of "/account"."""
        headers = list(headers.items() if isinstance(headers, dict) else headers)
        target = (f"/{self.account}" if base is None else base) + path
        if sas:
            target += ("&" if "?" in target else "?") + sas
            sign = False
        names = {n.lower() for n, _ in headers}
        if version and "x-ms-version" not in names:
            headers.append(("x-ms-version", version))
        if length and "content-length" not in names and "transfer-encoding" not in names and \
                (body or method in ("PUT", "POST")):
            headers.append(("Content-Length", str(len(body))))
        if sign:
            if not names & {"x-ms-date", "date"}:
                headers.append(("x-ms-date", http_date(date)))
            headers.append(("Authorization", authorization(method, target, headers, self.account, key or self.key,
                                                           sign == "lite")))
        host = host or f"127.0.0.1:{self.server.port}"
        head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n"
        return head.encode("latin-1") + body

    def __call__(self, method, path, headers=(), body=b"", **how):
        data = self.build(method, path, headers, body, **how)
        reused = self.connection is not None
        try:
            return self._roundtrip(method, data)
        except Closed:
            self.close()
            if not reused:
                raise
            return self._roundtrip(method, data)

    def _roundtrip(self, method, data):
        if not self.connection:
            self.connection = Connection(self.server.port)
        self.connection.send(data)
        response = self.connection.read(method)
        if (response.get("connection") or "").lower() == "close":
            self.close()
        return response

    # Short forms of what most tests begin with; each must succeed.
    def create_container(self, name=None, headers=()):
        name = name or f"c{next(counter)}-{os.getpid()}"
        r = self("PUT", f"/{name}?restype=container", headers)
        assert r.status == 201, r
        return name

    def put(self, container, blob, body=b"", headers=(), **how):
        headers = dict(headers)
        return self("PUT", f"/{container}/{quote(blob)}", {"x-ms-blob-type": "BlockBlob"} | headers, body, **how)

    def put_ok(self, container, blob, body=b"", headers=()):
        r = self.put(container, blob, body, headers)
        assert r.status == 201, r
        return r

    def exists(self, container, blob):
        r = self("HEAD", f"/{container}/{quote(blob)}")
        assert r.status in (200, 404), r
        return r.status == 200

    def list(self, container, query="", **how):
        r = self("GET", f"/{container}?restype=container&comp=list{query}", **how)
        assert r.status == 200, r
        return r


def block_id(n, width=8):
    return base64.b64encode(str(n).zfill(width).encode()).decode()


def block_list(*entries):
    """entries: (kind, id); kind is Committed, Uncommitted or Latest."""
    return ("<?xml version='1.0' encoding='utf-8'?><BlockList>" +
            "".join(f"<{k}>{i}</{k}>" for k, i in entries) + "</BlockList>").encode()


CRC_TABLE = []
for _n in range(256):
    for _ in range(8):
        _n = (_n >> 1) ^ (0x9A6C9329AC4BC9B5 if _n & 1 else 0)
    CRC_TABLE.append(_n)


def crc64(data):
    """CRC-64/NVME, base64 of its little-endian bytes."""
    crc = 0xFFFFFFFFFFFFFFFF
    for b in data:
        crc = CRC_TABLE[(crc ^ b) & 0xFF] ^ (crc >> 8)
    return base64.b64encode((crc ^ 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")).decode()


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def assert_error(r, status, code, says=None, head=False):
    """An error as the Blob service answers it: status, code in header and body, a message that says what to change."""
    assert (r.status, r.code) == (status, code), r
    assert r.get("x-ms-request-id") and r.get("date"), r.headers
    assert r.get("x-ms-version"), r.headers
    if head:
        assert r.body == b"", r
        return r
    assert r.get("content-type", "").startswith("application/xml"), r.headers
    assert r.body.startswith(b'<?xml version="1.0" encoding="utf-8"?>') or \
        r.body.startswith(b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>'), r
    assert r.xml.tag == "Error" and r.xml.findtext("Code") == code, r
    assert r.xml.findtext("Message"), r
    if says is not None:
        assert says.lower() in "".join(r.xml.itertext()).lower(), r
    return r


def assert_survives(api, connection, last):
    """After this answer the connection goes on working, or was announced closed and is."""
    if (last.get("connection") or "").lower() == "close":
        assert connection.closed()
        return
    connection.send(api.build("GET", "/?comp=list&maxresults=1"))
    r = connection.read()
    assert r.status == 200, r
