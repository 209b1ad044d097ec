"""A disk that fails under the real server: after a failed sync or write nothing is tried again. The server says that it is
not ready, refuses changes with 503, and takes changes again only after it was started anew. Reads go on where no record of
them is kept; where one is, there is no answer without its entry (docs/decisions/0025-record.md), so they are refused too."""

import http.client
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import faulty  # noqa: E402
from kill9 import VERSION  # noqa: E402

SMALL, LARGE = b"s" * 4096, b"L" * 300000


@pytest.fixture(scope="module", autouse=True)
def library():
    faulty.build()


@pytest.fixture(params=[True, False], ids=["recorded", "not recorded"])
def server(request):
    s = faulty.FaultyServer(extra=() if request.param else ["--no-record"]).start()
    s.sas, s.records = s.account_sas(), request.param
    yield s
    s.close()


def ask(server, method, path, query="", body=b"", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, f"/{server.account}/{path}?{query}{'&' if query else ''}{server.sas}", body,
                       {**VERSION, **{k.replace("_", "-"): v for k, v in headers.items()}})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, answer.getheader("x-ms-error-code"), data


def put(server, name, data):
    return ask(server, "PUT", f"box/{name}", body=data, x_ms_blob_type="BlockBlob")[:2]


def admin(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port + 1, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


FAULTS = {
    "the log is not synced": (faulty.SYNC, faulty.EIO, ".log", lambda s: put(s, "new", SMALL)),
    "the log is not synced, the disk is full": (faulty.SYNC, faulty.ENOSPC, ".log", lambda s: put(s, "new", SMALL)),
    "the log is not written": (faulty.WRITE, faulty.EIO, ".log", lambda s: put(s, "new", SMALL)),
    "an extent is not synced": (faulty.SYNC, faulty.EIO, ".ext", lambda s: put(s, "new", LARGE)),
    "an extent is not written": (faulty.WRITE, faulty.EIO, ".ext", lambda s: put(s, "new", LARGE)),
    "the vault is not synced": (faulty.SYNC, faulty.EIO, "vault",
                                lambda s: ask(s, "PUT", "another", "restype=container")[:2]),
    "the vault is not written": (faulty.WRITE, faulty.EIO, "vault",
                                 lambda s: ask(s, "PUT", "another", "restype=container")[:2]),
}


@pytest.mark.parametrize("what", list(FAULTS))
def test_a_failed_write_makes_it_read_only(server, what):
    calls, error, match, change = FAULTS[what]
    assert ask(server, "PUT", "box", "restype=container")[0] == 201
    assert put(server, "small", SMALL) == (201, None)
    assert put(server, "large", LARGE) == (201, None)
    assert admin(server, "/readyz")[0] == 200
    server.fail(calls, error, match)
    # The refusal's own entry cannot be written either: then the answer is 503.
    assert change(server) == ((503, "ServerBusy") if server.records else (500, "InternalError"))
    assert server.count("injected") == 1  # and from here on every call would succeed
    syncs = server.count("syncs")
    for _ in range(3):
        assert put(server, "new", SMALL) == (503, "ServerBusy")
        assert put(server, "new", LARGE) == (503, "ServerBusy")
        assert ask(server, "DELETE", "box/small")[:2] == (503, "ServerBusy")
    status, text = admin(server, "/readyz")
    assert status == 503 and "read-only" in text
    assert admin(server, "/healthz")[0] == 200  # it lives, and still answers
    for name, data in (("small", SMALL), ("large", LARGE)):
        status, code, got = ask(server, "GET", f"box/{name}")
        assert (status, code) == ((503, "ServerBusy") if server.records else (200, None))
        assert (data in got) != server.records
    listing = ask(server, "GET", "box", "restype=container&comp=list")[2]
    assert (b"<Name>large</Name>" in listing) != server.records
    assert server.count("syncs") == syncs
    server.stop()
    server.mend()
    server.start()
    for name, data in (("small", SMALL), ("large", LARGE)):
        assert ask(server, "GET", f"box/{name}") == (200, None, data)
    # Refused, so perhaps it happened; but then all of it.
    status, _, data = ask(server, "GET", "box/new")
    assert status == 404 or data in (SMALL, LARGE)
    assert put(server, "new", LARGE) == (201, None)
    assert admin(server, "/readyz")[0] == 200
    assert server.stop() == 0
    checked = server.check()
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_power_goes_after_a_failed_sync(server):
    """What a failed sync left in the page cache is not taken for durable."""
    assert ask(server, "PUT", "box", "restype=container")[0] == 201
    for seed in range(6):
        assert put(server, f"kept{seed}", LARGE) == (201, None)
        server.fail(faulty.SYNC, faulty.EIO, ".log" if seed % 2 else ".ext")
        assert put(server, "new", LARGE)[0] in (500, 503)
        server.cut_power(seed, seed)
        server.mend()
        server.start()
        for i in range(seed + 1):
            assert ask(server, "GET", f"box/kept{i}") == (200, None, LARGE)
        status, _, data = ask(server, "GET", "box/new")
        assert status == 404 or data == LARGE
    assert server.stop() == 0
    checked = server.check()
    assert checked.returncode == 0, checked.stdout + checked.stderr
