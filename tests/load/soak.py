#!/usr/bin/env python3
"""Mixed work for a long time: every answer is compared with what must be there, and memory, descriptors and disk may not
grow with what has been done.

Clients with names of their own put, overwrite, append, write pages, copy, take snapshots, read whole and in part, list and
delete, with versions on. Each knows what its blobs must hold. Every few seconds the server is measured; a soak fails when
an answer was wrong, or when in the last third of it memory or descriptors stand clearly above those of the first third
after warming up. Then all is deleted: what is left on disk must not depend on what had been there, and `check` is clean.

    soak.py [--seconds N] [--clients N] [--seed N]        (`make soak HOURS=N`: for hours)

Latency is told, third by third, and never judged: other work on the machine changes it.
"""

import argparse
import bisect
import collections
import contextlib
import hashlib
import http.client
import os
import pathlib
import random
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
from server import BINARY, Server  # noqa: E402

MIB = 1 << 20
NAMES = 40
SIZES = [0, 10, 1000, 4096, 30000, 100000, MIB, 5 * MIB]
WEIGHTS = [2, 6, 12, 30, 12, 8, 3, 1]
PAGE_BLOB = 64 * 1024
APPENDS_MAX = 200
SAMPLES = 150
TIMES_MAX = 100000  # of a client and kind of operation; beyond it every second one is forgotten
CLOSE_TO = 0.3  # how much more than in the first third is still no growth
MEMORY_SLACK = 48 * MIB
DESCRIPTORS_SLACK = 40
# An empty store: tables that hold what was deleted until they are merged; and of a server that runs, the extents it writes
# to, one a core, whose space is reserved whole (src/engine/local/extent.c).
DISK_LEFT_MAX = 192 * MIB
RESERVED_MAX = min(max(os.cpu_count(), 2), 4) * 256 * MIB
RECORD_BYTES = 2500  # of an entry with its opening, in rows and published
SETTLE_SECONDS = 60


class Wrong(Exception):
    pass


class Client(threading.Thread):
    """One after the other, each operation on a name of its own, with the answer that it must have."""

    def __init__(self, server, sas, number, seed):
        super().__init__(daemon=True)
        self.server, self.sas, self.number = server, sas, number
        self.random = random.Random(f"{seed}/{number}")
        self.blobs = {}      # name: bytes of what is there, or their hash and length when large
        self.snapshots = []  # (name, moment, content)
        self.times, self.counts = collections.defaultdict(list), collections.Counter()
        self.wrong, self.bytes = [], 0
        self.until = 0
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)

    def ask(self, method, path, query="", body=b"", headers=None, wanted=(200,)):
        target = f"/{self.server.account}/{path}?{query}{'&' if query else ''}{self.sas}"
        self.connection.request(method, target, body, {"x-ms-version": "2021-12-02", **(headers or {})})
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status not in wanted:
            raise Wrong(f"{method} {path}?{query}: {answer.status} {data[:200]!r}")
        self.bytes += len(body) + len(data)
        return answer, data

    def name(self, kind):
        return f"soak/{self.number}/{kind}{self.random.randrange(NAMES):02}"

    def content(self):
        return self.random.randbytes(self.random.choices(SIZES, WEIGHTS)[0])

    # ---- what clients do

    def put(self):
        name, data = self.name("b"), self.content()
        self.ask("PUT", name, body=data, headers={"x-ms-blob-type": "BlockBlob"}, wanted=(201,))
        self.blobs[name] = data

    def blocks(self):
        name, parts = self.name("b"), [self.content() or b"x" for _ in range(self.random.randrange(1, 4))]
        ids = [f"{i:04}{self.random.randrange(10 ** 8):08}" for i in range(len(parts))]
        for i, data in zip(ids, parts):
            self.ask("PUT", name, f"comp=block&blockid={i}", data, wanted=(201,))
        body = "<BlockList>" + "".join(f"<Latest>{i}</Latest>" for i in ids) + "</BlockList>"
        self.ask("PUT", name, "comp=blocklist", body.encode(), wanted=(201,))
        self.blobs[name] = b"".join(parts)

    def append(self):
        name, data = self.name("a"), self.random.randbytes(self.random.randrange(1, 3000))
        if name not in self.blobs or len(self.blobs[name]) > APPENDS_MAX * 3000:
            self.ask("PUT", name, headers={"x-ms-blob-type": "AppendBlob"}, wanted=(201,))
            self.blobs[name] = b""
        self.ask("PUT", name, "comp=appendblock", data, wanted=(201,))
        self.blobs[name] += data

    def page(self):
        name = self.name("p")
        if name not in self.blobs:
            self.ask("PUT", name, headers={"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(PAGE_BLOB)},
                     wanted=(201,))
            self.blobs[name] = bytes(PAGE_BLOB)
        at = self.random.randrange(0, PAGE_BLOB, 512)
        data = self.random.randbytes(min(512 * self.random.randrange(1, 9), PAGE_BLOB - at))
        self.ask("PUT", name, "comp=page", data, {"x-ms-page-write": "update",
                                                  "x-ms-range": f"bytes={at}-{at + len(data) - 1}"}, (201,))
        self.blobs[name] = self.blobs[name][:at] + data + self.blobs[name][at + len(data):]

    def some(self):
        return self.random.choice(list(self.blobs)) if self.blobs else None

    def copy(self):
        name = self.name("c")
        if name in self.blobs:  # a copy has its source's kind, and does not become another
            self.drop(name)
        source = self.some()
        if source is None:
            return
        url = f"http://127.0.0.1:{self.server.port}/{self.server.account}/{source}?{self.sas}"
        self.ask("PUT", name, headers={"x-ms-copy-source": url}, wanted=(202,))
        self.blobs[name] = self.blobs[source]

    def snapshot(self):
        name = self.some()
        if name is None:
            return
        answer, _ = self.ask("PUT", name, "comp=snapshot", wanted=(201,))
        self.snapshots.append((name, answer.headers["x-ms-snapshot"], self.blobs[name]))
        if len(self.snapshots) > 20:
            name, moment, content = self.snapshots.pop(0)
            _, data = self.ask("GET", name, f"snapshot={moment}")
            self.compare(name, data, content)
            self.ask("DELETE", name, f"snapshot={moment}", wanted=(202,))

    def compare(self, name, data, wanted):
        if data != wanted:
            raise Wrong(f"{name}: {len(data)} bytes {hashlib.sha256(data).hexdigest()[:16]} instead of "
                        f"{len(wanted)} bytes {hashlib.sha256(wanted).hexdigest()[:16]}")

    def read(self):
        name = self.some()
        if name:
            self.compare(name, self.ask("GET", name)[1], self.blobs[name])

    def read_part(self):
        name = self.some()
        if not name or not self.blobs[name]:
            return
        at = self.random.randrange(len(self.blobs[name]))
        end = min(len(self.blobs[name]) - 1, at + self.random.randrange(1, 200000))
        _, data = self.ask("GET", name, headers={"x-ms-range": f"bytes={at}-{end}"}, wanted=(206,))
        self.compare(f"{name} from {at}", data, self.blobs[name][at:end + 1])

    def names(self, include=""):
        found, marker = [], ""
        while True:
            _, data = self.ask("GET", "soak", f"restype=container&comp=list&prefix={self.number}/&maxresults=50{include}"
                               + (f"&marker={marker}" if marker else ""))
            root = ElementTree.fromstring(data.removeprefix(b"\xef\xbb\xbf"))
            found += list(root.iter("Blob"))
            marker = root.findtext("NextMarker")
            if not marker:
                return found

    def list(self):
        found = [(b.findtext("Name"), int(b.findtext("Properties/Content-Length"))) for b in self.names()]
        wanted = sorted((n.removeprefix("soak/"), len(d)) for n, d in self.blobs.items())
        if found != wanted:
            raise Wrong(f"listing: {set(found) ^ set(wanted)}")

    def drop(self, name):
        self.snapshots = [s for s in self.snapshots if s[0] != name]
        self.ask("DELETE", name, headers={"x-ms-delete-snapshots": "include"}, wanted=(202,))
        del self.blobs[name]

    def delete(self):
        name = self.some()
        if name:
            self.drop(name)

    def forget_versions(self):
        """What overwriting and deleting has left."""
        for b in self.names("&include=versions"):
            if b.findtext("VersionId") and b.findtext("IsCurrentVersion") != "true":
                self.ask("DELETE", f"soak/{b.findtext('Name')}", f"versionid={b.findtext('VersionId')}", wanted=(202,))

    # ---- the loop

    def run(self):
        each = ([self.put] * 20 + [self.blocks] * 4 + [self.append] * 12 + [self.page] * 8 + [self.copy] * 3
                + [self.snapshot] * 3 + [self.read] * 30 + [self.read_part] * 15 + [self.list] * 2 + [self.delete] * 6)
        done = 0
        try:
            while time.monotonic() < self.until:
                do = self.random.choice(each) if done % 400 != 399 else self.forget_versions
                begun = time.monotonic()
                do()
                self.counts[do.__name__] += 1
                times = self.times[do.__name__]
                times.append((begun, time.monotonic() - begun))
                if len(times) > TIMES_MAX:
                    del times[::2]
                done += 1
        except (Wrong, OSError, http.client.HTTPException) as e:
            self.wrong.append(f"client {self.number}: {e!r}")

    def leave_nothing(self):
        with contextlib.suppress(Wrong):
            for name in list(self.blobs):
                self.drop(name)
            self.forget_versions()
            if self.names("&include=versions,snapshots"):
                self.wrong.append(f"client {self.number}: something was left")
            return
        self.wrong.append(f"client {self.number}: deleting failed")


def disk_bytes(folder):
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(where, name)).st_blocks * 512
    return total


class Sample:
    def __init__(self, server, begun):
        m = server.metrics()
        self.at = time.monotonic() - begun
        self.rss = server.process.rss_bytes()
        self.files = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        self.disk = disk_bytes(server.data)
        self.stalls = m["strongroom_engine_stall_seconds_total"]
        self.first_level = m["strongroom_engine_first_level_files"]
        self.pending = m["strongroom_engine_compaction_pending_bytes"]


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else 0


def third(of, number):
    """The samples, or pairs, of the first (0), second or last third after a warm-up of a tenth."""
    end = of[-1][0]
    cuts = [end * (0.1 + 0.3 * i) for i in range(4)]
    at = [t for t, _ in of]
    return [v for _, v in of[bisect.bisect_left(at, cuts[number]):bisect.bisect_right(at, cuts[number + 1])]]


def tell(samples, clients, begun, wrong):
    print(f"{'third':>6} {'memory MiB':>11} {'files':>6} {'disk MiB':>9} {'level 0':>8} {'to compact MiB':>15}"
          f" {'median ms':>10} {'p99 ms':>8}")
    times = sorted((t - begun, d) for c in clients for v in c.times.values() for t, d in v)
    found = {}
    for i, name in enumerate(("first", "second", "last")):
        s = third([(x.at, x) for x in samples], i)
        took = third(times, i)
        found[name] = s
        if not s or not took:
            wrong.append("too short to compare thirds")
            return
        print(f"{name:>6} {max(x.rss for x in s) / MIB:11.1f} {max(x.files for x in s):6} {max(x.disk for x in s) / MIB:9.1f}"
              f" {max(x.first_level for x in s):8.0f} {max(x.pending for x in s) / MIB:15.1f}"
              f" {quantile(took, 0.5) * 1e3:10.2f} {quantile(took, 0.99) * 1e3:8.2f}")
    before, after = (max(x.rss for x in found[k]) for k in ("first", "last"))
    if after > before * (1 + CLOSE_TO) + MEMORY_SLACK:
        wrong.append(f"memory grew from {before / MIB:.0f} to {after / MIB:.0f} MiB")
    before, after = (max(x.files for x in found[k]) for k in ("first", "last"))
    if after > before + DESCRIPTORS_SLACK:
        wrong.append(f"open files grew from {before} to {after}")


def settled_disk(server, entries):
    """What the folder takes when space has been given back, without the record."""
    give_up = time.monotonic() + SETTLE_SECONDS
    while True:
        left = left_bytes(server, entries)
        if left < DISK_LEFT_MAX + RESERVED_MAX or time.monotonic() > give_up:
            return left
        time.sleep(0.5)


def left_bytes(server, entries):
    return disk_bytes(server.data) - disk_bytes(server.data / "log") - entries * RECORD_BYTES


def folders(server):
    return ", ".join(f"{disk_bytes(f) / MIB:.0f} MiB {f.name}/" for f in sorted(server.data.iterdir()) if f.is_dir())


def soak(args):
    server = Server().start()
    if subprocess.run([BINARY, "account", "set", server.account, "versioning=on", "--data", server.data],
                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode != 0:
        raise RuntimeError("versioning could not be turned on")
    sas = server.account_sas(permissions="rwdlacux", minutes=args.seconds / 60 + 24 * 60)
    clients = [Client(server, sas, i, args.seed) for i in range(args.clients)]
    clients[0].ask("PUT", "soak", "restype=container", wanted=(201,))
    begun = time.monotonic()
    samples, wrong = [Sample(server, begun)], []
    for c in clients:
        c.until = begun + args.seconds
        c.start()
    while any(c.is_alive() for c in clients) and not any(c.wrong for c in clients):
        time.sleep(max(args.seconds / SAMPLES, 0.2))
        samples.append(Sample(server, begun))
    for c in clients:
        c.until = 0
        c.join()
    operations = sum((c.counts for c in clients), collections.Counter())
    print(f"soak: {sum(operations.values())} operations in {time.monotonic() - begun:.0f} s, "
          f"{sum(c.bytes for c in clients) / MIB:.0f} MiB; stalled {samples[-1].stalls:.2f} s: "
          + ", ".join(f"{n} {k}" for k, n in sorted(operations.items())))
    wrong += [w for c in clients for w in c.wrong]
    if not wrong:
        tell(samples, clients, begun, wrong)
        for c in clients:
            c.leave_nothing()
        wrong += [w for c in clients for w in c.wrong]
        entries = server.metrics()["strongroom_audit_entries_total"]
        left = settled_disk(server, entries)
        print(f"soak: at most {max(s.disk for s in samples) / MIB:.0f} MiB on disk; when all was deleted {folders(server)}, "
              f"{entries:.0f} entries of the record")
        if left >= DISK_LEFT_MAX + RESERVED_MAX:
            wrong.append(f"{left / MIB:.0f} MiB stay on disk of nothing")
    status = server.stop()
    if status != 0:
        wrong.append(f"the server ended with {status}")
    if not wrong:
        left = left_bytes(server, entries)
        print(f"soak: when the server had stopped {folders(server)}")
        if left >= DISK_LEFT_MAX:
            wrong.append(f"{left / MIB:.0f} MiB stay on disk of nothing when the server has stopped")
    checked = server.check()
    if checked.returncode != 0:
        wrong.append(f"check: {checked.returncode}\n{checked.stdout}{checked.stderr}")
    for w in wrong:
        print("soak:", w)
    print(f"soak: {len(wrong)} wrong")
    if wrong:
        print(f"soak: seed {args.seed}; the folder stays in {server.data}")
        return 1
    server.close()
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("STRONGROOM_SOAK_SECONDS", "60")))
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    if args.seconds < 10:
        parser.error("thirds of less than 10 seconds say nothing")
    return soak(args)


if __name__ == "__main__":
    sys.exit(main())
