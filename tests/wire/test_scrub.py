"""Scrubbing in the running server: rot on the disk is named in the log and counted, and nobody gets wrong bytes."""
import http.client
import json
import pathlib
import re
import signal
import subprocess
import time

import pytest
import wire


def metrics(port):
    m = http.client.HTTPConnection("127.0.0.1", port, timeout=wire.TIMEOUT_S)
    m.request("GET", "/metrics")
    text = m.getresponse().read().decode()
    m.close()
    return {n: int(v) for n, v in re.findall(r"^(strongroom_scrub_\S+) (\d+)$", text, re.M)}


def wait_for(what):
    end = time.monotonic() + wire.TIMEOUT_S
    while not (seen := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return seen


class Rotting(wire.Server):
    """A production server that scrubs; stopped and started again on the same folder."""

    def __init__(self):
        super().__init__(production=True)

    def _init(self):
        path = pathlib.Path(super()._init())
        path.write_text(path.read_text() + f"admin:\n  listen: 127.0.0.1:{self.port + 1}\nscrub_rate: 1GiB\nscrub_pause: 1s\n")
        self.config = str(path)
        return self.config

    def pause(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(wire.TIMEOUT_S) == 0

    def go_on(self):
        self.log = open(self.folder + "/log", "a+")
        self.process = subprocess.Popen([self.program, "serve", "--config", self.config], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        assert self._answers()

    def said(self, event):
        text = pathlib.Path(self.folder + "/log").read_text()
        return [e for e in map(json.loads, filter(lambda x: x.startswith("{"), text.splitlines())) if e["event"] == event]


@pytest.fixture
def rotting():
    s = Rotting()
    yield s
    s.stop()


def test_passes_are_told_in_the_metrics(rotting):
    api = wire.Api(rotting)
    container = api.create_container()
    before = metrics(rotting.port + 1)["strongroom_scrub_passes_total"]
    for i in range(5):
        api.put_ok(container, f"b{i}", b"x" * 100_000)
    wait_for(lambda: metrics(rotting.port + 1)["strongroom_scrub_passes_total"] >= before + 3)
    m = metrics(rotting.port + 1)
    assert m["strongroom_scrub_blobs"] == 5 and m["strongroom_scrub_bytes"] > 500_000
    assert m["strongroom_scrub_damaged"] == 0 and m["strongroom_scrub_last_end_seconds"] > 1_700_000_000
    api.close()


def test_rot_is_found_and_named(rotting):
    """A byte of a large blob's content is flipped while the server is down."""
    api = wire.Api(rotting)
    container, names = api.create_container(), {"one of two", "other/of/two"}
    body = bytes(range(256)) * 4096
    for name in sorted(names):
        api.put_ok(container, name, body)
    api.close()
    rotting.pause()
    extent = sorted(pathlib.Path(rotting.folder, "data/extents").glob("*.ext"))[0]
    with open(extent, "r+b") as f:
        f.seek(500_000)
        byte = f.read(1)
        f.seek(500_000)
        f.write(bytes([byte[0] ^ 1]))
    rotting.go_on()
    wait_for(lambda: metrics(rotting.port + 1)["strongroom_scrub_damaged"] == 1)
    found = rotting.said("scrub_damaged")[0]
    rotten, = names & {found["blob"]}
    good, = names - {rotten}
    assert (found["container"], found["level"]) == (container, "error") and found["error"] == "ERR_CORRUPT", found
    api = wire.Api(rotting)
    with pytest.raises((wire.Closed, AssertionError, OSError, http.client.HTTPException)):
        r = api("GET", f"/{container}/{wire.quote(rotten)}")
        assert r.status == 200 and r.body == body
    api.close()
    api = wire.Api(rotting)
    assert api("GET", f"/{container}/{wire.quote(good)}").body == body
    api.close()
    rotting.pause()
    r = subprocess.run([rotting.program, "check", "--data", rotting.folder + "/data"], capture_output=True, text=True)
    assert r.returncode == 1 and rotten in r.stdout and good not in r.stdout
    rotting.go_on()


def test_a_repair_needs_the_folder_to_itself_and_is_recorded(rotting):
    check = [rotting.program, "check", "--repair", "--data", rotting.folder + "/data"]
    r = subprocess.run(check, capture_output=True, text=True)
    assert r.returncode == 2 and "in use" in r.stderr, r
    rotting.pause()
    r = subprocess.run(check, capture_output=True, text=True)
    assert r.returncode == 0 and r.stdout.startswith("clean: ") and "repaired" not in r.stdout, r
    rotting.go_on()
    r = subprocess.run([rotting.program, "audit", "search", "--action", "check --repair", "--data", rotting.folder + "/data"],
                       capture_output=True, text=True)
    entry, = map(json.loads, r.stdout.splitlines())
    assert entry["entry"]["class"] == "admin" and entry["entry"]["outcome"] == {"result": "ok"}
