"""Refusals beyond a rate: answered 503 and counted, so that nobody without a credential makes the record long."""
import json
import re
import subprocess
import time

import pytest
import wire

RATE = 2
BURST = 60 * RATE


class Flooded:
    """A production server that records RATE refusals a second."""

    def __init__(self, folder):
        self.program = wire.os.environ.get("STRONGROOM", str(wire.ROOT / "build" / "strongroom"))
        self.port, self.folder = wire.free_base_port(), str(folder / "data")
        out = subprocess.run([self.program, "init", "--data", self.folder, "--account", "records"], check=True,
                             capture_output=True, text=True).stdout
        fields = dict(f.split("=", 1) for line in out.splitlines() if "AccountKey=" in line for f in line.split(";") if f)
        self.account, self.key = "records", fields["AccountKey"]
        config = folder / "yaml"
        config.write_text(f"data: {self.folder}\nlisten:\n  - 127.0.0.1:{self.port}\nadmin:\n  listen: 127.0.0.1:"
                          f"{self.port + 1}\noversight:\n  listen: 127.0.0.1:{self.port + 3}\nrefused_rate: {RATE}\n"
                          f"log:\n  file: {folder}/log\n")
        self.process = subprocess.Popen([self.program, "serve", "--config", str(config)])
        self.log = folder / "log"
        end = time.monotonic() + wire.TIMEOUT_S
        while not (self.log.exists() and '"ready"' in self.log.read_text()) and time.monotonic() < end:
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        return self.process.wait(wire.TIMEOUT_S)

    def entries(self):
        r = subprocess.run([self.program, "audit", "search", "--data", self.folder], text=True, capture_output=True,
                           check=True, timeout=wire.TIMEOUT_S)
        return [json.loads(line)["entry"] for line in r.stdout.splitlines()]


@pytest.fixture
def server(tmp_path):
    s = Flooded(tmp_path)
    yield s
    if s.process.poll() is None:
        s.stop()


def refused(port, n, target="/records/none/none", headers=""):
    """The answers' statuses; one connection."""
    found = []
    with wire.Connection(port) as c:
        for _ in range(n):
            c.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
            found.append(c.read())
    return found


def metric(server, name):
    with wire.Connection(server.port + 1) as c:
        c.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        return int(re.search(rf"^{name} (\d+)$", c.read().text, re.M).group(1))


def test_no_refusal_is_lost(server):
    token = json.loads(subprocess.run([server.program, "oversight", "add", "auditor", "--data", server.folder, "--json"],
                                      check=True, capture_output=True, text=True).stdout)["token"]
    start = time.time()
    answers = refused(server.port, 400)
    answers += refused(server.port, 50, headers="Authorization: SharedKey records:" + "A" * 43 + "=\r\n"
                                                "x-ms-version: 2021-12-02\r\n")
    answers += refused(server.port, 30, target="/records?comp=nonsense")
    answers += refused(server.port + 3, 50, target="/oversight/v1/entries")
    answers += refused(server.port + 3, 50, target="/")
    busy = [r for r in answers if r.status == 503]
    assert len(answers) - len(busy) <= BURST + RATE * (time.time() - start + 2) and len(busy) > 300
    assert all(r.status < 500 for r in answers[:BURST]) and {r.get("retry-after") for r in busy} == {"1"}
    assert {r.code or json.loads(r.text)["error"]["code"] for r in busy} == {"ServerBusy"}
    assert all(r.get("retry-after") is None for r in answers if r.status != 503)
    # Who is known is served all the while, and their refusals have entries of their own.
    api = wire.Api(server)
    name = api.create_container()
    assert all(api("GET", f"/{name}/none").status == 404 for _ in range(100))
    api.close()
    with wire.Connection(server.port + 3) as c:
        c.send(f"GET /oversight/v1/entries HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert c.read().status == 200
    assert metric(server, "strongroom_refusals_counted_total") == len(busy)
    assert "ServerBusy" not in server.log.read_text() and "SERVER_BUSY" not in server.log.read_text()
    assert server.stop() == 0
    found = server.entries()
    single = [e for e in found if e["actor"]["kind"] == "anonymous" and "refusals" not in e]
    told = [e for e in found if "refusals" in e]
    assert len(single) == len(answers) - len(busy)
    assert sum(e["refusals"]["count"] for e in told) == len(busy)
    assert len([e for e in found if e["actor"]["kind"] == "key" and e["outcome"].get("status") == 404]) == 100
    for e in told:
        assert (e["action"], e["class"], e["decision"]) == ("refusals", "refused", "refused")
        assert e["outcome"] == {"code": "ServerBusy", "result": "refused", "status": 503}
        assert e["client"] == {"network": "127.0.0.0/24"}
        assert e["refusals"]["first"] <= e["refusals"]["last"]
        assert e["refusals"]["first"][:19] >= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start - 1))
    assert 1 <= len(told) <= 1 + (time.time() - start) // 60


def test_the_bucket_fills_again(server):
    assert refused(server.port, BURST + 200)[-1].status == 503
    start = time.monotonic()
    time.sleep(2.5)
    statuses = [r.status for r in refused(server.port, 40)]
    most = RATE * (time.monotonic() - start) + 2
    assert 4 <= len([s for s in statuses if s != 503]) <= most, statuses
