"""The JavaScript SDK: runs sdk.test.mjs under node, plain and over TLS; each test there is one here."""

import os
import re
import subprocess

import pytest

from server import ENV, ROOT


def run(server):
    # node finds packages beside the file's real place
    script = ENV / "node" / "sdk.test.mjs"
    script.write_bytes((ROOT / "tests/clients/sdk.test.mjs").read_bytes())
    environment = dict(os.environ, CONNECTION_STRING=server.connection_string)
    if server.ca:
        environment["NODE_EXTRA_CA_CERTS"] = str(server.ca)
    done = subprocess.run([ENV / "bin/node", "--test", "--test-reporter=tap", script], text=True,
                          env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    print(done.stdout, done.stderr)
    passed = int(re.search(r"^# pass (\d+)", done.stdout, re.M)[1])
    assert done.returncode == 0
    assert passed >= 20


def test_plain(server):
    run(server)


def test_tls(tls_server):
    run(tls_server)
