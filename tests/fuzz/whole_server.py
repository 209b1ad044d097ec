#!/usr/bin/env python3
"""The whole server, through its socket, from requests that are nearly right.

Requests are built from the table of operations, from the header and parameter names that the sources read, and from what
earlier answers said (ETags, leases, versions, markers), and are signed, so that they get deep. Some are then damaged: as a
list of headers before they are signed, or as bytes after. They go out in pieces, several on a connection, some cut off.

What must hold whatever is sent: the process lives and a sanitizer says nothing; what comes back is HTTP, and never 500; the
health page answers; memory is bounded; another account's blobs are as they were; a stop is clean, and `check` finds nothing.

    whole_server.py [--seconds N] [--seed N] [--threads N]      STRONGROOM: the program, best one with a sanitizer
"""

import argparse
import base64
import collections
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "wire"))
import wire  # noqa: E402
from test_credentials import ROWS  # noqa: E402

RSS_MAX = 3 << 30  # of a program with the address sanitizer, which keeps what was freed
SILENCE_S = 0.3    # after a damaged request: then no answer is expected
CONTAINERS = ["fuzz0", "fuzz1", "fuzz2", "$root", "$web", "$logs", "nowhere", "Fuzz0", "fuzz0.", "a" * 63]
BLOBS = ["b", "dir/b", "append", "page", "a b", "%E2%98%83", "dir//x", "x%2Fy", ".", "..", "a%00b", "%c0%af", "+", "z" * 900,
         "index.html", "%ff%fe", "a%3Fb"]
VICTIM = "victim"
ENDING = {"Delete Container", "Rename Container"}  # after which there is little to meet


def names_in_sources(pattern):
    found = set()
    for path in sorted((wire.ROOT / "src").rglob("*.c")):
        found.update(re.findall(pattern, path.read_text()))
    return sorted(found)


HEADERS = names_in_sources(r'"(x-ms-[a-z0-9-]+)"') + [
    "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Range", "Content-MD5", "Content-Type",
    "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control", "Origin", "Accept", "Expect",
    "Access-Control-Request-Method", "Access-Control-Request-Headers", "User-Agent"]
PARAMS = sorted({m for r in ROWS for m in re.findall(r"[?&](\w+)=", r.path)}
                | set(names_in_sources(r'ops_param\(\w+, "(\w+)"')))


# Values that fit a name, so that not all requests end at the first header.
FITTING = [
    (r"range", lambda f: f"bytes={512 * f.r.randrange(9)}-{512 * f.r.randrange(1, 17) - 1}"),
    (r"version$", [wire.VERSION, "2021-12-02", "2019-12-12"]),
    (r"duration", ["-1", "15", "60"]), (r"period", ["0", "60"]), (r"maxresults", ["1", "2", "5000"]),
    (r"blob-type", ["BlockBlob", "AppendBlob", "PageBlob"]), (r"content-length|offset|position|number|size|days|expiry",
                                                              lambda f: str(512 * f.r.randrange(9))),
    (r"tier", ["Hot", "Cool", "Cold", "Archive"]), (r"priority", ["High", "Standard"]),
    (r"action", ["acquire", "renew", "change", "release", "break", "update", "max", "increment"]),
    (r"lease-id", lambda f: "%08x-0000-4000-8000-%012x" % (f.r.randrange(3), f.r.randrange(3))),
    (r"modified-since|until|date", lambda f: wire.http_date(f.r.randrange(-10 ** 6, 10 ** 6))),
    (r"page-write", ["update", "clear"]), (r"delete-snapshots", ["include", "only"]),
    (r"algorithm", ["AES256"]), (r"public-access", ["blob", "container"]), (r"^x-ms-tags|meta", ["a=b", "x=1&y=2"]),
    (r"legal-hold|require|sync|overwrite|undelete|get-content|proposed-hold", ["true", "false"]),
    (r"blockid", lambda f: base64.b64encode(b"%04d" % f.r.randrange(5)).decode()),
    (r"include", ["metadata", "snapshots,versions", "deleted,tags", "uncommittedblobs,copy"]),
    (r"prefix|delimiter|marker", ["", "b", "d", "/"]), (r"where", ["\"a\"='b'", "\"x\">'0'"]),
    (r"blocklisttype", ["all", "committed", "uncommitted"]), (r"accept$", ["*/*", "application/xml"]),
    (r"structured-body", ["XSM/1.0; properties=crc64"]), (r"^x-ms-meta-", ["v"]),
]


def corpus(*kinds):
    return [p.read_bytes() for kind in kinds for p in sorted((HERE / "corpus" / kind).iterdir()) if p.is_file()]


BODIES = corpus("blob_xml", "blob_batch", "structured", "lifecycle", "blob_request") + [b"", b"x", bytes(512), bytes(4096)]


class Fuzzer(threading.Thread):
    def __init__(self, server, number, seed, until):
        super().__init__(daemon=True)
        self.server, self.until = server, until
        self.r = random.Random(f"{seed}/{number}")
        self.learned = collections.defaultdict(lambda: collections.deque(maxlen=30))
        self.sent = collections.deque(maxlen=60)
        self.statuses, self.wrong = collections.Counter(), []

    # ---- values

    def number(self):
        return str(self.r.choice([0, 1, -1, 2, 511, 512, 513, 4096, 65535, 2 ** 31, 2 ** 32, 2 ** 63 - 1, 2 ** 63, 2 ** 64,
                                  10 ** 30, self.r.randrange(10000)]))

    def text(self):
        n = self.r.choice([0, 1, 3, 10, 64, 300, 5000])
        return "".join(chr(self.r.choice([self.r.randrange(33, 127), self.r.randrange(1, 256)])) for _ in range(n))

    def value(self, name):
        low = name.lower()
        pick = self.r.random()
        if pick < 0.35 and self.learned:
            kind = next((k for k in self.learned if k in low or low in k), self.r.choice(list(self.learned)))
            return self.r.choice(self.learned[kind])
        if "copy-source" in low and pick < 0.9 and "if" not in low:
            target = f"/{self.server.account}/{self.r.choice(CONTAINERS[:3])}/{self.r.choice(BLOBS[:4])}"
            return f"http://127.0.0.1:{self.server.port}{target}?{wire.account_sas(sp='rwdlacupx')}"
        for part, fitting in FITTING:
            if pick < 0.85 and re.search(part, low):
                return self.r.choice(fitting) if isinstance(fitting, list) else fitting(self)
        choices = [
            self.number, self.text, lambda: wire.iso(self.r.randrange(-10 ** 6, 10 ** 6)), wire.http_date,
            lambda: f"bytes={self.number()}-{self.number()}", lambda: f"bytes={self.r.randrange(9000)}-", lambda: "*",
            lambda: "true", lambda: "false", lambda: str(self.r.choice(["Hot", "Cool", "Cold", "Archive", "P10"])),
            lambda: self.r.choice(["acquire", "renew", "change", "release", "break", "update", "clear", "include", "only"]),
            lambda: self.r.choice(["BlockBlob", "AppendBlob", "PageBlob", "container", "blob", "locked", "unlocked"]),
            lambda: base64.b64encode(self.r.randbytes(self.r.choice([8, 16, 32, 33]))).decode(),
            lambda: "%08x-0000-4000-8000-%012x" % (self.r.randrange(1 << 32), self.r.randrange(1 << 48)),
            lambda: "AES256", lambda: "XSM/1.0; properties=crc64", lambda: "a=b&c=d", lambda: "\"a\"='b' AND c >= '1'"]
        return self.r.choice(choices)()

    # ---- one request as (method, target, headers, body)

    def target(self, row):
        place = {"CONTAINER": self.r.choice(CONTAINERS[:3] if self.r.random() < 0.8 else CONTAINERS),
                 "BLOB": self.r.choice(BLOBS[:4] if self.r.random() < 0.7 else BLOBS)}
        path = row.path.replace("/ACCOUNT", f"/{self.server.account}", 1)
        path = re.sub("CONTAINER|BLOB", lambda m: place[m[0]], path)
        path = re.sub(r"(\w+)=…", lambda m: f"{m[1]}={wire.quote(self.value(m[1]), safe='')}", path)
        for _ in range(self.r.choice([0] * 8 + [1, 1, 2, 4])):
            name = self.r.choice(PARAMS)
            path += ("&" if "?" in path else "?") + f"{name}={wire.quote(self.value(name), safe='')}"
        return path

    def body(self, row):
        pick = self.r.random()
        if row.method in ("GET", "HEAD", "DELETE", "OPTIONS") and pick < 0.9:
            return b""
        if pick < 0.5 and re.search("copy-source|clear|comp=(lease|snapshot|properties|metadata|undelete|tier|expiry)|restype",
                                    f"{row.path} {row.headers}"):
            return b""
        if pick < 0.4:
            return self.r.randbytes(self.r.choice([0, 1, 512, 1024, 4096, 40000]))
        body = self.r.choice(BODIES)
        return self.damage(body) if pick > 0.8 else body

    def request(self):
        row = self.r.choice(ROWS)
        if row.name in ENDING and self.r.random() < 0.95:
            row = self.r.choice(ROWS)
        target, body = self.target(row), self.body(row)
        headers = [("Host", f"127.0.0.1:{self.server.port}"), ("x-ms-version", self.r.choice([wire.VERSION] * 30 + ["2021-12-02",
                   "2012-02-12", self.text()])), ("x-ms-date", wire.http_date())]
        for name, v in row.headers.items():
            headers.append((name, v if v != "x" else self.value(name)))
        if row.name == "Put Blob" and "PageBlob" in row.headers.values():
            headers.append(("x-ms-blob-content-length", str(512 * self.r.randrange(64))))
        for _ in range(self.r.choice([0, 0, 0, 0, 1, 1, 2, 4])):
            name = self.r.choice(HEADERS)
            headers.append((name, self.value(name)))
        if body or row.method in ("PUT", "POST") or self.r.random() < 0.1:
            headers.append(("Content-Length", str(len(body))))
        headers = [(n, re.sub(r"[\r\n\0]", "", v)) for n, v in headers]
        return self.signed(row.method, target, headers, body)

    def signed(self, method, target, headers, body):
        headers = [h for h in headers if h[0] != "Authorization"]
        pick = self.r.random()
        if pick < 0.8:
            headers.append(("Authorization", wire.authorization(method, target, headers, self.server.account)))
        elif pick < 0.9 and "sig=" not in target:
            target += ("&" if "?" in target else "?") + wire.account_sas(sp="rwdxylacuptfi")
        return method, target, headers, body

    def completed(self, request, answer):
        """The request again, with what the answer says it lacks; None when it says nothing of that kind."""
        missing = re.search(r"([A-Za-z][A-Za-z0-9-]*) is missing", answer.body[:2000].decode("utf-8", "replace"))
        if answer.status != 400 or not missing or self.r.random() < 0.1:
            return None
        method, target, headers, body = request
        name = missing[1]
        value = re.sub(r"[\r\n\0]", "", self.value(name))
        if "-" in name or name[0].isupper():
            return self.signed(method, target, headers + [(name, value)], body)
        return self.signed(method, f"{target}{'&' if '?' in target else '?'}{name}={wire.quote(value, safe='')}", headers, body)

    @staticmethod
    def encoded(method, target, headers, body):
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n"
        return head.encode("utf-8", "surrogateescape") + body

    # ---- damage

    def damage(self, data):
        data = bytearray(data or b"\r\n")
        for _ in range(self.r.choice([1, 1, 2, 5])):
            at = self.r.randrange(len(data) + 1)
            end = min(len(data), at + self.r.choice([1, 1, 4, 50]))
            piece = self.r.choice([self.r.randbytes(1), b"", bytes(data[at:end]) * 2, b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"%00",
                                   b"%2e%2e/", b"\xc0\xaf", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"5\r\n",
                                   b"0\r\n\r\n", b"<a>" * 300, b"&lol;", b"A" * 9000, b": ", b"\t"])
            data[at:end] = piece
        return bytes(data)

    # ---- sending

    def learn(self, answer):
        self.statuses[answer.status] += 1
        for name in ("ETag", "x-ms-lease-id", "x-ms-version-id", "x-ms-snapshot", "x-ms-copy-id", "Last-Modified",
                     "x-ms-content-crc64", "x-ms-encryption-scope"):
            v = answer.get(name)
            if v:
                self.learned[{"etag": "if-match", "x-ms-version-id": "versionid", "last-modified": "modified-since"}.get(
                    name.lower(), name.lower())].append(v)
        for m in re.findall(rb"<(NextMarker|Name|VersionId|Version|Deleted)>([^<]{1,200})<", answer.body[:20000]):
            self.learned[m[0].decode().lower().replace("next", "")].append(m[1].decode("utf-8", "replace"))
        if answer.status == 500 or answer.status > 503:
            self.wrong.append(f"{answer!r}")

    def exchange(self):
        whole = self.r.random() < 0.6
        requests = [self.request() for _ in range(self.r.choice([1, 1, 1, 1, 2, 4]))]
        data = b"".join(self.encoded(*q) for q in requests)
        if not whole:
            data = self.damage(data)
        cut = self.r.random() < 0.05
        if cut:
            data = data[:self.r.randrange(len(data) + 1)]
        self.sent.append(data[:20000])
        with wire.Connection(self.server.port) as c:
            while data:
                n = self.r.choice([len(data), len(data), 1, 100, 4000])
                c.send(data[:n])
                data = data[n:]
                if self.r.random() < 0.02:
                    time.sleep(0.01)
            if cut and self.r.random() < 0.5:
                return
            if not whole or cut:
                c.sock.settimeout(SILENCE_S)
                if self.r.random() < 0.5:
                    c.sock.shutdown(socket.SHUT_WR)
            # What was damaged may be any number of requests, of any method; of the others each is answered.
            for q in requests if whole and not cut else [None] * 8:
                try:
                    answer = c.read(q[0] if q else "GET")
                    self.learn(answer)
                    for _ in range(4 if len(requests) == 1 and q else 0):
                        q = self.completed(q, answer)
                        if q is None:
                            break
                        c.send(self.encoded(*q))
                        answer = c.read(q[0])
                        self.learn(answer)
                except (wire.Closed, TimeoutError, OSError):
                    return
                except (AssertionError, ValueError) as e:
                    # The body of an answer to what became a HEAD request is not sent, so the next answer is read as it.
                    if q:
                        self.wrong.append(f"no HTTP: {e!r}")
                    return

    def run(self):
        while time.monotonic() < self.until and not self.wrong:
            try:
                self.exchange()
            except OSError:
                time.sleep(0.05)
                if not self.server.alive():
                    return


def operate(server, *words):
    done = subprocess.run([server.program, *words, "--data", server.folder], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


def prepare(server):
    """Containers and blobs to meet, all settings that make more happen, and an account that nobody here speaks for."""
    operate(server, "account", "set", server.account, "versioning=on")
    operate(server, "account", "set", server.account, "container_delete_days=1")
    said = operate(server, "account", "create", VICTIM)
    key = re.search(r"AccountKey=([^;\s]+)", said)[1]
    other = wire.Api(server, account=VICTIM, key=key)
    assert other("PUT", "/held?restype=container").status == 201
    contents = {f"blob{i}": os.urandom(1000 * i) for i in range(8)}
    for name, data in contents.items():
        assert other("PUT", f"/held/{name}", {"x-ms-blob-type": "BlockBlob"}, data).status == 201
    return other, contents


def provide(api):
    """Something to meet: made again when it has been deleted."""
    for c in CONTAINERS[:5]:
        api("PUT", f"/{c}?restype=container")
        api("PUT", f"/{c}/b", {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*"}, b"content")
        api("PUT", f"/{c}/append", {"x-ms-blob-type": "AppendBlob", "If-None-Match": "*"})
        api("PUT", f"/{c}/page", {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "8192", "If-None-Match": "*"})


def watch(server, other, contents):
    """None, or what is wrong now."""
    status = subprocess.run(["ps", "-o", "rss=", "-p", str(server.process.pid)], capture_output=True, text=True).stdout
    if status.strip() and int(status) * 1024 > RSS_MAX:
        return f"{int(status) >> 10} MiB resident"
    try:
        answer = wire.http.client.HTTPConnection("127.0.0.1", server.port + 1, timeout=wire.TIMEOUT_S)
        answer.request("GET", "/healthz")
        if answer.getresponse().status != 200:
            return "the health page does not say that all is well"
        for name, data in contents.items():
            if other("GET", f"/held/{name}").body != data:
                return f"another account's {name} is not as it was"
    except (OSError, wire.Closed) as e:
        return f"no answer: {e!r}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("STRONGROOM_FUZZ_SECONDS", "60")))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--threads", type=int, default=8)
    args = parser.parse_args()
    print(f"whole_server: seed {args.seed}", flush=True)
    server = wire.Server()
    other, contents = prepare(server)
    own = wire.Api(server)
    provide(own)
    until = time.monotonic() + args.seconds
    fuzzers = [Fuzzer(server, i, args.seed, until) for i in range(args.threads)]
    for f in fuzzers:
        f.start()
    wrong = []
    while any(f.is_alive() for f in fuzzers) and not wrong and not any(f.wrong for f in fuzzers):
        time.sleep(1)
        provide(own)
        said = watch(server, other, contents)
        wrong += [said] if said else []
    for f in fuzzers:
        f.until = 0
        f.join()
        wrong += f.wrong
    said = watch(server, other, contents)
    wrong += [said] if said else []
    folder, server.folder = server.folder, "/nonexistent"  # stays, for the check
    status = server.stop()
    if status != 0:
        wrong.append(f"ended with {status}:\n" + "".join(list(server.output)[-60:]))
    checked = subprocess.run([server.program, "check", "--data", folder], capture_output=True, text=True)
    if checked.returncode != 0:
        wrong.append(f"check: {checked.returncode}\n{checked.stdout[-3000:]}{checked.stderr[-3000:]}")
    statuses = sum((f.statuses for f in fuzzers), collections.Counter())
    print("whole_server:", sum(statuses.values()), "answers:", ", ".join(f"{n} of {s}" for s, n in sorted(statuses.items())))
    for w in wrong:
        print("whole_server:", w)
    if wrong:
        for i, f in enumerate(fuzzers):
            path = pathlib.Path(folder) / f"sent-{i}"
            path.write_bytes(b"\n-----\n".join(f.sent))
        print(f"whole_server: the folder, and what each thread sent last, stay in {folder}")
        return 1
    wire.shutil.rmtree(folder)
    print("whole_server: 0 wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
