"""The status page of the admin listener: what is wrong stands on it, and nothing on it runs."""
import base64
import hashlib
import html.parser
import http.server
import re
import subprocess
import threading
import time

import pytest
import wire

HOSTILE = "<script>alert(1)</script>"


class Page(html.parser.HTMLParser):
    """Tags, and the text of the page; that tags are closed in order."""
    VOID = {"meta"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if "style" not in self.open else ""

    def has(self, tag):
        return [a for t, a in self.tags if t == tag]


def get(port, method="GET", target="/"):
    with wire.Connection(port) as c:
        c.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return c.read(method)


def check_page(r):
    assert r.status == 200 and r.get("content-type") == "text/html; charset=utf-8"
    page = Page(r.text)
    assert not page.has("script") and not page.has("img") and not page.has("link") and not page.has("iframe")
    assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on") or a in ("src", "href", "style")]
    style = re.search("<style>(.*?)</style>", r.text, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert r.get("content-security-policy") == (f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
                                                "form-action 'none'; frame-ancestors 'none'")
    assert page.has("html") == [{"lang": "en"}] and len(page.has("h1")) == 1 and page.has("main") == [{}]
    assert all(a.get("scope") in ("row", "col") for a in page.has("th"))
    return page


def test_all_is_well(own):
    api = wire.Api(own)
    for _ in range(3):
        api.create_container()
    api.close()
    page = check_page(get(own.port + 1))
    assert "All is well" in page.text and "<title>Strongroom</title>" in get(own.port + 1).text
    assert re.search(r"Accounts\s*1\b", page.text) and re.search(r"Containers\s*[3-9]", page.text)
    assert get(own.port + 1, "HEAD").status == 200 and get(own.port + 1, "POST").status == 405
    assert get(own.port + 1, target="/index.html").status == 404
    assert wire.ACCOUNT not in page.text


class Refusing(http.server.BaseHTTPRequestHandler):
    """A witness that has cosigned more than there is."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"999999999\n"
        self.send_response(409)
        self.send_header("Content-Type", "text/x.tlog.size")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def refused(tmp_path):
    """The admin port of a server whose witness, of a hostile name, refuses."""
    witness = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=witness.serve_forever, daemon=True).start()
    program, port = wire.os.environ.get("STRONGROOM", str(wire.ROOT / "build" / "strongroom")), wire.free_base_port()
    subprocess.run([program, "init", "--data", str(tmp_path / "data"), "--account", "records"], check=True,
                   capture_output=True)
    name, key = "example.org/w", b"\x04" + bytes(range(32))
    hash_ = hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8]
    (tmp_path / "policy").write_text(f"witness {HOSTILE} {name}+{hash_}+{base64.b64encode(key).decode()} "
                                     f"http://127.0.0.1:{witness.server_port}\nquorum {HOSTILE}\n")
    (tmp_path / "yaml").write_text(f"data: {tmp_path}/data\nlisten:\n  - 127.0.0.1:{port}\nadmin:\n  listen: "
                                   f"127.0.0.1:{port + 1}\naudit:\n  witnesses: {tmp_path}/policy\n")
    server = subprocess.Popen([program, "serve", "--config", str(tmp_path / "yaml")], stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if '"ready"' in line:
            break
    threading.Thread(target=server.stderr.read, daemon=True).start()
    wire.Connection(port).send(b"GET /records HTTP/1.1\r\nHost: x\r\n\r\n")  # an entry, so that there is a checkpoint
    yield port + 1
    server.terminate()
    assert server.wait(wire.TIMEOUT_S) == 0
    witness.shutdown()


def test_a_witness_that_refuses_stands_first(refused):
    end = time.monotonic() + wire.TIMEOUT_S
    while "alarm –" not in (r := get(refused)).text and time.monotonic() < end:
        time.sleep(0.1)
    page = check_page(r)
    assert HOSTILE in page.text and HOSTILE not in r.text
    first = page.text.index("Alarm: Witness")
    assert first < page.text.index("Program") and "it has cosigned 999999999 entries" in page.text[first:first + 200]
    assert "Do not restart over it" in page.text and "refuses" in page.text[page.text.index("Witnesses"):]
