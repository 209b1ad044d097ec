"""A server on LazyFS, a file system that keeps what is synced and forgets the rest when it is told to. The program is not
part of this repository: built from github.com/dsrhaslab/lazyfs, it is named by its path."""

import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))
from server import Server, scratch  # noqa: E402

MOUNT_SECONDS_MAX = 60
CONFIG = """
[faults]
fifo_path="{folder}/told"
fifo_path_completed="{folder}/done"
[cache]
apply_eviction=false
[cache.simple]
custom_size="2gb"
blocks_per_page=1
[filesystem]
log_all_operations=false
logfile=""
"""


class LazyServer(Server):
    def __init__(self, program):
        self.below = scratch("lazyfs")
        self.mount = self.below / "mount"
        for name in ("mount", "kept"):
            (self.below / name).mkdir()
        (self.below / "config").write_text(CONFIG.format(folder=self.below))
        self.lazyfs = subprocess.Popen(
            [pathlib.Path(program).resolve(), self.mount, "--config-path", (self.below / "config").resolve(), "-o", "modules=subdir", "-o",
             f"subdir={(self.below / 'kept').resolve()}", "-f"],
            stdin=subprocess.DEVNULL, stdout=open(self.below / "log", "wb"), stderr=subprocess.STDOUT)
        give_up = time.monotonic() + MOUNT_SECONDS_MAX
        while not os.path.ismount(self.mount):
            if self.lazyfs.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"{program} did not mount; see {self.below / 'log'}")
            time.sleep(0.05)
        super().__init__(data=self.mount / "server/data")

    def cut_power(self, seed, kind):
        """The server dies, and all that it had not synced is gone: names stay, as LazyFS has it. seed and kind are the
        other disk's."""
        del seed, kind
        self.kill()
        with open(self.below / "told", "w") as fifo:
            fifo.write("lazyfs::clear-cache\n")
        with open(self.below / "done") as fifo:
            said = fifo.readline()
        if "finished::clear-cache" not in said:
            raise RuntimeError(f"LazyFS said {said!r}")
        return 0

    def close(self):
        status = super().close()
        subprocess.run(["fusermount3", "-u", str(self.mount)], check=False)
        self.lazyfs.wait(MOUNT_SECONDS_MAX)
        return status
