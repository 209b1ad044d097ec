"""Ports for the servers of tests: runs on one machine, side by side, do not take each other's. Standard library only."""

import contextlib
import fcntl
import os
import pathlib
import random
import socket
import tempfile

FIRST, END, EACH = 20000, 32000, 5  # below those that the system gives to clients
_taken = []  # lock files, held as long as this process lives


def _take(port):
    folder = pathlib.Path(tempfile.gettempdir()) / f"strongroom-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    lock = open(folder / str(port), "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return False
    _taken.append(lock)
    return True


def _free(ports):
    with contextlib.ExitStack() as stack:
        for port in ports:
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def free_port():
    """The first of five neighbouring ports (a server takes four) that nobody uses and no other process that asks here
    gets until this one has ended."""
    firsts = range(FIRST, END, EACH)
    for port in random.sample(firsts, len(firsts)):
        if _take(port) and _free(range(port, port + EACH)):
            return port
    raise RuntimeError(f"no free ports from {FIRST} to {END}")
