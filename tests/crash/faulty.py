"""A server on the faulty disk of tests/faults/: build/libfaults.so preloaded, told what to do through a file that both
map (the fault_plan of tests/faults/faults.h)."""

import mmap
import os
import pathlib
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
from server import BUILD, ROOT, Server  # noqa: E402

LIBRARY = BUILD / "libfaults.so"
MAGIC = 0x46415554
OPEN, WRITE, SYNC, TRUNCATE, ALLOCATE, PUNCH, RENAME, UNLINK, MKDIR, READ = (1 << i for i in range(10))
EIO, ENOSPC = 5, 28
CUT_NONE, CUT_ALL, CUT_PREFIX, CUT_SECTORS, CUT_PAGES, CUT_SOME = range(6)
# Offsets in fault_plan.
CUT_NOW, SEED, CUT_KIND, LIE, LIE_ABOUT, RULES, COUNTERS, SIZE = 4, 8, 24, 28, 32, 88, 344, 400
RULE = struct.Struct("=QIiI44s")
NAMES = ("calls", "changes", "syncs", "injected", "cuts", "unsynced")


def build():
    subprocess.run(["make", "-s", "build/libfaults.so"], cwd=ROOT, check=True)


class FaultyServer(Server):
    """A server whose power can be cut and whose disk can fail."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        control = self.data.parent / "faults"
        control.parent.mkdir(parents=True, exist_ok=True)
        control.write_bytes(struct.pack("=I", MAGIC).ljust(SIZE, b"\0"))
        self.file = open(control, "r+b")
        self.map = mmap.mmap(self.file.fileno(), SIZE)
        self.env_more = {"LD_PRELOAD": str(LIBRARY), "FAULTS_ROOT": str(self.data.resolve()),
                         "FAULTS_CONTROL": str(control.resolve())}

    def launch(self, **kwargs):
        struct.pack_into("=I", self.map, CUT_NOW, 0)
        return super().launch(env={**os.environ, **self.env_more}, **kwargs)

    def fail(self, calls, error, match="", countdown=1, sticky=False, rule=0):
        """The countdown-th matching call from now on fails; sticky: and all after it."""
        RULE.pack_into(self.map, RULES + RULE.size * rule, 0, calls, error, sticky, match.encode())
        struct.pack_into("=Q", self.map, RULES + RULE.size * rule, countdown)

    def mend(self):
        self.map[RULES:RULES + 4 * RULE.size] = bytes(4 * RULE.size)

    def lie(self, about):
        """Plants a fault: syncs of files with this in their name do nothing."""
        struct.pack_into("=I48s", self.map, LIE, 1, about.encode())

    def count(self, name):
        return struct.unpack_from("=Q", self.map, COUNTERS + 8 * NAMES.index(name))[0]

    def cut_power(self, seed, kind):
        """The power goes; the folder is what the disk kept. What the server had not synced, in bytes."""
        struct.pack_into("=Q", self.map, SEED, seed)
        struct.pack_into("=I", self.map, CUT_KIND, kind)
        lost = self.count("unsynced")
        struct.pack_into("=I", self.map, CUT_NOW, 1)
        process, self.process = self.process, None
        give_up = time.monotonic() + 120
        while process.process.poll() is None:
            if time.monotonic() > give_up:
                raise RuntimeError("the server did not end when its power was cut")
            time.sleep(0.005)
        process.kill()
        if process.process.returncode != 137:
            raise RuntimeError(f"the server ended with {process.process.returncode}, not by the cut")
        return lost
