"""Witnesses: torchwood's litewitness cosigns the record, and finds what only somebody outside can find; others misbehave."""
import base64
import hashlib
import http.server
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import types
import urllib.error
import urllib.request

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/clients"))
from server import BINARY, BUILD, ENV, Process, Server, free_port  # noqa: E402

VERIFIERS = ENV / "bin/verifiers"
EMPTY_ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # SHA-256 of nothing (RFC 6962, 2.1)
PATIENCE_S = 60


def run(*argv, **kwargs):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120, **kwargs)


def good(*argv, **kwargs):
    r = run(*argv, **kwargs)
    assert r.returncode == 0, f"{argv}\n{r.stdout}\n{r.stderr}"
    return r.stdout


def wait_for(what, seconds=PATIENCE_S):
    end = time.monotonic() + seconds
    while not (seen := what()):
        assert time.monotonic() < end, f"it did not come to that: {what}"
        time.sleep(0.1)
    return seen


class Litewitness:
    """Its key is in an ssh-agent of its own; the logs it knows stand in its database (witnessctl's tables)."""

    def __init__(self, folder, name):
        self.folder = folder
        folder.mkdir()
        good("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
        fingerprint = good("ssh-keygen", "-lf", folder / "key.pub").split()[1]
        self.agent = subprocess.Popen(["ssh-agent", "-D", "-a", folder / "agent"], stdout=subprocess.DEVNULL)
        wait_for((folder / "agent").exists)
        subprocess.run(["ssh-add", "-q", folder / "key"], env={"SSH_AUTH_SOCK": str(folder / "agent")}, check=True,
                       capture_output=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = Process([ENV / "bin/litewitness", "-name", name, "-db", folder / "db", "-ssh-agent", folder / "agent",
                                "-key", fingerprint, "-listen", f"127.0.0.1:{port}"])
        self.key = re.search(r'vkey="?([^" ]+)', self.process.wait_for_line("vkey="))[1]

    def knows(self, log_key):
        with sqlite3.connect(self.folder / "db") as db:
            origin = log_key.split("+")[0]
            db.execute("INSERT INTO log VALUES (?, 0, ?)", (origin, EMPTY_ROOT))
            db.execute("INSERT INTO key VALUES (?, ?)", (origin, log_key))

    def stop(self):
        self.process.kill()
        self.agent.kill()
        self.agent.wait()


class Log:
    """A server with a policy, and what it publishes."""

    def __init__(self, folder):
        self.folder, self.data, self.policy = folder, folder / "data", folder / "policy"
        self.config, self.port, self.server = folder / "strongroom.yaml", free_port(), None
        said = good(BINARY, "init", "--data", self.data, "--root-key", folder / "root.key", "--account", "records", "--config",
                    self.config)
        account = types.SimpleNamespace(account="records", key=said.split("AccountKey=")[1].split(";")[0].strip())
        self.sas = Server.account_sas(account)
        self.config.write_text(f"data: {self.data}\nroot_key: {folder}/root.key\nlisten:\n  - 127.0.0.1:{self.port}\n"
                               f"admin:\n  listen: 127.0.0.1:{self.port + 1}\n"
                               f"audit:\n  witnesses: {self.policy}\nrefused_rate: 0\n")  # refusals make many entries
        self.key = self.operate("audit", "key").strip()

    def operate(self, *words):
        return good(BINARY, *words, "--config", self.config)

    def set(self, **audit):
        """Settings under `audit`."""
        lines = "".join(f"  {k}: {v}\n" for k, v in audit.items())
        self.config.write_text(self.config.read_text().replace("audit:\n", f"audit:\n{lines}"))

    def ask(self, method, path, body=None, query="", **headers):
        """A client's request: status, answer, and how long it took."""
        url = f"http://127.0.0.1:{self.port}/records/{path}?{query}{self.sas if query is not None else ''}"
        headers = {"x-ms-version": "2021-12-02", "x-ms-blob-type": "BlockBlob", **headers}
        begun = time.monotonic()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=60) as r:
                return r.status, r.read(), time.monotonic() - begun
        except urllib.error.HTTPError as e:
            return e.code, e.read(), time.monotonic() - begun

    def entries(self):
        return int(re.search(r"^strongroom_audit_entries_total (\d+)$", self.metrics(), re.M)[1])

    def start(self, policy):
        self.policy.write_text(policy)
        self.server = Process([BINARY, "serve", "--config", self.config])
        wait_for(lambda: self.server.process.poll() is not None or "strongroom_" in self.metrics())
        assert self.server.process.poll() is None, self.server.output
        return self

    def stop(self):
        if self.server:
            assert self.server.stop() == 0, self.server.output
        self.server = None

    def metrics(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port + 1}/metrics", timeout=10).read().decode()
        except OSError:
            return ""

    def metric(self, name, witness="w"):
        return int(re.search(rf'^strongroom_audit_witness_{name}{{witness="{witness}"}} (\d+)$', self.metrics(), re.M)[1])

    def work(self, n=3):
        """n entries; where the record ends then."""
        for _ in range(n):
            self.operate("account", "list")
        return self.entries()

    def checkpoint(self):
        path = self.data / "log/checkpoint"
        return path.read_text() if path.exists() else ""

    def published(self):
        lines = self.checkpoint().split("\n")
        return int(lines[1]) if len(lines) > 1 else 0

    def until_published(self, size):
        wait_for(lambda: self.published() >= size)


@pytest.fixture
def witness(tmp_path):
    w = Litewitness(tmp_path / "witness", "witness.test/w")
    yield w
    w.stop()


@pytest.fixture
def log(tmp_path):
    one = Log(tmp_path)
    yield one
    one.stop()


def by_one(witness, more=""):
    return f"# who must sign\nwitness w {witness.key} {witness.url}\n{more}quorum w\n"


def test_a_real_witness_cosigns(log, witness, tmp_path):
    witness.knows(log.key)
    log.start(f"log {log.key}\n" + by_one(witness))
    log.until_published(log.work())
    good(VERIFIERS, "cosigned", log.data / "log/checkpoint", log.key, witness.key)
    size = log.published()
    assert log.metric("entries") == size and log.metric("refuses") == 0 and log.metric("cosignatures_total") > 0
    # a receipt carries the cosignature, and is checked offline
    receipt = tmp_path / "receipt"
    receipt.write_text(good(BINARY, "audit", "prove", log.data / "log", 0, "--key", log.key))
    good(BINARY, "audit", "check", receipt, "--key", log.key, "--policy", log.policy)
    good(BINARY, "audit", "verify", log.data / "log", "--key", log.key, "--policy", log.policy)
    # another log's checkpoint is asked for
    foreign = tmp_path / "foreign"
    foreign.write_text(log.policy.read_text().replace(log.key, vkey("other.test/log", 1, bytes(32))))
    for words in (("check", receipt), ("verify", log.data / "log")):
        r = run(BINARY, "audit", *words, "--key", log.key, "--policy", foreign)
        assert r.returncode == 1 and "none of the policy's logs" in r.stderr
    # somebody else's cosignature is asked for
    other = tmp_path / "other"
    other.write_text(log.policy.read_text().replace(f"log {log.key}\n", "").replace(
        witness.key, "other.test/w+00000000+BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
    for words in (("check", receipt), ("verify", log.data / "log")):
        assert run(BINARY, "audit", *words, "--key", log.key, "--policy", other).returncode == 2  # the key's number is wrong
        stranger = run(BINARY, "audit", *words, "--key", log.key, "--policy", stranger_policy(tmp_path))
        assert stranger.returncode == 1 and "no witness of it has cosigned" in stranger.stderr
    # it goes on after a restart, and learns where the witness is
    log.stop()
    log.start(log.policy.read_text())
    log.until_published(log.work())
    assert log.published() > size
    good(VERIFIERS, "cosigned", log.data / "log/checkpoint", log.key, witness.key)


def vkey(name, kind, key):
    number = hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).hexdigest()[:8]
    return f"{name}+{number}+{base64.b64encode(bytes([kind]) + key).decode()}"


def stranger_policy(folder):
    path = folder / "stranger"
    path.write_text(f"witness s {vkey('stranger.test/s', 4, bytes(range(32)))}\nquorum s\n")
    return path


def test_a_restored_backup_is_refused_by_the_witness(log, witness, tmp_path):
    """Store and published record of yesterday, together: nothing here contradicts itself. Then the other history grows."""
    witness.knows(log.key)
    log.start(by_one(witness))
    log.until_published(log.work())
    log.stop()
    shutil.copytree(log.data, tmp_path / "yesterday")
    log.start(by_one(witness))
    log.until_published(log.work(20))
    log.stop()
    seen = log.published()
    shutil.rmtree(log.data)
    shutil.copytree(tmp_path / "yesterday", log.data)
    old = log.published()
    log.start(by_one(witness))
    log.work(2)
    wait_for(lambda: log.metric("refuses") == 1)
    assert "audit.witness_refuses" in log.server.output and "as after a backup was restored" in log.server.output
    assert log.published() == old, "what no witness cosigned was published"
    log.work(seen - old + 20)
    wait_for(lambda: "are not the beginning of" in log.server.output)
    assert log.metric("refuses") == 1 and log.published() == old


# ---- witnesses that misbehave -----------------------------------------------------------------------------------------

class Fake:
    """Answers add-checkpoint with what `answer` gives for its body: (status, body), or None for no answer at all."""

    def __init__(self, answer, key=bytes(range(32))):
        self.asked = []
        self.connections, self.questions_max = 0, 10 ** 9  # on one connection

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(handler):
                super().setup()
                self.connections += 1
                handler.questions = 0

            def do_POST(handler):
                body = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
                self.asked.append((handler.path, body))
                reply = answer(body)
                if reply is None:
                    time.sleep(20)
                    return
                text = reply[1].encode()
                handler.send_response(reply[0])
                handler.send_header("Content-Length", str(len(text)))
                handler.end_headers()
                handler.wfile.write(text)
                handler.questions += 1
                handler.close_connection = handler.questions >= self.questions_max  # without a word

            def log_message(handler, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/prefix/"
        self.key = vkey("fake.test/f", 4, key)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("answer, says", [
    (lambda body: (200, "\u2014 fake.test/f AAAAAAAA\n"), "no cosignature"),
    (lambda body: (200, "nonsense\n"), "no cosignature"),
    (lambda body: (200, "x" * 100_000), "more than"),
    (lambda body: (404, ""), "does not know this log"),
    (lambda body: (403, ""), "another key"),
    (lambda body: (500, ""), "status 500"),
    (lambda body: (409, "x\n"), "without the size"),
    (lambda body: (409, "0\n" if body.startswith("old 1\n") else "1\n"), "another size each time"),
    (lambda body: (409, "1\n" if "old 0\n" in body else "99999999\n"), "as after a backup was restored"),
    (lambda body: (409, "99999999\n"), "as after a backup was restored"),
    (lambda body: (422, ""), "not the beginning"),
])
def test_a_witness_that_does_not_cosign_is_said_and_asked_again(log, answer, says):
    fake = Fake(answer)
    log.start(f"witness w {fake.key} {fake.url}\nquorum w\n")
    log.work(1)
    wait_for(lambda: says in log.server.output)
    wait_for(lambda: log.metric("failures_total") >= 2)
    assert log.published() == 0 and fake.asked[0][0] == "/prefix/add-checkpoint"
    assert log.server.output.count(says) == 1, "an alarm each time that it is asked"
    log.stop()
    fake.stop()


def test_who_is_slow_or_dead_holds_up_nobody(log, witness):
    witness.knows(log.key)
    slow, key = Fake(lambda body: None), bytes(reversed(range(32)))
    log.start(by_one(witness).replace("quorum w", f"witness slow {slow.key} {slow.url}\n"
              f"witness dead {vkey('dead.test/d', 4, key)} http://127.0.0.1:9/\ngroup g any w slow dead\nquorum g"))
    for _ in range(3):
        log.until_published(log.work())
    good(VERIFIERS, "cosigned", log.data / "log/checkpoint", log.key, witness.key)
    wait_for(lambda: log.metric("failures_total", "dead") > 0)
    assert log.metric("cosignatures_total", "slow") == 0 and log.metric("refuses", "dead") == 0
    slow.stop()


@pytest.mark.parametrize("policy, says", [
    ("quorum w\n", "line 1: no line before this one defines 'w'"),
    ("witness w KEY URL\n", "no quorum line"),
    ("witness w KEY\nquorum w\n", "cannot be met"),
    ("witness w LOG URL\nquorum w\n", "line 1: a witness' key is of type 0x04"),
    ("log OTHER\nwitness w KEY URL\nquorum w\n", "its logs are others"),
    ("witness w KEY ftp://w.test/\nquorum w\n", "the URL of witness 'w' is not the beginning of an http"),
    ("witness w KEY https://w.test/?to=x\nquorum w\n", "the URL of witness 'w' is not the beginning of an http"),
    ("witness w KEY URL\nquorum w\n\0", "line 3: it holds control characters"),
])
def test_a_policy_that_cannot_be_is_refused_at_the_start(log, policy, says):
    words = {"KEY": vkey("w.test/w", 4, bytes(32)), "LOG": log.key, "OTHER": vkey("other.test/l", 1, bytes(32)),
             "URL": "http://127.0.0.1:9"}
    log.policy.write_text(re.sub("KEY|LOG|OTHER|URL", lambda m: words[m[0]], policy))
    r = run(BINARY, "serve", "--config", log.config)
    assert r.returncode != 0 and says in r.stderr + r.stdout, r.stderr + r.stdout

# ---- witnesses that cosign -------------------------------------------------------------------------------------------

class Cosigner(Fake):
    """One that remembers only the size, and cosigns `times` over."""

    def __init__(self, name, times=1):
        secret = Ed25519PrivateKey.generate()
        self.size, self.name, self.times, self.secret = 0, name, times, secret
        self.answers = True
        super().__init__(self.add_checkpoint)
        self.public = secret.public_key().public_bytes_raw()
        self.key = vkey(name, 4, self.public)

    def add_checkpoint(self, body):
        if not self.answers:
            return 500, ""
        old, checkpoint = int(body.split("\n")[0].split()[1]), body.split("\n\n", 1)[1]
        if old != self.size:
            return 409, f"{self.size}\n"
        text = checkpoint.rsplit("\n\n", 1)[0] + "\n"
        self.size = int(text.split("\n")[1])
        return 200, "".join(self.line(text, 1700000000 + i) for i in range(self.times))

    def line(self, text, seconds):
        number = hashlib.sha256(self.name.encode() + b"\n\4" + self.public).digest()[:4]
        signature = self.secret.sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
        return f"\u2014 {self.name} {base64.b64encode(number + seconds.to_bytes(8, 'big') + signature).decode()}\n"


def test_one_who_cosigns_many_times_over_is_taken_once(log):
    """A note has room for 64 signatures; what was published with more could not be read, by this server neither."""
    eager = [Cosigner(f"eager.test/{i}", 40) for i in range(2)]
    log.start("".join(f"witness w{i} {w.key} {w.url}\n" for i, w in enumerate(eager)) + "group g all w0 w1\nquorum g\n")
    log.until_published(log.work())
    assert log.checkpoint().count("\u2014 ") == 3
    good(BINARY, "audit", "verify", log.data / "log", "--key", log.key, "--policy", log.policy)
    log.stop()
    log.start(log.policy.read_text())
    log.until_published(log.work())
    log.stop()
    for w in eager:
        w.stop()


def test_a_folder_made_again_is_no_rollback(log):
    """Put aside, the published folder is made again in steps from the store's own log: until it is where it was, the witness
    has cosigned more than it is asked for, and that contradicts nothing."""
    good("make", "build/bench/load", cwd=ROOT)
    w = Cosigner("w.test/w")
    log.start(f"witness w {w.key} {w.url}\nquorum w\n")
    # refusals, each of which leaves an entry; more of them than are added between two checkpoints
    run(BUILD / "bench/load", "put", log.port, "/records/none", "", "--size", 10, "--connections", 32, "--count", 70_000)
    size = log.work(1)
    assert size > 70_000
    log.until_published(size)
    log.stop()
    shutil.rmtree(log.data / "log")
    log.start(log.policy.read_text())
    log.until_published(size)
    assert "witness_refuses" not in log.server.output and "witness_fails" not in log.server.output
    assert log.metric("refuses") == 0 and log.metric("failures_total") == 0
    w.stop()


def test_a_connection_is_kept_and_made_anew(log):
    w = Cosigner("w.test/w")
    log.start(f"witness w {w.key} {w.url}\nquorum w\n")
    for _ in range(4):
        log.until_published(log.work(1))
    assert len(w.asked) >= 4 and w.connections == 1
    w.questions_max, asked = 1, len(w.asked)
    for _ in range(4):
        log.until_published(log.work(1))
    assert len(w.asked) - asked >= 4 and w.connections >= 4
    assert log.metric("failures_total") == 0 and "witness_fails" not in log.server.output
    w.stop()


# ---- answers that wait for the witnesses (audit.acknowledge: witnessed) -----------------------------------------------

LARGE = bytes(range(256)) * 4096 * 3


def test_an_answer_leaves_when_the_witnesses_have_cosigned_its_record(log, witness):
    witness.knows(log.key)
    log.set(acknowledge="witnessed")
    log.start(by_one(witness))
    steps = [("PUT", "box", b"", "restype=container&", 201), ("PUT", "box/small", b"x" * 100, "", 201),
             ("GET", "box/small", None, "", 200), ("HEAD", "box/small", None, "", 200), ("PUT", "box/large", LARGE, "", 201),
             ("GET", "box/large", None, "", 200), ("GET", "box", None, "restype=container&comp=list&", 200),
             ("GET", "box/nothing", None, "", 404), ("PUT", "box", b"", "restype=container&", 409),
             ("DELETE", "box/small", None, "", 202)]
    for method, path, body, query, wanted in steps:
        before = log.published()
        status, data, _ = log.ask(method, path, body, query)
        assert status == wanted, data
        # nobody else is there: all that is recorded is this request's, and those before
        assert log.published() == log.entries() > before, (method, path)
        if method == "GET" and path == "box/large":
            assert data == LARGE
    good(VERIFIERS, "cosigned", log.data / "log/checkpoint", log.key, witness.key)
    assert "strongroom_audit_answers_waiting 0" in log.metrics() and "strongroom_audit_unwitnessed_total 0" in log.metrics()


def test_sub_requests_of_a_batch_wait_together(log):
    w = Cosigner("w.test/w")
    log.set(acknowledge="witnessed")
    log.start(f"witness w {w.key} {w.url}\nquorum w\n")
    assert log.ask("PUT", "box", b"", "restype=container&")[0] == 201
    parts = "".join(f"--b\r\nContent-Type: application/http\r\nContent-ID: {i}\r\n\r\n"
                    f"DELETE /records/box/none{i}?{log.sas} HTTP/1.1\r\nContent-Length: 0\r\n\r\n" for i in range(200)) + "--b--\r\n"
    before = log.checkpoint()
    asked = len(w.asked)
    status, data, _ = log.ask("POST", "", parts.encode(), "comp=batch&", **{"Content-Type": "multipart/mixed; boundary=b"})
    assert status == 202 and data.count(b"HTTP/1.1 404") == 200
    assert log.checkpoint() != before and log.published() == log.entries()
    assert len(w.asked) - asked < 100, "each part waited for its own checkpoint"
    w.stop()


def test_clients_share_checkpoints(log):
    w = Cosigner("w.test/w")
    log.set(acknowledge="witnessed")
    log.start(f"witness w {w.key} {w.url}\nquorum w\n")
    assert log.ask("PUT", "box", b"", "restype=container&")[0] == 201
    asked, wrong = len(w.asked), []

    def client(i):
        for k in range(10):
            if log.ask("PUT", f"box/{i}-{k}", b"x")[0] != 201 or log.ask("GET", f"box/{i}-{k}")[1] != b"x":
                wrong.append((i, k))
    threads = [threading.Thread(target=client, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and len(w.asked) - asked < 320, "each answer had a checkpoint of its own"
    w.stop()


def test_one_container_can_ask_for_it(log):
    w = Cosigner("w.test/w")
    log.start(f"witness w {w.key} {w.url}\nquorum w\n")
    for name in ("secret", "open"):
        assert log.ask("PUT", name, b"", "restype=container&")[0] == 201
        assert log.ask("PUT", f"{name}/b", name.encode())[0] == 201
    log.operate("container", "set", "records", "secret", "acknowledge=witnessed")
    source = {"x-ms-copy-source": f"http://127.0.0.1:{log.port}/records/secret/b?{log.sas}", "x-ms-requires-sync": "true"}
    part = (f"--b\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nDELETE /records/secret/c?{log.sas} HTTP/1.1\r\n"
            "Content-Length: 0\r\n\r\n--b--\r\n").encode()
    ways = [("GET", "secret/b", None, "", {}, 200), ("PUT", "secret/c", b"x", "", {}, 201),
            ("GET", "secret", None, "restype=container&comp=list&", {}, 200), ("GET", "secret/none", None, "", {}, 404),
            ("PUT", "open/copy", b"", "", source, 201),  # what is in it, by way of another one
            ("POST", "", part, "comp=batch&", {"Content-Type": "multipart/mixed; boundary=b"}, 202)]
    for method, path, body, query, headers, wanted in ways:
        status, data, _ = log.ask(method, path, body, query, **headers)
        assert status == wanted, (path, data)
        assert log.published() == log.entries(), path
    # without the witness others are answered, and this one is not
    w.answers = False
    assert log.ask("GET", "open/b")[:2] == (200, b"open")
    assert log.published() < log.entries()
    log.stop()
    log.set(acknowledge_wait="1s")
    log.start(log.policy.read_text())
    for method, path, body, query, headers, _ in ways:
        status, data, _ = log.ask(method, path, body, query, **headers)
        assert status == 500 and b"OperationTimedOut" in data and b"secret" not in data, (path, data)
    assert log.ask("GET", "open/b")[:2] == (200, b"open")
    w.stop()


def test_without_the_witness_there_is_no_answer_but_an_error_that_says_so(log):
    w = Cosigner("w.test/w")
    log.set(acknowledge="witnessed", acknowledge_wait="2s")
    log.start(f"witness w {w.key} {w.url}\nquorum w\n")
    assert log.ask("PUT", "box", b"", "restype=container&")[0] == 201
    assert log.ask("PUT", "box/blob", b"secret")[0] == 201
    w.answers = False
    for method, body in (("GET", None), ("PUT", b"changed")):
        status, data, took = log.ask(method, "box/blob", body)
        assert status == 500 and b"OperationTimedOut" in data and b"the witnesses that must cosign" in data and b"secret" not in data
        assert took >= 2
    # a refusal tells nothing, and does not wait
    status, data, _ = log.ask("GET", "box/blob", query=None)
    assert status in (401, 403, 404, 409) and b"OperationTimedOut" not in data
    # what was answered with an error may have been done, as the error says
    w.answers = True
    wait_for(lambda: log.ask("GET", "box/blob")[1] == b"changed")
    assert re.search(r"^strongroom_audit_unwitnessed_total [1-9]", log.metrics(), re.M)
    # a client that waits does not hold up a stop for longer than the grace
    w.answers = False
    log.stop()
    log.config.write_text(log.config.read_text().replace("acknowledge_wait: 2s", "acknowledge_wait: 300s") + "shutdown_grace: 1s\n")
    log.start(log.policy.read_text())
    seen = []
    waiting = threading.Thread(target=lambda: seen.append(log.ask("GET", "box/blob")))
    waiting.start()
    wait_for(lambda: "strongroom_audit_answers_waiting 1" in log.metrics())
    log.stop()
    waiting.join()
    assert seen[0][0] == 500 and b"changed" not in seen[0][1]
    w.stop()


@pytest.mark.parametrize("settings, policy, says", [
    ({"acknowledge": "soon"}, "witness w KEY URL\nquorum w\n", "must be durable or witnessed"),
    ({"acknowledge": "witnessed"}, "quorum none\n", "would wait for nobody"),
])
def test_waiting_for_nobody_is_refused(log, settings, policy, says):
    log.set(**settings)
    log.policy.write_text(policy.replace("KEY", vkey("w.test/w", 4, bytes(32))).replace("URL", "http://127.0.0.1:9"))
    r = run(BINARY, "serve", "--config", log.config)
    assert r.returncode != 0 and says in r.stderr + r.stdout, r.stderr + r.stdout
