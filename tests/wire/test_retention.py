"""Retention of the record itself (docs/decisions/0032): old entries go from store and published folder, everyone is told
so, and what is left is verified as before."""
import http.client
import json
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
import wire

KEEP_S = 2


class Kept(wire.Server):
    """A server that keeps its record for two seconds, that can be killed and started again."""

    def __init__(self):
        super().__init__()
        self.kill()
        self.start_again()

    def start_again(self, keep=KEEP_S):
        self.log = open(self.folder + ".log", "a+")
        words = ["--retention", str(keep)] if keep else []
        self.process = subprocess.Popen([self.program, "serve", "--dev", "--data", self.folder, "--port", str(self.port), *words],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        assert self._answers(), pathlib.Path(self.folder + ".log").read_text()[-2000:]

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def kept():
    s = Kept()
    yield s
    assert s.stop() == 0
    pathlib.Path(s.folder + ".log").unlink(missing_ok=True)


def run(server, *words):
    r = subprocess.run([server.program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=wire.TIMEOUT_S)
    return r.returncode, r.stdout, r.stderr


def operate(server, *words):
    return run(server, *words, "--data", server.folder)


def key(server):
    return operate(server, "audit", "key")[1].strip()


def status(server):
    code, out, err = operate(server, "audit", "status", "--json")
    assert code == 0, err
    return json.loads(out)


def fetched(server, path):
    c = http.client.HTTPConnection("127.0.0.1", server.port + 2, timeout=wire.TIMEOUT_S)
    c.request("GET", path)
    r = c.getresponse()
    body = r.read()
    c.close()
    return r.status, body


def minimum(server):
    f = pathlib.Path(server.folder, "log/minimum-index")
    return int(f.read_text()) if f.exists() else 0


def work(server, n):
    a = wire.Api(server)
    name = a.create_container()
    a.put_ok(name, "b", b"abc")
    for _ in range(n):
        assert a("GET", f"/{name}/b").status == 200
    a.close()
    return name


def wait_until(condition, what):
    end = time.monotonic() + wire.TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def verified(server, where=None):
    code, out, err = run(server, "audit", "verify", where or server.folder + "/log", "--key", key(server))
    assert code == 0, out + err
    found = re.search(r"entries before (\d+)", out)
    return int(found[1]) if found else 0


def test_old_entries_go_and_everyone_is_told(kept):
    name = work(kept, 700)
    wait_until(lambda: pathlib.Path(kept.folder, "log/checkpoint").exists(), "nothing was published")
    blob = ["--account", wire.ACCOUNT, "--container", name, "--blob", "b"]
    code, receipts, err = operate(kept, "audit", "receipts", *blob)
    assert code == 0, err
    wait_until(lambda: minimum(kept) >= 512, "nothing was removed")
    before = minimum(kept)
    wait_until(lambda: status(kept)["removed_before"] == minimum(kept), "the store keeps them")
    before = minimum(kept)
    assert before % 256 == 0 and verified(kept) == before
    assert verified(kept, f"http://127.0.0.1:{kept.port + 2}/log") == before

    # readers
    assert fetched(kept, "/log/minimum-index") == (200, b"%d\n" % before)
    assert fetched(kept, "/log/tile/entries/000")[0] == 404
    assert fetched(kept, "/log/tile/0/000")[0] == 200
    code, out, err = run(kept, "audit", "prove", kept.folder + "/log", "5", "--key", key(kept))
    assert code == 2 and "entry 5 was removed by retention" in err, err
    code, receipt, err = run(kept, "audit", "prove", kept.folder + "/log", str(before), "--key", key(kept))
    assert code == 0, err
    for command in ("search", "receipts"):
        code, out, err = operate(kept, "audit", command, *blob, "--from", "5")
        assert code != 0 and f"entries before {before} were removed by retention" in err, err
    code, out, err = operate(kept, "audit", "search", "--open")
    assert code == 0 and f"entries before {before} were removed by retention" in err
    found = [json.loads(line) for line in out.splitlines()]
    assert found[0]["index"] == before
    told = [x["entry"] for x in found if x["entry"]["action"] == "Remove Record Entries"]
    assert told and told[-1]["class"] == "erasure" and told[-1]["decision"] == "retention"
    assert told[-1]["retention"]["before"] == before and told[-1]["retention"]["keep"] == KEEP_S
    assert "until" in told[-1]["retention"] and told[-1]["retention"]["count"] % 256 == 0

    # receipts from before hold
    if receipts:
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(receipts)
            f.flush()
            code, out, err = run(kept, "audit", "check", f.name, "--key", key(kept))
            assert code == 0 and "genuine" in err, err

    # status and metrics
    s = status(kept)
    assert s["entries"] - s["kept"] == s["removed_before"] and s["retention"] == f"{KEEP_S} s"
    assert s["oldest"] and s["removed_until"]
    c = http.client.HTTPConnection("127.0.0.1", kept.port + 1, timeout=wire.TIMEOUT_S)
    c.request("GET", "/metrics")
    text = c.getresponse().read().decode()
    c.close()
    assert re.search(r"^strongroom_audit_first_entry [1-9]", text, re.M)
    assert re.search(r"^strongroom_audit_removed_total [1-9]", text, re.M)
    assert re.search(r"^strongroom_audit_row_bytes ", text, re.M)

    # without a server, and kept for ever from now on
    kept.kill()
    assert operate(kept, "check")[0] == 0
    assert "removed by retention" in operate(kept, "audit", "search", "--count", "1")[2]
    kept.start_again(keep=0)
    stays = status(kept)["removed_before"]
    code, out, err = operate(kept, "audit", "search", "--action", "Set Record Retention")
    told = json.loads(out.splitlines()[-1])["entry"]
    assert told["class"] == "policy" and told["retention"] == {"keep": 0, "was": KEEP_S}
    work(kept, 300)
    time.sleep(KEEP_S + 1)
    assert status(kept)["removed_before"] == stays and verified(kept) in (stays, minimum(kept))


def test_killed_at_any_moment(kept):
    for round in range(6):
        work(kept, 400)
        time.sleep(KEEP_S * (0.5 + 0.13 * round))
        kept.kill()
        assert operate(kept, "check")[0] == 0
        kept.start_again()
    wait_until(lambda: minimum(kept) >= 1024, "nothing was removed")
    wait_until(lambda: status(kept).get("removed_before") == minimum(kept), "the store keeps them")
    assert verified(kept) >= 1024
    kept.process.send_signal(signal.SIGTERM)
    assert kept.process.wait(wire.TIMEOUT_S) == 0
    assert operate(kept, "check")[0] == 0
    kept.start_again()
    assert verified(kept) >= 1024


def test_a_backup_of_what_is_kept_is_restored(kept):
    """The published folder is not in a backup: it is made again from where the record begins."""
    work(kept, 700)
    wait_until(lambda: status(kept).get("removed_before", 0) >= 512, "nothing was removed")
    with tempfile.TemporaryDirectory(prefix="strongroom-retention-") as d:
        assert operate(kept, "backup", "--to", d + "/backup")[0] == 0
        kept.kill()
        assert run(kept, "restore", "--from", d + "/backup", "--data", d + "/restored")[0] == 0
        was, kept.folder = kept.folder, d + "/restored"
        shutil.copy(was + "/root.key", d + "/restored/root.key")
        try:
            kept.start_again(keep=0)
            begins = status(kept)["removed_before"]
            wait_until(lambda: pathlib.Path(kept.folder, "log/checkpoint").exists(), "nothing was published")
            assert begins >= 512 and verified(kept) == begins
        finally:
            kept.kill()
            kept.folder = was
    kept.start_again()


def test_what_is_set_is_checked(tmp_path):
    program = wire.os.environ.get("STRONGROOM", str(wire.ROOT / "build" / "strongroom"))
    for value, why in (("29d", "at least 30d"), ("1s", "at least 30d"), ("never", "audit.retention"), ("-1", "audit.retention")):
        f = tmp_path / "c.yaml"
        f.write_text(f"data: {tmp_path}/data\nlisten:\n  - 127.0.0.1:1\nhost_suffix: blob.example.org\naudit:\n  retention: {value}\n")
        r = subprocess.run([program, "serve", "--config", str(f)], capture_output=True, text=True, timeout=wire.TIMEOUT_S)
        assert r.returncode != 0 and why in r.stdout + r.stderr, r.stderr
