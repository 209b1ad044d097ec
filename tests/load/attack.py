#!/usr/bin/env python3
"""What others notice of an attack: clients put, read and list while one kind of attacker after the other has the server.

Every answer that a client gets must be the right one. How much longer it took than just before is told (median, p99, and the
p99s' ratio) and never judged: attackers and clients share this machine's cores with the server. After each attack the
server must have got rid of its connections, at the end it stops and `check` is clean.

    attack.py [--seconds N] [--only KIND] [--clients N]

An attacker is a process of its own, this program with --attack.
"""

import argparse
import contextlib
import http.client
import pathlib
import random
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
from server import Server, Tls, content  # noqa: E402

MIB = 1 << 20
SMALL = 4096
LARGE = 8 * MIB
NAMES = 20
LEFT_MAX = 60          # connections, when an attacker has gone
LEFT_SECONDS_MAX = 60  # until then
READY_SECONDS_MAX = 120
HELLO_BYTES = 100


# ---- attackers -----------------------------------------------------------------------------------------------------

class Attacker:
    """Holds connections and says how many; what it does with them is its subclasses' matter."""
    wanted = 500
    pause_s = 0.2

    def __init__(self, where):
        self.where, self.held = where, []

    def connect(self, port=None):
        s = socket.create_connection(("127.0.0.1", port or self.where.plain), 30)
        s.setblocking(False)
        return s

    def open(self):
        s = self.connect()
        self.begin(s)
        self.held.append(s)

    def begin(self, s):
        pass

    def go_on(self, s):
        """Now and then, of each connection."""

    def run(self):
        while len(self.held) < self.wanted:
            with contextlib.suppress(OSError):
                self.open()
        print(f"ready {len(self.held)}", flush=True)
        while True:
            for i, s in enumerate(self.held):
                try:
                    self.go_on(s)
                except BlockingIOError:
                    pass
                except OSError:  # the server had enough of it: another one
                    s.close()
                    with contextlib.suppress(OSError):
                        self.held[i] = self.connect()
                        self.begin(self.held[i])
            time.sleep(self.pause_s)


class Idle(Attacker):
    """10,000 connections that have asked once and say nothing more."""
    wanted = 10000

    def begin(self, s):
        s.send(b"GET /nobody?comp=list HTTP/1.1\r\nHost: x\r\nx-ms-version: 2021-12-02\r\n\r\n")


class Silent(Attacker):
    """Connections on which nothing comes, or half a head."""

    def begin(self, s):
        if len(self.held) % 2:
            s.send(b"GET /nobody/c/b HTTP/1.1\r\nHost: x\r\nx-ms-")


class SlowHeads(Attacker):
    """Heads that come a byte at a time and never end."""

    def begin(self, s):
        s.send(b"GET /nobody/c/b HTTP/1.1\r\nHost: x\r\nx-ms-meta-a: ")

    def go_on(self, s):
        s.send(b"a")


class SlowBodies(Attacker):
    """Small bodies of a signed upload that come a byte at a time."""
    wanted = 300

    def begin(self, s):
        s.send(f"PUT /{self.where.account}/load/slow{len(self.held)}?{self.where.sas} HTTP/1.1\r\nHost: x\r\n"
               "x-ms-version: 2021-12-02\r\nx-ms-blob-type: BlockBlob\r\nContent-Length: 60000\r\n\r\n".encode())

    def go_on(self, s):
        s.send(b"a")


class SlowUploads(Attacker):
    """Large ones, as many as there are workers for them."""
    wanted = 64

    def begin(self, s):
        s.send(f"PUT /{self.where.account}/load/slow{len(self.held)}?{self.where.sas} HTTP/1.1\r\nHost: x\r\n"
               f"x-ms-version: 2021-12-02\r\nx-ms-blob-type: BlockBlob\r\nContent-Length: {64 * MIB}\r\n\r\n".encode())
        with contextlib.suppress(BlockingIOError):
            s.send(bytes(80000))

    def go_on(self, s):
        s.send(bytes(1024))


class SlowReaders(Attacker):
    """Who ask for 8 MiB and read 1 KiB now and then."""

    def connect(self, port=None):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(30)
        s.connect(("127.0.0.1", self.where.plain))
        s.setblocking(False)
        return s

    def begin(self, s):
        s.send(f"GET /{self.where.account}/load/large?{self.where.sas} HTTP/1.1\r\nHost: x\r\n"
               "x-ms-version: 2021-12-02\r\n\r\n".encode())

    def go_on(self, s):
        if s.recv(1024) == b"":
            raise OSError("closed")


class Connects(Attacker):
    """Connections, one after the other, closed at once; half of them by a reset."""

    def run(self):
        print("ready 0", flush=True)
        hard = (1).to_bytes(4, "little") + bytes(4)  # struct linger: on, 0 s
        while True:
            with contextlib.suppress(OSError):
                s = self.connect()
                if random.randrange(2):
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
                s.close()


class Handshakes(Attacker):
    """TLS handshakes, one after the other, each whole and then thrown away."""

    def run(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        print("ready 0", flush=True)
        while True:
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", self.where.tls), 30) as s:
                    context.wrap_socket(s).close()


class HalfHandshakes(Attacker):
    """Handshakes that stop in the middle of the first message."""

    def begin(self, s):
        s.close()
        s = self.connect(self.where.tls)
        self.hello = getattr(self, "hello", None) or self.first_message()
        s.send(self.hello[:HELLO_BYTES])
        self.last = s

    def open(self):
        self.begin(self.connect())
        self.held.append(self.last)

    @staticmethod
    def first_message():
        context, to = ssl.create_default_context(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), to, server_hostname="localhost").do_handshake()
        return to.read()


KINDS = {"idle": Idle, "silent": Silent, "slow-heads": SlowHeads, "slow-bodies": SlowBodies, "slow-uploads": SlowUploads,
         "slow-readers": SlowReaders, "connects": Connects, "handshakes": Handshakes, "half-handshakes": HalfHandshakes}


# ---- clients -------------------------------------------------------------------------------------------------------

class Client(threading.Thread):
    """Puts, reads and lists blobs of its own on one connection, and knows what must come back."""

    def __init__(self, where, number, seconds):
        super().__init__(daemon=True)
        self.where, self.number = where, number
        self.random = random.Random(number)
        self.blobs = {}
        self.took, self.wrong = [], []
        self.until = time.monotonic() + seconds
        self.connection = http.client.HTTPConnection("127.0.0.1", where.plain, timeout=60)

    def ask(self, method, name, query="", body=None, wanted=200):
        headers = {"x-ms-version": "2021-12-02"} | ({"x-ms-blob-type": "BlockBlob"} if body is not None else {})
        begun = time.monotonic()
        self.connection.request(method, f"/{self.where.account}/load{name}?{query}{self.where.sas}", body, headers)
        answer = self.connection.getresponse()
        data = answer.read()
        self.took.append(time.monotonic() - begun)
        if answer.status != wanted:
            self.wrong.append(f"{method} {name}: {answer.status} {data[:100]!r}")
        return data

    def step(self):
        name = f"/{self.number}/{self.random.randrange(NAMES):02}"
        kind = self.random.randrange(10)
        if kind < 3 or not self.blobs:
            data = self.random.randbytes(SMALL)
            self.ask("PUT", name, body=data, wanted=201)
            self.blobs[name] = data
        elif kind < 9:
            name = self.random.choice(list(self.blobs))
            if self.ask("GET", name) != self.blobs[name]:
                self.wrong.append(f"{name}: another content")
        else:
            listed = self.ask("GET", "", f"restype=container&comp=list&prefix={self.number}/&")
            if listed.count(b"<Blob>") != len(self.blobs):
                self.wrong.append(f"{listed.count(b'<Blob>')} blobs are listed, not {len(self.blobs)}")

    def run(self):
        try:
            while time.monotonic() < self.until and len(self.wrong) < 5:
                self.step()
        except (OSError, http.client.HTTPException) as e:
            self.wrong.append(repr(e))


clients_so_far = 0


def work(where, count, seconds):
    """What clients measured, and what was wrong."""
    global clients_so_far
    clients = [Client(where, clients_so_far + i, seconds) for i in range(count)]
    clients_so_far += count  # each with names of its own
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    return sorted(t for c in clients for t in c.took), [w for c in clients for w in c.wrong]


def quantile(values, q):
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


# ---- all of it -----------------------------------------------------------------------------------------------------

class Where:
    def __init__(self, plain, tls, account, sas):
        self.plain, self.tls, self.account, self.sas = plain, tls, account, sas


def start_attack(kind, where):
    p = subprocess.Popen([sys.executable, "-B", __file__, "--attack", kind, "--where",
                          f"{where.plain} {where.tls} {where.account} {where.sas}"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(READY_SECONDS_MAX, p.kill)
    timer.start()
    line = p.stdout.readline()
    timer.cancel()
    if not line.startswith("ready"):
        p.kill()
        p.wait()
        raise RuntimeError(f"the attacker '{kind}' did not get ready")
    return p, int(line.split()[1])


def connections_left(server):
    give_up = time.monotonic() + LEFT_SECONDS_MAX
    while True:
        left = server.metrics()["strongroom_http_connections"]
        if left <= LEFT_MAX or time.monotonic() > give_up:
            return left
        time.sleep(0.2)


def one_attack(kind, server, where, args):
    before, wrong = work(where, args.clients, args.seconds)
    wrong = [f"before {kind}: {w}" for w in wrong]
    attacker, held = start_attack(kind, where)
    try:
        under, more = work(where, args.clients, args.seconds)
        during = server.metrics()["strongroom_http_connections"]
        rss = server.process.rss_bytes()
        wrong += [f"{kind}: {w}" for w in more]
        if attacker.poll() is not None:
            wrong.append(f"the attacker '{kind}' ended")
    finally:
        attacker.kill()
        attacker.wait()
    left = connections_left(server)
    if left > LEFT_MAX:
        wrong.append(f"{kind}: {left:.0f} connections stay when it is over")
    if not under or not before:
        wrong.append(f"{kind}: no client was answered")
        return wrong
    ms = [1e3 * quantile(v, q) for v in (before, under) for q in (0.5, 0.99)]
    print(f"{kind:>16} {held:>6} {during:>6.0f} {rss / MIB:>5.0f} {len(before):>7} {len(under):>7} {ms[0]:>7.2f} {ms[2]:>7.2f}"
          f" {ms[1]:>8.2f} {ms[3]:>8.2f} {ms[3] / ms[1]:>6.1f}", flush=True)
    return wrong


def attack_all(args):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Server()
    server.data.parent.mkdir(parents=True, exist_ok=True)
    server.with_tls(Tls(server.data.parent / "tls"))
    where = Where(server.port + 3, server.port, server.account, server.account_sas())
    server.config.write_text(server.config.read_text().replace(
        "tls:\n", f"  - http://127.0.0.1:{where.plain}\ntls:\n", 1))
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", where.plain, timeout=60)
    for name, query, body in (("", "restype=container&", None), ("/large", "", content("large", LARGE))):
        connection.request("PUT", f"/{where.account}/load{name}?{query}{where.sas}", body,
                           {"x-ms-version": "2021-12-02", "x-ms-blob-type": "BlockBlob"})
        answer = connection.getresponse()
        if answer.status != 201:
            raise RuntimeError(f"{answer.status} {answer.read()!r}")
        answer.read()
    connection.close()
    print(f"{'attack':>16} {'held':>6} {'open':>6} {'MiB':>5} {'asked':>7} {'under':>7} {'median':>7} {'under':>7} {'p99 ms':>8}"
          f" {'under':>8} {'ratio':>6}")
    wrong = []
    for kind in [args.only] if args.only else KINDS:
        if kind == "idle" and hard < Idle.wanted + 500:
            print(f"{kind:>16} skipped: only {hard} open files are allowed here")
            continue
        wrong += one_attack(kind, server, where, args)
    if server.process.process.poll() is not None:
        wrong.append("the server died:\n" + server.process.output[-2000:])
    elif (status := server.stop()) != 0:
        wrong.append(f"the server ended with {status}")
    checked = server.check()
    if checked.returncode != 0:
        wrong.append(f"check: {checked.returncode}\n{checked.stdout}{checked.stderr}")
    for w in wrong:
        print("attack:", w)
    print(f"attack: {len(wrong)} wrong")
    if not wrong:
        server.close()
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement, two an attack")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--attack", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--where", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.attack:
        return attack_all(args)
    plain, tls, account, sas = args.where.split(" ")
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    KINDS[args.attack](Where(int(plain), int(tls), account, sas)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
