"""Large content read again and again: from memory, and never what is not the blob's any more."""
import random
import socket
import time

import pytest
from wire import assert_error, block_id, block_list, md5

MIB = 1 << 20


def bytes_of(seed, size):
    return random.Random(seed).randbytes(size)


def opened(server):
    """The admin listener's counters of opened content."""
    import urllib.request
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port + 1}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    prefix = "strongroom_store_opened_"
    return {line.split()[0][len(prefix):]: int(line.split()[1]) for line in lines if line.startswith(prefix)}


@pytest.mark.parametrize("size", [40000, 65536, MIB - 1, MIB, MIB + 1, 3 * MIB + 7, 17 * MIB])
def test_again_and_again(api, container, size):
    data = bytes_of(size, size)
    api.put_ok(container, "b", data)
    for _ in range(4):
        r = api("GET", f"/{container}/b")
        assert r.status == 200 and r.body == data and r.get("content-length") == str(size)
        assert r.get("content-md5") == md5(data)


def test_from_memory(api, server, container):
    api.put_ok(container, "b", bytes_of(1, 2 * MIB))
    before = opened(server)
    for _ in range(3):
        api("GET", f"/{container}/b")
    after = opened(server)
    assert after["misses_total"] - before["misses_total"] == 4  # kept from the second time on
    assert after["hits_total"] - before["hits_total"] == 2
    assert 2 * MIB <= after["bytes"] <= after["bytes_max"]


@pytest.mark.parametrize("first, last", [(0, 0), (0, MIB), (MIB - 1, MIB), (MIB, 2 * MIB - 1), (5, 3 * MIB), (2 * MIB, None),
                                         (3 * MIB + 99, 3 * MIB + 99), (700000, 1800000)])
def test_ranges(api, container, first, last):
    data = bytes_of(2, 3 * MIB + 100)
    api.put_ok(container, "b", data)
    api("GET", f"/{container}/b")
    for _ in range(3):
        r = api("GET", f"/{container}/b", {"x-ms-range": f"bytes={first}-{'' if last is None else last}"})
        end = len(data) if last is None else last + 1
        assert r.status == 206 and r.body == data[first:end]
        assert r.get("content-range") == f"bytes {first}-{end - 1}/{len(data)}"
        api("GET", f"/{container}/b")


def test_checksum_of_a_range(api, container):
    data = bytes_of(3, 2 * MIB)
    api.put_ok(container, "b", data)
    for _ in range(3):
        api("GET", f"/{container}/b")
        r = api("GET", f"/{container}/b", {"x-ms-range": f"bytes=1000-{MIB + 999}", "x-ms-range-get-content-md5": "true"})
        assert r.body == data[1000:MIB + 1000] and r.get("content-md5") == md5(r.body)


def test_blocks(api, container):
    sizes = [100, 40000, MIB, 5, 900000]
    blocks = [bytes_of(10 + i, n) for i, n in enumerate(sizes)]
    for i, b in enumerate(blocks):
        assert api("PUT", f"/{container}/b?comp=block&blockid={block_id(i)}", body=b).status == 201
    for order in [0, 1, 2, 3, 4], [4, 2, 2, 0]:
        body = block_list(*(("Latest", block_id(i)) for i in order))
        assert api("PUT", f"/{container}/b?comp=blocklist", body=body).status == 201
        for _ in range(3):
            assert api("GET", f"/{container}/b").body == b"".join(blocks[i] for i in order)


def test_overwritten(api, container):
    for i in range(5):
        data = bytes_of(20 + i, MIB + i)
        api.put_ok(container, "b", data)
        for _ in range(3):
            assert api("GET", f"/{container}/b").body == data


def test_deleted(api, server, container):
    api.put_ok(container, "b", bytes_of(30, MIB))
    before = opened(server)["bytes"]
    for _ in range(3):
        api("GET", f"/{container}/b")
    assert opened(server)["bytes"] > before - MIB
    assert api("DELETE", f"/{container}/b").status == 202
    assert_error(api("GET", f"/{container}/b"), 404, "BlobNotFound")
    assert opened(server)["bytes"] <= before


def test_deleted_container(api, server):
    name = api.create_container()
    api.put_ok(name, "b", bytes_of(31, MIB))
    for _ in range(3):
        api("GET", f"/{name}/b")
    assert api("DELETE", f"/{name}?restype=container").status == 202
    assert_error(api("GET", f"/{name}/b"), 404, "ContainerNotFound")
    api.create_container(name)
    assert_error(api("GET", f"/{name}/b"), 404, "BlobNotFound")


def test_conditions_count(api, container):
    r = api.put_ok(container, "b", bytes_of(32, MIB))
    for _ in range(3):
        api("GET", f"/{container}/b")
    assert api("GET", f"/{container}/b", {"If-None-Match": r.get("etag")}).status == 304
    assert_error(api("GET", f"/{container}/b", {"If-Match": '"0x1"'}), 412, "ConditionNotMet")


def test_overwritten_while_it_is_sent(api, server, container):
    """A reader that has begun gets the state it began with, whole."""
    old, new = bytes_of(40, 12 * MIB), bytes_of(41, 12 * MIB)
    api.put_ok(container, "b", old)
    for _ in range(3):
        assert api("GET", f"/{container}/b").body == old
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(api.build("GET", f"/{container}/b"))
        got = slow.recv(1000)
        time.sleep(0.2)
        api.put_ok(container, "b", new)
        for _ in range(3):
            assert api("GET", f"/{container}/b").body == new
        head, _, body = got.partition(b"\r\n\r\n")
        body = bytearray(body)
        while len(body) < len(old):
            more = slow.recv(MIB)
            assert more, f"cut after {len(body)} bytes"
            body += more
    assert head.startswith(b"HTTP/1.1 200") and body == old


def test_given_up_while_it_is_sent(api, server, container):
    api.put_ok(container, "b", bytes_of(42, 8 * MIB))
    for _ in range(3):
        api("GET", f"/{container}/b")
    for _ in range(20):
        with socket.socket() as s:
            s.connect(("127.0.0.1", server.port))
            s.sendall(api.build("GET", f"/{container}/b"))
            s.recv(1000)
    assert api("GET", f"/{container}/b").body == bytes_of(42, 8 * MIB)
    api("DELETE", f"/{container}/b")
    for _ in range(100):
        if opened(server)["bytes"] < 8 * MIB:
            break
        time.sleep(0.1)
    else:
        pytest.fail("what nobody is sent any more is still held")
