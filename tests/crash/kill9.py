#!/usr/bin/env python3
"""Kills the server with -9 in the middle of writes, or takes its power away, starts it again, and asks for everything
it said it had.

Eight clients write at once: whole blobs of every size class, staged blocks and block lists, overwrites,
metadata, deletes, containers. Each remembers what was acknowledged. After a kill and a restart every blob
must be in the state of its last acknowledged request or, when one was on its way, in that of the request:
whole by checksum, with its metadata and its staged blocks. At the end `strongroom check` must find nothing.

    kill9.py [--power | --lazyfs PROGRAM] [--rounds N | --forever] [--seed N]   (STRONGROOM_KILL_ROUNDS, default 20)

With --power the server stands on the faulty disk of tests/faults/ (faulty.py): most rounds end by a power cut, after which
the folder holds what was synced, and of the rest some sectors and some names, as the seed says. With --lazyfs it stands
on LazyFS (github.com/dsrhaslab/lazyfs, which is not part of this), mounted by FUSE, which forgets all data that was not synced.
"""

import argparse
import base64
import contextlib
import hashlib
import http.client
import itertools
import os
import pathlib
import random
import re
import signal
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
import faulty  # noqa: E402
import lazy  # noqa: E402
from server import Server  # noqa: E402

CLIENTS, NAMES = 8, 24
SIZES = [0, 1, 100, 4096, 16384, 40000, 70000, 300000, 2 << 20, 5 << 20]
WEIGHTS = [3, 3, 10, 20, 8, 8, 8, 6, 3, 1]
VERSION = {"x-ms-version": "2021-12-02"}


class Dead(Exception):
    """The connection broke: nobody knows whether the request was done."""


class State:
    """What a blob is: None for content when it is not there."""

    def __init__(self, digest=None, length=0, metadata="", staged=()):
        self.digest, self.length, self.metadata, self.staged = digest, length, metadata, dict(staged)

    def key(self):
        return (self.digest, self.length, self.metadata if self.digest else "", tuple(sorted(self.staged.items())))

    def __repr__(self):
        return f"({self.digest and self.digest[:12]} {self.length} bytes, v={self.metadata}, staged {self.staged})"


class Client(threading.Thread):
    def __init__(self, server, sas, number, seed):
        super().__init__()
        self.server, self.sas, self.number = server, sas, number
        self.random = random.Random(f"{seed}/{number}")
        self.known = {f"{number}/blob {i:02}": State() for i in range(NAMES)}
        self.possible = {}  # name: the state after a request that was on its way
        self.containers = {}
        self.counts, self.problems = {}, []
        self.connection = None
        self.stopping = False
        self.version = 0

    def request(self, method, path, query="", body=b"", headers=None):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        path = f"/{self.server.account}/{path}".replace(" ", "%20")
        try:
            self.connection.request(method, f"{path}?{query}{'&' if query else ''}{self.sas}", body,
                                    {**VERSION, **(headers or {})})
            answer = self.connection.getresponse()
            data = answer.read()
            if answer.will_close:
                self.disconnect()
        except (OSError, http.client.HTTPException) as e:
            self.disconnect()
            raise Dead(str(e)) from None
        return answer, data

    def disconnect(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def change(self, what, name, after, status, *request, **kwargs):
        """One write: `after` is the blob's state when it is acknowledged."""
        self.possible[name] = after
        answer, data = self.request(*request, **kwargs)
        if answer.status != status:
            self.problems.append(f"{what} {name}: {answer.status} {data[:300]!r}")
        else:
            self.known[name] = after
            self.counts[what] = self.counts.get(what, 0) + 1
        del self.possible[name]

    def content(self):
        size = self.random.choices(SIZES, WEIGHTS)[0]
        return self.random.randbytes(size)

    def put(self, name):
        data = self.content()
        self.version += 1
        after = State(hashlib.sha256(data).hexdigest(), len(data), str(self.version))
        self.change("put", name, after, 201, "PUT", f"kill/{name}", body=data,
                    headers={"x-ms-blob-type": "BlockBlob", "x-ms-meta-v": after.metadata})

    def block_list(self, name):
        parts = [self.content() for _ in range(self.random.randrange(1, 5))]
        ids = []
        for i, data in enumerate(parts):
            old = self.known[name]
            plain = f"{self.version:08}{i:04}"
            ids.append(base64.b64encode(plain.encode()).decode())
            if not data:
                data = parts[i] = b"x"
            after = State(old.digest, old.length, old.metadata, {**old.staged, plain: len(data)})
            self.change("put block", name, after, 201, "PUT", f"kill/{name}",
                        "comp=block&blockid=" + ids[-1].replace("+", "%2B").replace("=", "%3D"), body=data)
            if self.stopping:
                return
        self.version += 1
        whole = b"".join(parts)
        after = State(hashlib.sha256(whole).hexdigest(), len(whole), str(self.version))
        body = "<BlockList>" + "".join(f"<Latest>{i}</Latest>" for i in ids) + "</BlockList>"
        self.change("put block list", name, after, 201, "PUT", f"kill/{name}", "comp=blocklist",
                    body=body.encode(), headers={"x-ms-meta-v": after.metadata})

    def metadata(self, name):
        old = self.known[name]
        if old.digest is None:
            return
        self.version += 1
        after = State(old.digest, old.length, str(self.version), old.staged)
        self.change("set metadata", name, after, 200, "PUT", f"kill/{name}", "comp=metadata",
                    headers={"x-ms-meta-v": after.metadata})

    def delete(self, name):
        if self.known[name].digest is None:
            return
        self.change("delete", name, State(), 202, "DELETE", f"kill/{name}")

    def container(self, _):
        self.version += 1
        name = f"c{self.number}-{self.version}"
        self.containers[name] = None  # perhaps
        answer, data = self.request("PUT", name, "restype=container", headers={"x-ms-meta-v": name})
        if answer.status != 201:
            self.problems.append(f"create container {name}: {answer.status} {data[:300]!r}")
        self.containers[name] = True
        self.counts["create container"] = self.counts.get("create container", 0) + 1
        if self.random.random() < 0.5:
            self.containers[name] = None
            answer, data = self.request("DELETE", name, "restype=container")
            if answer.status != 202:
                self.problems.append(f"delete container {name}: {answer.status} {data[:300]!r}")
            self.containers[name] = False

    def run(self):
        actions = [self.put] * 10 + [self.block_list] * 4 + [self.metadata] * 4 + [self.delete] * 2 + [self.container]
        with contextlib.suppress(Dead):
            while not self.stopping:
                self.random.choice(actions)(self.random.choice(list(self.known)))
        self.disconnect()

    # ---- after a restart -----------------------------------------------------------------------------

    def seen(self, name):
        answer, data = self.request("GET", f"kill/{name}")
        state = State()
        if answer.status == 200:
            state = State(hashlib.sha256(data).hexdigest(), len(data), answer.headers.get("x-ms-meta-v", ""))
            if int(answer.headers["Content-Length"]) != len(data):
                self.problems.append(f"{name}: cut short")
        elif answer.status != 404:
            self.problems.append(f"GET {name}: {answer.status} {data[:300]!r}")
        answer, data = self.request("GET", f"kill/{name}", "comp=blocklist&blocklisttype=uncommitted")
        if answer.status == 200:
            for block in ElementTree.fromstring(re.sub(b"^\xef\xbb\xbf", b"", data)).iter("Block"):
                state.staged[base64.b64decode(block.findtext("Name")).decode()] = int(block.findtext("Size"))
        elif answer.status != 404:
            self.problems.append(f"block list of {name}: {answer.status} {data[:300]!r}")
        return state

    def verify(self):
        for name, wanted in self.known.items():
            allowed = [wanted] + ([self.possible[name]] if name in self.possible else [])
            found = self.seen(name)
            if found.key() not in [s.key() for s in allowed]:
                self.problems.append(f"{name}: found {found}, but acknowledged was {wanted}"
                                     + (f", on its way {allowed[1]}" if len(allowed) > 1 else ""))
            self.known[name] = found
        self.possible = {}
        for name, there in self.containers.items():
            answer, _ = self.request("GET", name, "restype=container")
            if answer.status not in ((200, 404) if there is None else (200,) if there else (404,)):
                self.problems.append(f"container {name}: {answer.status}, acknowledged was {there}")
        self.containers = {}
        self.disconnect()


def run_clients(clients):
    threads = [threading.Thread(target=c.verify) for c in clients]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


class Torture:
    """Rounds of writing and dying on one server."""

    def __init__(self, power, seed, lazyfs=None):
        self.power, self.seed = power or lazyfs is not None, seed
        self.chance = random.Random(seed)
        if power:
            faulty.build()
        self.server = (faulty.FaultyServer() if power else lazy.LazyServer(lazyfs) if lazyfs else Server()).start()
        self.sas = self.server.account_sas(minutes=7 * 24 * 60)
        self.clients = self.new_clients("first")
        answer, data = self.clients[0].request("PUT", "kill", "restype=container")
        assert answer.status == 201, data
        self.problems, self.counts, self.lost, self.cuts = [], {}, 0, 0

    def new_clients(self, round_):
        return [Client(self.server, self.sas, i, f"{self.seed}/{round_}") for i in range(CLIENTS)]

    def die(self):
        if not self.power or self.chance.random() < 0.1:
            self.server.kill()
            return
        self.lost += self.server.cut_power(self.chance.randrange(1 << 60), self.chance.randrange(6))
        self.cuts += 1

    def round(self, number):
        for c in self.clients:
            c.start()
        time.sleep(self.chance.uniform(0.05, 1.5))
        self.die()
        for c in self.clients:
            c.stopping = True
        for c in self.clients:
            c.join()
        on_the_way = sum(len(c.possible) for c in self.clients)
        if self.chance.random() < 0.25:  # and again while it recovers
            self.server.launch()
            time.sleep(self.chance.uniform(0.0, 0.2))
            self.die()
        self.server.start()
        run_clients(self.clients)
        for c in self.clients:
            self.problems += [f"round {number}: {p}" for p in c.problems]
            for k, v in c.counts.items():
                self.counts[k] = self.counts.get(k, 0) + v
        print(f"kill9: round {number + 1}: {on_the_way} on their way, {len(self.problems)} problems", flush=True)
        new = self.new_clients(number)
        for old, c in zip(self.clients, new):
            c.known, c.version = old.known, old.version
        self.clients = new

    def leave(self):
        for c in self.clients:
            c.stopping = True
        if self.server.process:
            self.server.kill()
        self.server.close()
        print("kill9: stopped; acknowledged", ", ".join(f"{v} {k}" for k, v in sorted(self.counts.items())),
              f"and {self.cuts} power cuts", flush=True)

    def finish(self):
        status = self.server.stop()
        if status != 0:
            self.problems.append(f"the server ended with {status} after SIGTERM")
        checked = self.server.check()
        if checked.returncode != 0:
            self.problems.append(f"check: {checked.returncode}\n{checked.stdout}{checked.stderr}")
        print("kill9: acknowledged", ", ".join(f"{v} {k}" for k, v in sorted(self.counts.items())))
        if self.power:
            said = f", with {self.lost} bytes on their way to the disk" if self.lost else ""
            print(f"kill9: {self.cuts} power cuts{said}")
        for p in self.problems:
            print("kill9:", p)
        if self.problems:
            print(f"kill9: the folder stays in {self.server.data}")
            return 1
        self.server.close()
        print("kill9: everything acknowledged was there, whole")
        return 0


def interrupted(*_):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("STRONGROOM_KILL_ROUNDS", "20")))
    parser.add_argument("--forever", action="store_true", help="until stopped; a new folder every 100 rounds")
    parser.add_argument("--power", action="store_true", help="cut the power too")
    parser.add_argument("--lazyfs", metavar="PROGRAM", help="cut the power of a folder on LazyFS, which this starts")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    rounds = 100 if args.forever else args.rounds
    torture = None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    try:
        for seed in itertools.count(args.seed):
            print(f"kill9: {rounds} rounds, seed {seed}{', with power cuts' if args.power or args.lazyfs else ''}", flush=True)
            torture = Torture(args.power, seed, args.lazyfs)
            for number in range(rounds):
                torture.round(number)
                if torture.problems:
                    break
            status = torture.finish()
            if status != 0 or not args.forever:
                return status
    except KeyboardInterrupt:
        if torture:
            torture.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
