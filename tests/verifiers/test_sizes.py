"""One log at every size where its tiles are otherwise: each looked at whole, by verifiers that are not ours."""
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/clients"))
from server import BINARY, BUILD, ENV  # noqa: E402

VERIFIERS = ENV / "bin/verifiers"
# Every size to beyond two full bundles; and around those at which a second tile, and then a third level, begins.
SMALL = list(range(601))
LARGE = [65535, 65536, 65537, 70000]
HASH, TILE = 32, 256


class Grown:
    """A log that a publisher makes, and copies of it as it was at some sizes."""

    def __init__(self, folder):
        subprocess.run(["make", "build/grow"], cwd=ROOT, check=True, capture_output=True)
        self.folder, self.copies = folder / "log", folder / "copies"
        self.copies.mkdir()
        self.open()

    def open(self):
        self.process = subprocess.Popen([BUILD / "grow", self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.key = self.process.stdout.readline().strip()

    def to(self, size):
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == f"{size}\n"
        # files are replaced, not changed: a link keeps what was there
        shutil.copytree(self.folder, self.copies / str(size), copy_function=os.link)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0

    def sizes(self):
        """Those that the verifiers have found genuine, and what they say of the first that is not."""
        r = subprocess.run([VERIFIERS, "sizes", self.copies, self.key], capture_output=True, text=True, timeout=500)
        return [int(n) for n in r.stdout.split()], r.stderr


def widths(size):
    """{tile: bytes} that a log of this size has (https://c2sp.org/tlog-tiles), from the text: level L holds the hashes of
    complete subtrees of 256**L entries, 256 a tile, the last one partial."""
    found, level = {}, 0
    while (hashes := size // TILE ** level) > 0:
        if hashes % TILE:
            found[f"tile/{level}/{hashes // TILE:03}.p/{hashes % TILE}"] = HASH * (hashes % TILE)
        if hashes >= TILE:
            found[f"tile/{level}/{hashes // TILE - 1:03}"] = HASH * TILE
        level += 1
    return found


def test_every_size(tmp_path):
    g = Grown(tmp_path)
    for size in SMALL:
        if size in (1, 255, 256, 257, 512):  # begun again where it was
            g.close()
            g.open()
        g.to(size)
        for name, length in widths(size).items():
            assert (g.copies / str(size) / name).stat().st_size == length, f"{name} at {size}"
    for size in LARGE:
        g.to(size)
        for name, length in widths(size).items():
            assert (g.copies / str(size) / name).stat().st_size == length, f"{name} at {size}"
    g.close()
    found, wrong = g.sizes()
    assert found == SMALL + LARGE, wrong
    for size in (*range(0, 601, 37), 255, 256, 257, *LARGE):
        subprocess.run([BINARY, "audit", "verify", g.copies / str(size), "--key", g.key], check=True, capture_output=True)


def test_one_wrong_hash_is_found(tmp_path):
    """The check above can fail."""
    g = Grown(tmp_path)
    for size in (255, 256, 257):
        g.to(size)
    g.close()
    tile = g.copies / "256/tile/0/000"
    raw = bytearray(tile.read_bytes())
    raw[31 * HASH] ^= 1
    tile.unlink()  # a link to the others'
    tile.write_bytes(raw)
    found, wrong = g.sizes()
    assert found == [255] and "size 256" in wrong
