"""`strongroom backup` and `restore`: while the server works and without one, again and again into the same folder,
interrupted, and with damage in what was backed up."""
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest
import wire

TIMEOUT_S = 120
LARGE = 300_000  # stands in an extent; smaller content in rows


class Backed(wire.Server):
    """A server that can be killed, and started again on the same folder."""

    def start_again(self):
        self.log = open(self.folder + ".log", "a+")
        self.process = subprocess.Popen([self.program, "serve", "--dev", "--data", self.folder, "--port", str(self.port)],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        assert self._answers()

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def served():
    s = Backed()
    yield s
    s.stop()
    pathlib.Path(s.folder + ".log").unlink(missing_ok=True)


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(prefix="strongroom-backup-") as d:
        yield pathlib.Path(d)


def run(served, *words):
    return subprocess.run([served.program, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=TIMEOUT_S)


def backup(served, to, *words):
    """The point's name, its bytes, and how many were copied."""
    r = run(served, "backup", "--data", served.folder, "--to", to, *words)
    assert r.returncode == 0, r.stdout + r.stderr
    found = re.match(r"(\S+): (\d+) bytes, of them (\d+) copied and (\d+) already there", r.stdout)
    name, total, copied, kept = found[1], *map(int, found.groups()[1:])
    assert total == copied + kept
    return name, total, copied


def restore(served, source, to, *words):
    r = run(served, "restore", "--from", source, "--data", to, *words)
    assert r.returncode == 0, r.stdout + r.stderr
    shutil.copy(served.folder + "/root.key", to / "root.key")
    r = run(served, "check", "--data", to)
    assert r.returncode == 0 and r.stdout.startswith("clean"), r.stdout + r.stderr


class Restored:
    """A server on a restored folder."""

    def __init__(self, served, folder):
        self.server = Backed.__new__(Backed)
        self.server.__dict__.update(served.__dict__)
        self.server.folder, self.server.port = str(folder), wire.free_base_port()
        self.server.start_again()
        self.api = wire.Api(self.server)

    def __enter__(self):
        return self.api

    def __exit__(self, *_):
        self.api.close()
        self.server.process.send_signal(signal.SIGTERM)
        assert self.server.process.wait(TIMEOUT_S) == 0


def content(name, version, size):
    seed = hashlib.sha256(f"{name} {version}".encode()).digest()
    return f"{name} {version}\n".encode() + (seed * (size // 32 + 1))[:size]


def size_of(i):
    return (10, 5000, 40_000, LARGE)[i % 4]


def points(served, to):
    r = run(served, "backup", "--to", to, "--list")
    assert r.returncode == 0, r.stderr
    return [x.split()[0] for x in r.stdout.splitlines()]


# ---- a backup and back ----------------------------------------------------------------------------------------

def test_what_was_there_is_restored(served, place):
    api = wire.Api(served)
    container = api.create_container()
    for i in range(12):
        api.put_ok(container, f"b{i}", content("b", i, size_of(i)), [("x-ms-meta-n", str(i))])
    gone = api.create_container()
    api.put_ok(gone, "x", b"x" * LARGE)
    assert api("DELETE", f"/{gone}?restype=container").status == 202
    backup(served, place / "to")
    assert not list((place / "to").rglob("root.key"))
    api("DELETE", f"/{container}/b3")
    restore(served, place / "to", place / "new")
    assert not (pathlib.Path(served.folder) / "point").exists()
    with Restored(served, place / "new") as back:
        for i in range(12):
            r = back("GET", f"/{container}/b{i}")
            assert r.status == 200 and r.body == content("b", i, size_of(i)) and r.metadata == {"n": str(i)}
        assert back("GET", f"/{gone}/x").status == 404
        back.put_ok(container, "later", b"y" * LARGE)  # it is a folder like any other
        assert back("GET", f"/{container}/later").body == b"y" * LARGE
    assert run(served, "check", "--data", place / "new").returncode == 0
    api.close()


def test_a_backup_under_load_is_of_one_moment(served, place):
    """Four clients overwrite and delete all the time; each blob's content says which state it is. What was acknowledged
    before the backup began is in it, in that state or a later one, and whole; two blobs that are written one after
    the other are never there in the wrong order."""
    api = wire.Api(served)
    container = api.create_container()
    for i in range(40):
        api.put_ok(container, f"still{i}", content(f"still{i}", 0, size_of(i)))
    stop, acknowledged, problems = threading.Event(), {}, []

    def load(number):
        own = wire.Api(served)
        version = 0
        try:
            while not stop.is_set():
                version += 1
                for side in ("first", "second"):
                    name = f"{number}-{side}"
                    own.put_ok(container, name, content(name, version, size_of(number)))
                    acknowledged[name] = version
                own.put_ok(container, f"{number}-short", b"z" * LARGE)
                own("DELETE", f"/{container}/{number}-short")
        except Exception as e:  # noqa: BLE001
            problems.append(e)
        own.close()

    threads = [threading.Thread(target=load, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    while len(acknowledged) < 8 and not problems:
        time.sleep(0.01)
    rounds = []
    for n in range(3):
        before = dict(acknowledged)
        rounds.append((before, backup(served, place / "to")[0], dict(acknowledged)))
    stop.set()
    for t in threads:
        t.join()
    assert not problems
    for n, (before, point, after) in enumerate(rounds):
        restore(served, place / "to", place / f"new{n}", "--point", point)
        with Restored(served, place / f"new{n}") as back:
            for i in range(40):
                assert back("GET", f"/{container}/still{i}").body == content(f"still{i}", 0, size_of(i))
            for number in range(4):
                seen = []
                for side in ("first", "second"):
                    name = f"{number}-{side}"
                    body = back("GET", f"/{container}/{name}").body
                    version = int(body.split(b"\n")[0].split()[-1])
                    assert body == content(name, version, size_of(number))
                    assert before[name] <= version <= after[name] + 1
                    seen.append(version)
                assert seen[1] <= seen[0] <= seen[1] + 1
    api.close()


def test_without_a_server(served, place):
    api = wire.Api(served)
    container = api.create_container()
    api.put_ok(container, "b", content("b", 0, LARGE))
    api.close()
    served.kill()
    backup(served, place / "to")
    restore(served, place / "to", place / "new")
    with Restored(served, place / "new") as back:
        assert back("GET", f"/{container}/b").body == content("b", 0, LARGE)
    served.start_again()


# ---- again and again ------------------------------------------------------------------------------------------

def fill(api):
    container = api.create_container()
    for i in range(20):
        api.put_ok(container, f"b{i}", content("b", i, LARGE))
    return container


def test_again_copies_only_what_is_new(served, place):
    api = wire.Api(served)
    container = fill(api)
    first, total, copied = backup(served, place / "to")
    assert copied == total > 20 * LARGE
    api.put_ok(container, "new", content("new", 0, LARGE))
    api("DELETE", f"/{container}/b0")
    second, total, copied = backup(served, place / "to")
    assert total > 20 * LARGE and LARGE < copied < 5 * LARGE
    assert points(served, place / "to") == [first, second]
    restore(served, place / "to", place / "older", "--point", first)
    restore(served, place / "to", place / "newer")
    with Restored(served, place / "older") as back:
        assert back("GET", f"/{container}/b0").body == content("b", 0, LARGE)
        assert back("GET", f"/{container}/new").status == 404
    with Restored(served, place / "newer") as back:
        assert back("GET", f"/{container}/b0").status == 404
        assert back("GET", f"/{container}/new").body == content("new", 0, LARGE)
    api.close()


def test_older_points_go(served, place):
    """What only they name goes with them; also the rest of a pack that is hardly used any more, by and by."""
    api = wire.Api(served)
    container = fill(api)
    backup(served, place / "to")
    full = sum(f.stat().st_size for f in (place / "to/packs").iterdir())
    for i in range(1, 20):
        api("DELETE", f"/{container}/b{i}")
    for _ in range(3):  # the second sees that the pack is hardly used, and copies what is left in it
        name, _, _ = backup(served, place / "to", "--keep", "1")
        assert points(served, place / "to") == [name]
    assert sum(f.stat().st_size for f in (place / "to/packs").iterdir()) < full / 4
    assert [p.name for p in (place / "to/points").iterdir()] == [name]
    restore(served, place / "to", place / "new")
    with Restored(served, place / "new") as back:
        assert back("GET", f"/{container}/b0").body == content("b", 0, LARGE)
    api.close()


def test_no_point_goes_while_one_is_read(served, place):
    api = wire.Api(served)
    container = api.create_container()
    names = []
    for i in range(2):
        api.put_ok(container, f"b{i}", content("b", i, LARGE))
        names.append(backup(served, place / "to")[0])
    held = os.open(place / "to/points", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)  # as a restore does, and a verification
    assert run(served, "backup", "--to", place / "to", "--verify").returncode == 0  # beside it
    r = run(served, "backup", "--data", served.folder, "--to", place / "to", "--keep", "1")
    assert r.returncode == 1 and "older points stay" in r.stderr and "restore" in r.stderr, r
    assert len(os.listdir(place / "to/points")) == 3, "the new point is there, and the older ones"
    r = run(served, "backup", "--to", place / "to", "--verify", "--point", names[0])
    assert r.returncode == 0, r
    os.close(held)
    backup(served, place / "to", "--keep", "1")
    assert len(os.listdir(place / "to/points")) == 1
    held = os.open(place / "to/points", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)  # as who removes
    r = run(served, "restore", "--from", place / "to", "--data", place / "new")
    assert r.returncode == 1 and "being removed" in r.stderr and not (place / "new").exists(), r
    os.close(held)
    api.close()


def test_it_leaves_entries_in_the_record(served, place):
    backup(served, place / "to")
    restore(served, place / "to", place / "new")
    with Restored(served, place / "new"):
        r = run(served, "audit", "search", "--data", place / "new", "--class", "admin")
        assert '"restore"' in r.stdout and '"backup begin"' not in r.stdout
    r = run(served, "audit", "search", "--data", served.folder, "--class", "admin")
    assert '"backup begin"' in r.stdout and '"backup end"' in r.stdout and '"backup renew"' not in r.stdout


# ---- interrupted ----------------------------------------------------------------------------------------------

def interrupted(served, to, blobs):
    """A backup that stands still somewhere in its middle: it has begun to copy content, and has made no point."""
    for _ in range(20):
        before = set(points(served, to)) if to.exists() else set()
        p = subprocess.Popen([served.program, "backup", "--data", served.folder, "--to", str(to)],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while p.poll() is None and not any((to / "packs").glob("*") if (to / "packs").exists() else []):
            pass
        p.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        if p.poll() is None and set(points(served, to)) == before and any((to / "points").glob("*.part")):
            return p
        p.send_signal(signal.SIGCONT)  # it was faster
        p.wait(TIMEOUT_S)
        shutil.rmtree(to)
    pytest.fail("the backup was never met in its middle")


def filled(served):
    api = wire.Api(served)
    container = api.create_container()
    for i in range(24):
        api.put_ok(container, f"b{i}", content("b", i, 4 << 20))
    return api, container


def test_a_killed_backup_is_gone_on_with(served, place):
    api, container = filled(served)
    p = interrupted(served, place / "to", api)
    r = run(served, "backup", "--data", served.folder, "--to", place / "other")
    assert r.returncode == 1 and "under way" in r.stderr
    p.kill()
    p.communicate()
    assert points(served, place / "to") == []
    r = run(served, "restore", "--from", place / "to", "--data", place / "none")
    assert r.returncode == 1 and "no finished backup" in r.stderr
    served.kill()  # ends the point at once; else its lease does
    served.start_again()
    name, _, _ = backup(served, place / "to")
    assert [x.name for x in (place / "to/points").iterdir()] == [name]
    restore(served, place / "to", place / "new")
    with Restored(served, place / "new") as back:
        for i in range(24):
            assert back("GET", f"/{container}/b{i}").body == content("b", i, 4 << 20)
    api.close()


def test_a_server_that_ends_ends_the_backup(served, place):
    """What the backup copies from then on may be given back: it makes no point."""
    api, container = filled(served)
    p = interrupted(served, place / "to", api)
    served.kill()
    served.start_again()
    api.close()
    api = wire.Api(served)
    for i in range(24):
        api("DELETE", f"/{container}/b{i}")
    p.send_signal(signal.SIGCONT)
    out, err = p.communicate(timeout=TIMEOUT_S)
    assert p.returncode == 1 and "no longer held" in err, out + err
    assert points(served, place / "to") == []
    backup(served, place / "to")
    restore(served, place / "to", place / "new")
    api.close()


# ---- damage and refusals --------------------------------------------------------------------------------------

def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_wrong_byte_is_found(served, place):
    api = wire.Api(served)
    container = api.create_container()
    for i in range(4):
        api.put_ok(container, f"b{i}", content("b", i, LARGE))
    name, _, _ = backup(served, place / "to")
    files = [f for f in (place / "to").rglob("*") if f.is_file() and f.stat().st_size > 0 and f.name != "STRONGROOM-BACKUP"]
    assert {f.parent.name for f in files} == {"packs", "tables", "rows", name}
    r = run(served, "backup", "--to", place / "to", "--verify")
    assert r.returncode == 0 and re.match(name + r": \d+ bytes read and verified", r.stdout), r
    before = {f: f.read_bytes() for f in files}
    for n, f in enumerate(files):
        good = f.read_bytes()
        flip(f)
        r = run(served, "backup", "--to", place / "to", "--verify", "--point", name)
        assert r.returncode == 1 and ("damaged: " in r.stdout or "manifest is damaged" in r.stderr), (f, r)
        r = run(served, "restore", "--from", place / "to", "--data", place / f"new{n}")
        assert r.returncode == 1 and ("damaged: " in r.stdout or "manifest is damaged" in r.stderr), (f, r)
        assert not (place / f"new{n}/FORMAT").exists()
        f.unlink()
        r = run(served, "restore", "--from", place / "to", "--data", place / f"missing{n}")
        assert r.returncode == 1 and not (place / f"missing{n}/FORMAT").exists(), (f, r)
        r = run(served, "backup", "--to", place / "to", "--verify")
        assert r.returncode == 1, (f, r)
        f.write_bytes(good)
    assert before == {f: f.read_bytes() for f in files}
    pack = next((place / "to/packs").iterdir())
    flip(pack)
    r = run(served, "restore", "--from", place / "to", "--data", place / "so", "--accept-damage")
    assert r.returncode == 0 and "damaged: content does not verify: packs/" in r.stdout
    shutil.copy(served.folder + "/root.key", place / "so/root.key")
    r = run(served, "check", "--data", place / "so")
    assert r.returncode == 1 and "damaged" in r.stdout
    api.close()


def test_what_is_refused(served, place):
    (place / "full").mkdir()
    (place / "full/letter").write_text("dear")
    r = run(served, "backup", "--data", served.folder, "--to", place / "full")
    assert r.returncode == 1 and "not empty" in r.stderr and os.listdir(place / "full") == ["letter"]
    backup(served, place / "to")
    r = run(served, "restore", "--from", place / "to", "--data", place / "full")
    assert r.returncode == 1 and "not empty" in r.stderr and os.listdir(place / "full") == ["letter"]
    r = run(served, "restore", "--from", place / "full", "--data", place / "new")
    assert r.returncode == 1 and "no backup" in r.stderr
    r = run(served, "restore", "--from", place / "to", "--data", place / "new", "--point", "yesterday")
    assert r.returncode == 1 and "no point 'yesterday'" in r.stderr and not (place / "new").exists()
    for words in (["backup", "--data", served.folder], ["restore", "--from", place / "to"],
                  ["backup", "--data", served.folder, "--to", place / "to", "--keep", "0"],
                  ["backup", "--to", place / "to", "--verify", "--list"], ["backup", "--to", place / "to", "--verify", "--keep", "2"],
                  ["backup", "--to", place / "to", "--point", "x"]):
        assert run(served, *words).returncode == 2
    other = Backed()
    r = run(other, "backup", "--data", other.folder, "--to", place / "to")
    other.stop()
    assert r.returncode == 1 and "another data folder" in r.stderr
