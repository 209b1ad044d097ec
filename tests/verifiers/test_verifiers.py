"""Independent verifiers judge the record: Go's x/mod, transparency-dev's tessera and merkle, torchwood, pymerkle, and plain
openssl and sha256sum. None of them is ours. Then a table of attacks on the files, each found by one of them."""
import base64
import hashlib
import http.server
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/clients"))
from server import BINARY, BUILD, ENV, Server  # noqa: E402

RECORDS = 70000
VERIFIERS = ENV / "bin/verifiers"
PYTHON = ENV / "verifiers/bin/python"
CHECK_LOG = ROOT / "tests/verifiers/check_log.py"
CHECK_FHIR = ROOT / "tests/verifiers/check_fhir.py"


def run(*argv, **kwargs):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120, **kwargs)


def good(*argv, **kwargs):
    r = run(*argv, **kwargs)
    assert r.returncode == 0, f"{argv}\n{r.stdout}\n{r.stderr}"
    return r.stdout


class Published:
    """A folder served as static files by Python's own web server."""

    def __init__(self, folder):
        handler = type("H", (http.server.SimpleHTTPRequestHandler,), {
            "__init__": lambda s, *a, **k: http.server.SimpleHTTPRequestHandler.__init__(s, *a, directory=str(folder), **k),
            "log_message": lambda *a: None})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Log:
    def __init__(self, server):
        self.folder, self.key = server.data / "log", good(BINARY, "audit", "key", "--data", server.data).strip()

    def copy(self, to):
        shutil.copytree(self.folder, to)
        return to


def load(server, container, count):
    """`count` requests, each of which leaves a record."""
    out = good(BUILD / "bench/load", "put", server.port, f"/{server.account}/{container}", server.account_sas(minutes=60),
               "--size", 10, "--connections", min(64, count), "--count", count)
    assert f'"requests": {count}, "failed": 0' in out


@pytest.fixture(scope="session")
def log(tmp_path_factory):
    """A server that has answered 70,000 requests and stopped: its published record."""
    good("make", "build/bench/load", cwd=ROOT)
    server = Server(data=tmp_path_factory.mktemp("verifiers") / "data", kind="strongroom").start()
    good(BINARY, "container", "create", server.account, "records", "--data", server.data)
    load(server, "records", RECORDS)
    log = Log(server)
    log.before = tmp_path_factory.mktemp("before") / "checkpoint"  # what somebody saw while it grew
    log.before.write_bytes((log.folder / "checkpoint").read_bytes())
    load(server, "records", 1000)
    assert server.stop() == 0
    return log


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """One of a few bundles, to be attacked."""
    return Log(small_log(tmp_path_factory.mktemp("small") / "data", 1500)[0])


def size_of(folder):
    return int((folder / "checkpoint").read_text().splitlines()[1])


def judge(folder, key):
    """{verifier: its exit code} of all that read whole logs, but for pymerkle, which takes a minute for 70,000 entries."""
    with Published(folder) as p:
        found = {name: run(VERIFIERS, name, p.url, key).returncode for name in ("fsck", "sumdb", "torchwood")}
    found["strongroom"] = run(BINARY, "audit", "verify", folder, "--key", key).returncode
    return found


def test_all_of_70000_records(log):
    assert size_of(log.folder) > RECORDS
    assert judge(log.folder, log.key) == dict.fromkeys(("fsck", "sumdb", "torchwood", "strongroom"), 0)
    assert int(good(PYTHON, CHECK_LOG, log.folder, log.key)) == size_of(log.folder)
    assert (log.folder / "tile/0/272").stat().st_size == 8192 and (log.folder / "tile/1/000").stat().st_size == 8192


def test_the_log_only_grew(log):
    with Published(log.folder) as p:
        good(VERIFIERS, "grown", p.url, log.before, log.key)


def test_served_by_the_program(log):
    server = Server(data=log.folder.parent, kind="strongroom").start()
    try:
        url = f"http://127.0.0.1:{server.port + 2}/log"
        for verifier in ("fsck", "sumdb", "torchwood"):
            good(VERIFIERS, verifier, url, log.key)
        out = good(BINARY, "audit", "verify", url, "--key", log.key)
        assert re.match(r"genuine: 7\d{4} entries", out)
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("index", [0, 255, 256, 65535, 65536, 69999])
def test_receipts(log, tmp_path, index):
    receipt = tmp_path / "r.tlog-proof"
    receipt.write_text(good(BINARY, "audit", "prove", log.folder, index, "--key", log.key))
    good(VERIFIERS, "receipt", receipt, log.key)
    entry = good(BINARY, "audit", "check", receipt, "--key", log.key)
    assert '"action":"' in entry
    forged = receipt.read_text().split("\n")
    made_up = entry.strip().replace('"result":"ok"', '"result":"no"').encode()
    forged[1] = "extra " + base64.b64encode(made_up).decode()
    receipt.write_text("\n".join(forged))
    assert run(VERIFIERS, "receipt", receipt, log.key).returncode == 1
    assert run(BINARY, "audit", "check", receipt, "--key", log.key).returncode == 1


def test_one_receipt_by_openssl_and_sha256sum(log, tmp_path):
    """No library at all: the signature by openssl, the hashes by sha256sum."""
    def sha256(data):
        return bytes.fromhex(subprocess.run(["sha256sum"], input=data, capture_output=True, check=True).stdout.split()[0].decode())

    receipt = good(BINARY, "audit", "prove", log.folder, 12345, "--key", log.key)
    head, note = receipt.split("\n\n", 1)
    text, signatures = note.rsplit("\n\n", 1)
    (tmp_path / "text").write_text(text + "\n")
    (tmp_path / "signature").write_bytes(base64.b64decode(signatures.split()[2])[4:])
    raw = base64.b64decode(log.key.split("+", 2)[2])[1:]
    (tmp_path / "key.der").write_bytes(bytes.fromhex("302a300506032b6570032100") + raw)  # RFC 8410
    good("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", tmp_path / "key.der", "-in",
         tmp_path / "text", "-sigfile", tmp_path / "signature")
    lines = head.split("\n")
    entry, index = base64.b64decode(lines[1].split(" ")[1]), int(lines[2].split(" ")[1])
    size, root = int(text.split("\n")[1]), base64.b64decode(text.split("\n")[2])
    node, last = sha256(b"\0" + entry), size - 1
    for line in lines[3:]:
        sibling = base64.b64decode(line)
        if index % 2 or index == last:
            node = sha256(b"\1" + sibling + node)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            node = sha256(b"\1" + node + sibling)
        index, last = index // 2, last // 2
    assert node == root and last == 0


# ---- attacks ---------------------------------------------------------------------------------------------------

def bundle(folder, n):
    path = folder / f"tile/entries/{n:03}"
    data, entries = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:2], "big")
        entries.append(data[2:2 + length])
        data = data[2 + length:]
    return path, entries


def write_bundle(path, entries):
    path.write_bytes(b"".join(len(e).to_bytes(2, "big") + e for e in entries))


def change_a_record(folder):
    path, entries = bundle(folder, 2)
    entries[7] = entries[7].replace(b'"ok"', b'"no"')
    write_bundle(path, entries)


def drop_one_in_the_middle(folder):
    path, entries = bundle(folder, 2)
    del entries[7]
    write_bundle(path, entries)


def reorder(folder):
    path, entries = bundle(folder, 2)
    entries[7], entries[8] = entries[8], entries[7]
    write_bundle(path, entries)


def change_a_record_and_its_tile(folder):
    """As who knows the format would: bundle and leaf tile agree, and the tile above does not."""
    change_a_record(folder)
    path, entries = bundle(folder, 2)
    (folder / "tile/0/002").write_bytes(b"".join(hashlib.sha256(b"\0" + e).digest() for e in entries))


def drop_the_newest(folder):
    lines = (folder / "checkpoint").read_text().split("\n")
    lines[1] = str(int(lines[1]) - 1)
    (folder / "checkpoint").write_text("\n".join(lines))


def sign_with_another_key(folder):
    text = (folder / "checkpoint").read_text().rsplit("\n\n", 1)[0] + "\n"
    private = folder / "forged.pem"
    good("openssl", "genpkey", "-algorithm", "ed25519", "-out", private)
    (folder / "text").write_text(text)
    good("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", folder / "text", "-out", folder / "sig")
    old = (folder / "checkpoint").read_text().rsplit("\n\n", 1)[1].split(" ")
    key_id = base64.b64decode(old[2])[:4]
    old[2] = base64.b64encode(key_id + (folder / "sig").read_bytes()).decode() + "\n"
    (folder / "checkpoint").write_text(text + "\n" + " ".join(old))


ATTACKS = [change_a_record, drop_one_in_the_middle, reorder, change_a_record_and_its_tile, drop_the_newest, sign_with_another_key]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.__name__)
def test_attacks_on_the_files(small, tmp_path, attack):
    log = small
    folder = log.copy(tmp_path / "log")
    attack(folder)
    found = judge(folder, log.key)
    assert all(code != 0 for code in found.values()), found


def server_of(folder):
    return Server(data=folder, kind="strongroom")


def one_more(server):
    """A start, one request, a stop: the record has grown, and by something else each time."""
    server.start()
    load(server, "records", 1)
    assert server.stop() == 0


def small_log(folder, count=300):
    server = server_of(folder).start()
    good(BINARY, "container", "create", server.account, "records", "--data", server.data)
    load(server, "records", count)
    key = good(BINARY, "audit", "key", "--data", server.data).strip()
    assert server.stop() == 0
    return server, key


def test_two_histories_are_told_apart(tmp_path):
    """The operator keeps a copy of everything, goes on with both, and shows one to each reader. Each is genuine by itself;
    who has seen a checkpoint of the one knows that the other is not its continuation."""
    server, key = small_log(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    other = server_of(tmp_path / "b")
    for s in (server, other):
        one_more(s)
    for s in (server, other):
        assert set(judge(s.data / "log", key).values()) == {0}
        good(PYTHON, CHECK_LOG, s.data / "log", key)
    for shown, seen in ((server, other), (other, server)):
        with Published(shown.data / "log") as p:
            assert run(VERIFIERS, "grown", p.url, seen.data / "log/checkpoint", key).returncode == 1


def test_yesterdays_backup_is_told_from_today(tmp_path):
    """A restored backup: who has seen today's checkpoint finds that the log has shrunk; and when only the store is put
    back, the server itself refuses to sign."""
    server, key = small_log(tmp_path / "now")
    shutil.copytree(tmp_path / "now", tmp_path / "yesterday")
    one_more(server)
    with Published(tmp_path / "yesterday/log") as p:
        r = run(VERIFIERS, "grown", p.url, server.data / "log/checkpoint", key)
        assert r.returncode == 1 and "shrunk" in r.stderr
    shutil.rmtree(tmp_path / "yesterday/log")
    shutil.copytree(server.data / "log", tmp_path / "yesterday/log")
    r = run(BINARY, "serve", "--dev", "--data", tmp_path / "yesterday", "--port", server.port)
    assert r.returncode != 0 and "older than what it published" in r.stderr


def test_another_logs_files_are_refused(tmp_path):
    one, key = small_log(tmp_path / "one")
    two, _ = small_log(tmp_path / "two")
    shutil.rmtree(two.data / "log")
    shutil.copytree(one.data / "log", two.data / "log")
    r = run(BINARY, "serve", "--dev", "--data", two.data, "--port", two.port)
    assert r.returncode != 0 and "not to be trusted" in r.stderr
    # Put aside, they are made again from the store's own log.
    shutil.rmtree(two.data / "log")
    one_more(two)
    two_key = good(BINARY, "audit", "key", "--data", two.data).strip()
    assert set(judge(two.data / "log", two_key).values()) == {0}
    assert 0 not in judge(two.data / "log", key).values()
    assert run(PYTHON, CHECK_LOG, two.data / "log", key).returncode != 0


def test_exported_audit_events_are_fhir(log):
    """Every kind of entry: changes, reads, refusals, commands."""
    data = log.folder.parent
    for words in ([], ["--open"]):
        entries = good(BINARY, "audit", "search", "--data", data, "--from", RECORDS - 100, *words)
        events = good(BINARY, "audit", "export", "--format", "fhir", "--data", data, "--from", RECORDS - 100, *words)
        known, profiled = good(PYTHON, CHECK_FHIR, input=events).split()
        assert 1 <= int(known) - len(entries.splitlines()) <= 3  # those of searching, one a page
        assert 1000 < int(profiled) < int(known)
