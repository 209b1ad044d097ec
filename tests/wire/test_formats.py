"""Data folders of every older format are opened, upgraded and served: tests/formats/ holds one of each, made by the
last program that wrote that format (tests/formats/make); stopped in order, and killed with its log full."""
import base64
import hashlib
import os
import pathlib
import signal
import subprocess
import tempfile

import pytest
import wire

ARCHIVES = sorted((wire.ROOT / "tests/formats").glob("*.tar.xz"))
CURRENT = 5
SIZES = {"empty": 0, "short": 10, "a/inline": 3_000, "a/extent": 36_000}


def content(name, size):
    seed = hashlib.sha256(name.encode()).digest()
    return (seed * (size // 32 + 1))[:size]


def block_id(n):
    return base64.b64encode(b"%06d" % n).decode()


def fill(api):
    """What each archive holds. It asks only for what the oldest program could do."""
    assert api("PUT", "/kept?restype=container", [("x-ms-meta-what", "kept")]).status == 201
    for name, size in SIZES.items():
        api.put_ok("kept", name, content(name, size), [("x-ms-meta-name", name)])
    blocks = [content(f"block {n}", 4_000) for n in range(2)]
    for n, data in enumerate(blocks):
        assert api("PUT", f"/kept/blocks?comp=block&blockid={block_id(n)}", body=data).status == 201
    listed = "".join(f"<Latest>{block_id(n)}</Latest>" for n in range(2))
    assert api("PUT", "/kept/blocks?comp=blocklist", body=f"<BlockList>{listed}</BlockList>".encode()).status == 201
    assert api("PUT", f"/kept/blocks?comp=block&blockid={block_id(9)}", body=b"staged").status == 201
    api.put_ok("kept", "over", b"old")
    api.put_ok("kept", "over", b"new")
    api.put_ok("kept", "gone", content("gone", 100))
    assert api("DELETE", "/kept/gone").status == 202
    assert api("PUT", "/removed?restype=container").status == 201
    api.put_ok("removed", "x", b"x")
    assert api("DELETE", "/removed?restype=container").status == 202


def verify(api):
    assert api("GET", "/kept?restype=container").metadata == {"what": "kept"}
    assert sorted(x.text for x in api("GET", "/kept?restype=container&comp=list").xml.iter("Name")) == \
        sorted([*SIZES, "blocks", "over"])
    for name, size in SIZES.items():
        r = api("GET", f"/kept/{name}")
        assert r.status == 200 and r.body == content(name, size) and r.metadata == {"name": name}, name
    assert api("GET", "/kept/blocks").body == content("block 0", 4_000) + content("block 1", 4_000)
    r = api("GET", "/kept/blocks?comp=blocklist&blocklisttype=all")
    assert [x.text for x in r.xml.iter("Name")] == [block_id(0), block_id(1), block_id(9)]
    assert api("GET", "/kept/over").body == b"new"
    assert api("GET", "/kept/gone").status == 404
    assert api("GET", "/removed?restype=container").status == 404


class Served(wire.Server):
    """A server on a folder that is there already."""

    def __init__(self, folder):
        self.program = os.environ.get("STRONGROOM", str(wire.ROOT / "build" / "strongroom"))
        self.port, self.folder = wire.free_base_port(), str(folder)
        self.account, self.key, self.suffix = wire.ACCOUNT, wire.KEY, ""
        self.log = open(self.folder + ".log", "a+")
        self.process = subprocess.Popen([self.program, "serve", "--dev", "--data", self.folder, "--port", str(self.port)],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        assert self._answers()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(wire.TIMEOUT_S)

    def said(self):
        self.log.seek(0)
        return self.log.read()


def check(folder):
    program = os.environ.get("STRONGROOM", str(wire.ROOT / "build" / "strongroom"))
    return subprocess.run([program, "check", "--data", str(folder)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=wire.TIMEOUT_S)


def test_every_older_format_is_there():
    assert {p.name.split("-")[0] for p in ARCHIVES} == {f"format{n}" for n in range(1, CURRENT)}
    assert len(ARCHIVES) == 2 * (CURRENT - 1)


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda p: p.name.split(".")[0])
def test_an_older_folder_is_upgraded_and_served(archive):
    number = archive.name.removeprefix("format").split("-")[0]
    with tempfile.TemporaryDirectory(prefix="strongroom-format-") as d:
        subprocess.run(["tar", "-C", d, "-xf", archive], check=True)
        folder = pathlib.Path(d) / "data"
        folder.chmod(0o700)
        assert (folder / "FORMAT").read_text() == f"strongroom {number}\n"
        r = check(folder)  # which writes nothing, so it does not upgrade
        assert r.returncode == 2 and "must be upgraded" in r.stderr, r.stderr
        for _ in range(2):  # upgraded, and then as it is
            server = Served(folder)
            assert server.said().count('"engine.upgraded"') == 1
            api = wire.Api(server)
            verify(api)
            api.put_ok("kept", "later", content("later", 40_000))
            assert api("GET", "/kept/later").body == content("later", 40_000)
            assert api("DELETE", "/kept/later").status == 202
            api.close()
            assert server.end() == 0
            assert (folder / "FORMAT").read_text() == f"strongroom {CURRENT}\n"
            r = check(folder)
            assert r.returncode == 0 and r.stdout.startswith("clean"), r.stdout + r.stderr
