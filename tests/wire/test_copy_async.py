"""Copy Blob and Abort Copy Blob: copies that go on after their answer. The other server answers when it is told to."""
import contextlib
import http.server
import os
import re
import subprocess
import threading
import time

import pytest

from wire import Api, account_sas, assert_error, block_id, block_list, service_sas
from test_copy_elsewhere import Configured
from test_copy_sync import SOURCE, get, put_from, url
from test_tiers import slow  # noqa: F401 (a fixture)

CONTENT = bytes(i * 13 % 241 for i in range(2_000_000))
MIB = 1024 * 1024


class Gated(http.server.BaseHTTPRequestHandler):
    """Sends HALF of CONTENT at once and the rest when `gate` is open. /break closes in the middle, /gone answers 404 on
    every request after the first, /changed has another ETag then."""
    protocol_version = "HTTP/1.1"
    gate = threading.Event()
    asked = []
    half = len(CONTENT) // 2

    def log_message(self, *_):
        pass

    def do_GET(self):
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        again = any(p == self.path for p, _ in Gated.asked)
        Gated.asked.append((self.path, self.headers.get("Range")))
        matches = self.headers.get("If-Match") in (None, '"one"')
        if again and (name == "gone" or name == "changed"):
            self.send_response(404 if name == "gone" else 412)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        assert matches
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        body = CONTENT[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "text/x-far")
        self.send_header("ETag", '"one"')
        self.send_header("x-ms-meta-far", "away")
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        with contextlib.suppress(OSError):
            if not first:
                self.wfile.write(body[:self.half])
                body = body[self.half:]
                self.wfile.flush()
                if name == "break" and again:
                    self.connection.close()
                    self.close_connection = True
                    return
                Gated.gate.wait(30)
            self.wfile.write(body)


class Restartable(Configured):
    def kill(self):
        self.process.kill()
        self.process.wait()

    def start(self):
        self.process = subprocess.Popen([self.program, "serve", "--config", self.folder + "/strongroom.yaml"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, errors="replace")
        threading.Thread(target=self._drain, args=(threading.Event(),), daemon=True).start()
        assert self._answers(), "".join(self.output)

    def check(self):
        """On the stopped folder."""
        return subprocess.run([self.program, "check", "--data", self.folder + "/data"], capture_output=True, text=True)


@pytest.fixture(scope="module")
def far_port():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gated)
    s.daemon_threads = True
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield s.server_address[1]
    s.shutdown()
    s.server_close()


@pytest.fixture(scope="module")
def far_server(far_port):
    s = Restartable(f"copy_sources_private:\n  - http://127.0.0.1:{far_port}/\n")
    yield s
    assert s.alive(), "".join(s.output)
    assert s.stop() == 0, "".join(s.output)


@pytest.fixture
def far(far_server):
    a = Api(far_server)
    yield a
    a.close()


@pytest.fixture
def box(far):
    Gated.gate.clear()
    name = far.create_container()
    yield name
    Gated.gate.set()
    far("DELETE", f"/{name}?restype=container")


def copy(api, container, blob, source, headers=(), **how):
    return api("PUT", f"/{container}/{blob}", {"x-ms-copy-source": source} | dict(headers), **how)


def abort(api, container, blob, copy_id, headers=(), **how):
    return api("PUT", f"/{container}/{blob}?comp=copy&copyid={copy_id}", {"x-ms-copy-action": "abort"} | dict(headers),
               **how)


def head(api, container, blob):
    r = api("HEAD", f"/{container}/{blob}")
    assert r.status == 200, r
    return r


def wait_for(api, container, blob, status, seconds=30):
    end = time.monotonic() + seconds
    while True:
        r = head(api, container, blob)
        if r.get("x-ms-copy-status") == status:
            return r
        assert time.monotonic() < end and r.get("x-ms-copy-status") == "pending", r.headers
        time.sleep(0.02)


def pending(api, container, blob, far_port, name="data", headers=()):
    """A copy that has come half way."""
    r = copy(api, container, blob, f"http://127.0.0.1:{far_port}/{name}?{container}", headers)
    assert r.status == 202 and r.get("x-ms-copy-status") == "pending", r
    end = time.monotonic() + 20
    while head(api, container, blob).get("x-ms-copy-progress") != f"{Gated.half}/{len(CONTENT)}":
        assert time.monotonic() < end, head(api, container, blob).headers
        time.sleep(0.02)
    return r


# ---- on this server ---------------------------------------------------------------------------------------------------

def test_a_small_source_here_is_copied_at_once(api, container):
    api.put_ok(container, "src", b"abc", SOURCE)
    r = copy(api, container, "dst", url(api, container, "src"))
    assert (r.status, r.get("x-ms-copy-status")) == (202, "success"), r
    got = get(api, container, "dst")
    assert got.body == b"abc" and got.metadata == {"from": "source"} and got.get("content-type") == "text/x-source"
    assert got.get("x-ms-copy-id") == r.get("x-ms-copy-id") and got.get("x-ms-copy-progress") == "3/3"
    assert got.get("etag") == r.get("etag")


def big(api, container, name, mib):
    picks = []
    for i in range(mib // 8):
        api("PUT", f"/{container}/{name}?comp=block&blockid={block_id(i)}", (), bytes([i]) * (8 * MIB))
        picks.append(("Latest", block_id(i)))
    assert api("PUT", f"/{container}/{name}?comp=blocklist", {"x-ms-meta-a": "1"}, block_list(*picks)).status == 201
    return b"".join(bytes([i]) * (8 * MIB) for i in range(mib // 8))


def test_a_larger_source_here_is_copied_in_the_background(api, container):
    data = big(api, container, "src", 24)
    r = copy(api, container, "dst", url(api, container, "src"))
    assert (r.status, r.get("x-ms-copy-status")) == (202, "pending"), r
    done = wait_for(api, container, "dst", "success")
    assert done.get("etag") != r.get("etag") and done.get("x-ms-copy-progress") == f"{len(data)}/{len(data)}"
    assert done.get("x-ms-copy-completion-time") and done.get("content-length") == str(len(data))
    assert done.get("x-ms-copy-id") == r.get("x-ms-copy-id") and done.metadata == {"a": "1"}
    assert get(api, container, "dst").body == data


def test_a_large_blob_copied_over_itself(api, container):
    data = big(api, container, "b", 24)
    r = copy(api, container, "b", url(api, container, "b"), {"x-ms-meta-new": "2"})
    assert (r.status, r.get("x-ms-copy-status")) == (202, "success"), r
    got = get(api, container, "b")
    assert got.body == data and got.metadata == {"new": "2"}


def test_a_snapshot_is_copied_over_its_blob(api, container):
    """Promotion; and a snapshot as the source of every kind of copy."""
    api.put_ok(container, "b", b"first", {"x-ms-meta-a": "1"})
    moment = api("PUT", f"/{container}/b?comp=snapshot").get("x-ms-snapshot")
    api.put_ok(container, "b", b"second")
    source = url(api, container, "b", f"snapshot={moment}")
    r = copy(api, container, "b", source)
    assert (r.status, r.get("x-ms-copy-status")) == (202, "success"), r
    got = get(api, container, "b")
    assert got.body == b"first" and got.metadata == {"a": "1"} and got.get("x-ms-copy-source") == source
    assert put_from(api, container, "p", source).status == 201
    assert copy(api, container, "c", source, {"x-ms-requires-sync": "true"}).status == 202
    assert [get(api, container, n).body for n in ("p", "c")] == [b"first"] * 2
    missing = url(api, container, "b", "snapshot=2020-01-01T00:00:00.0000000Z")
    assert_error(copy(api, container, "n", missing), 404, "CannotVerifyCopySource")
    assert_error(copy(api, container, "n", url(api, container, "b", "snapshot=yesterday")), 400,
                 "CannotVerifyCopySource")


def test_a_large_snapshot_is_copied_over_its_blob_in_the_background(api, container):
    data = big(api, container, "b", 24)
    moment = api("PUT", f"/{container}/b?comp=snapshot").get("x-ms-snapshot")
    api.put_ok(container, "b", b"second")
    r = copy(api, container, "b", url(api, container, "b", f"snapshot={moment}"))
    assert (r.status, r.get("x-ms-copy-status")) == (202, "pending"), r
    wait_for(api, container, "b", "success")
    assert get(api, container, "b").body == data
    assert api("GET", f"/{container}/b?snapshot={moment}").body == data
    assert_error(api("DELETE", f"/{container}/b"), 409, "SnapshotsPresent")


def test_errors_of_the_source_and_destination(api, container):
    api.put_ok(container, "src", b"abc")
    source = url(api, container, "src")
    assert_error(copy(api, container, "n", url(api, container, "nosuch")), 404, "CannotVerifyCopySource")
    assert_error(copy(api, "nosuchcontainer", "n", source), 404, "ContainerNotFound")
    assert_error(copy(api, container, "n", source, {"x-ms-source-if-match": '"0x1"'}), 412, "SourceConditionNotMet")
    assert_error(copy(api, container, "n", source, {"If-Match": '"0x1"'}), 412, "ConditionNotMet")
    assert_error(copy(api, container, "n", source, {"x-ms-source-range": "bytes=0-1"}), 400, "InvalidHeaderValue")
    assert_error(copy(api, container, "n", source, {"x-ms-source-content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}), 400,
                 "UnsupportedHeader")
    assert_error(copy(api, container, "n", source, sas=service_sas(container, sp="cw")), 404, "CannotVerifyCopySource")
    assert not api.exists(container, "n")
    api.put_ok(container, "old", b"old")
    assert_error(copy(api, container, "old", source, sas=account_sas(sp="rc")), 403, "UnauthorizedBlobOverwrite")
    assert_error(copy(api, container, "old", source, {"If-None-Match": "*"}), 409, "BlobAlreadyExists")
    assert get(api, container, "old").body == b"old"


def test_requires_sync_false_is_a_copy_like_any(api, container):
    api.put_ok(container, "src", b"abc")
    r = copy(api, container, "dst", url(api, container, "src"), {"x-ms-requires-sync": "false"})
    assert (r.status, r.get("x-ms-copy-status")) == (202, "success")


# ---- from elsewhere ---------------------------------------------------------------------------------------------------

def test_pending_then_success(far, box, far_port):
    far.put_ok(box, "dst", b"what was there")
    r = pending(far, box, "dst", far_port)
    during = head(far, box, "dst")
    assert during.get("content-length") == "0" and during.get("x-ms-copy-status") == "pending"
    assert during.get("x-ms-copy-completion-time") is None and during.get("x-ms-copy-id") == r.get("x-ms-copy-id")
    assert during.metadata == {"far": "away"} and get(far, box, "dst").body == b""
    listed = far.list(box, "&include=copy").xml.find(".//Blob/Properties")
    assert listed.findtext("CopyStatus") == "pending"
    assert listed.findtext("CopyProgress") == f"{Gated.half}/{len(CONTENT)}"
    Gated.gate.set()
    done = wait_for(far, box, "dst", "success")
    assert done.get("x-ms-copy-progress") == f"{len(CONTENT)}/{len(CONTENT)}"
    got = get(far, box, "dst")
    assert got.body == CONTENT and got.get("content-type") == "text/x-far"


def test_nothing_else_changes_a_pending_destination(far, box, far_port):
    r = pending(far, box, "dst", far_port)
    far.put_ok(box, "src", b"abc")
    here = url(far, box, "src")
    for change in (lambda: far.put(box, "dst", b"x"),
                   lambda: far("PUT", f"/{box}/dst?comp=metadata", {"x-ms-meta-a": "1"}),
                   lambda: far("PUT", f"/{box}/dst?comp=properties"),
                   lambda: far("PUT", f"/{box}/dst?comp=blocklist", (), block_list()),
                   lambda: far("PUT", f"/{box}/dst?comp=block&blockid={block_id(1)}", (), b"x"),
                   lambda: put_from(far, box, "dst", here), lambda: copy(far, box, "dst", here),
                   lambda: copy(far, box, "dst", f"http://127.0.0.1:{far_port}/other"),
                   lambda: far("DELETE", f"/{box}/dst")):
        assert_error(change(), 409, "PendingCopyOperation")
    assert head(far, box, "dst").get("x-ms-copy-id") == r.get("x-ms-copy-id")
    Gated.gate.set()
    wait_for(far, box, "dst", "success")
    assert far("DELETE", f"/{box}/dst").status == 202


def test_abort(far, box, far_port):
    r = pending(far, box, "dst", far_port, headers={"x-ms-meta-own": "1"})
    other = "00000000-0000-0000-0000-000000000000"
    assert_error(abort(far, box, "dst", other), 409, "CopyIdMismatch")
    assert_error(abort(far, box, "nosuch", r.get("x-ms-copy-id")), 404, "BlobNotFound")
    assert_error(far("PUT", f"/{box}/dst?comp=copy", {"x-ms-copy-action": "abort"}), 400,
                 "MissingRequiredQueryParameter")
    path = f"/{box}/dst?comp=copy&copyid={r.get('x-ms-copy-id')}"
    assert_error(far("PUT", path), 400, "MissingRequiredHeader")
    assert_error(far("PUT", path, {"x-ms-copy-action": "stop"}), 400, "InvalidHeaderValue")
    assert_error(far("PUT", path, {"x-ms-copy-action": "abort"}, sas=service_sas(box, sp="rcd", key=far.key,
                                                                                 account=far.account)),
                 403, "AuthorizationPermissionMismatch")
    done = abort(far, box, "dst", r.get("x-ms-copy-id"))
    assert (done.status, done.body) == (204, b""), done
    after = head(far, box, "dst")
    assert after.get("x-ms-copy-status") == "aborted" and after.get("x-ms-copy-completion-time")
    assert after.get("content-length") == "0" and after.metadata == {"own": "1"}
    assert_error(abort(far, box, "dst", r.get("x-ms-copy-id")), 409, "NoPendingCopyOperation")
    Gated.gate.set()
    time.sleep(0.3)
    assert head(far, box, "dst").get("x-ms-copy-status") == "aborted"
    far.put_ok(box, "dst", b"again")


def test_abort_of_what_is_no_copy(api, container):
    api.put_ok(container, "b", b"x")
    assert_error(abort(api, container, "b", "00000000-0000-0000-0000-000000000000"), 409, "NoPendingCopyOperation")
    r = copy(api, container, "c", url(api, container, "b"))
    assert_error(abort(api, container, "c", r.get("x-ms-copy-id")), 409, "NoPendingCopyOperation")


def test_abort_of_a_leased_destination(far, box, far_port):
    lease = "11111111-2222-3333-4444-555555555555"
    far.put_ok(box, "dst", b"x")
    r = far("PUT", f"/{box}/dst?comp=lease", {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1",
                                              "x-ms-proposed-lease-id": lease})
    assert r.status == 201, r
    source = f"http://127.0.0.1:{far_port}/data?leased"
    assert_error(copy(far, box, "dst", source), 412, "LeaseIdMissing")
    r = copy(far, box, "dst", source, {"x-ms-lease-id": lease})
    assert r.status == 202, r
    assert_error(abort(far, box, "dst", r.get("x-ms-copy-id")), 412, "LeaseIdMissing")
    assert abort(far, box, "dst", r.get("x-ms-copy-id"), {"x-ms-lease-id": lease}).status == 204


def test_a_source_that_breaks_off_is_read_on_from_there(far, box, far_port):
    Gated.gate.set()
    r = copy(far, box, "dst", f"http://127.0.0.1:{far_port}/break?{box}")
    assert r.status == 202
    wait_for(far, box, "dst", "success")
    assert get(far, box, "dst").body == CONTENT
    ranges = [r for p, r in Gated.asked if p == f"/break?{box}"]
    assert ranges[:2] == [None, None] and ranges[2].startswith("bytes="), ranges


@pytest.mark.parametrize("name, says", [("gone", "404"), ("changed", "412")])
def test_a_source_that_is_no_longer_the_same_fails_the_copy(far, box, far_port, name, says):
    r = copy(far, box, "dst", f"http://127.0.0.1:{far_port}/{name}?{box}", {"x-ms-meta-own": "1"})
    assert r.status == 202
    after = wait_for(far, box, "dst", "failed")
    assert says in after.get("x-ms-copy-status-description"), after.headers
    assert after.get("content-length") == "0" and after.get("x-ms-copy-completion-time")
    assert after.metadata == {"own": "1"}
    listed = far.list(box, "&include=copy").xml.find(".//Blob/Properties")
    assert listed.findtext("CopyStatus") == "failed" and says in listed.findtext("CopyStatusDescription")
    far.put_ok(box, "dst", b"again")
    assert head(far, box, "dst").get("x-ms-copy-status") is None


def test_a_source_that_does_not_answer_at_the_beginning(far, box, far_port):
    assert_error(copy(far, box, "dst", "http://127.0.0.1:1/x"), 403, "CannotVerifyCopySource")
    assert not far.exists(box, "dst")


def test_container_deleted_under_a_copy(far, box, far_port):
    name = far.create_container()
    pending(far, name, "dst", far_port)
    assert far("DELETE", f"/{name}?restype=container").status == 202
    Gated.gate.set()
    time.sleep(0.3)
    far.put_ok(box, "other", b"x")


# ---- after a restart --------------------------------------------------------------------------------------------------

def test_a_copy_killed_under_way_finishes_after_the_restart(far_port):
    Gated.gate.clear()
    s = Restartable(f"copy_sources_private:\n  - http://127.0.0.1:{far_port}/\n")
    try:
        api = Api(s)
        box = api.create_container()
        first = pending(api, box, "far", far_port, name="killed")
        data = big(api, box, "src", 64)
        near = copy(api, box, "near", url(api, box, "src"))
        aborted = pending(api, box, "aborted", far_port, name="aborted")
        assert abort(api, box, "aborted", aborted.get("x-ms-copy-id")).status == 204
        s.kill()
        api.close()
        done = s.check()
        assert done.returncode == 0, done.stdout + done.stderr
        s.start()
        api = Api(s)
        assert head(api, box, "far").get("x-ms-copy-status") == "pending"
        assert_error(api("DELETE", f"/{box}/far"), 409, "PendingCopyOperation")
        Gated.gate.set()
        assert wait_for(api, box, "far", "success").get("x-ms-copy-id") == first.get("x-ms-copy-id")
        assert get(api, box, "far").body == CONTENT
        assert wait_for(api, box, "near", "success").get("x-ms-copy-id") == near.get("x-ms-copy-id")
        assert get(api, box, "near").body == data
        assert head(api, box, "aborted").get("x-ms-copy-status") == "aborted"
        # nothing is left behind
        api.close()
        s.process.terminate()
        assert s.process.wait(30) == 0
        done = s.check()
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        s.stop()


def test_a_signature_does_not_reach_the_disk_in_the_clear(far_port):
    Gated.gate.clear()
    s = Restartable(f"copy_sources_private:\n  - http://127.0.0.1:{far_port}/\n")
    try:
        api = Api(s)
        box = api.create_container()
        copy(api, box, "dst", f"http://127.0.0.1:{far_port}/data?sv=1&sig=VerySecretSignature")
        s.kill()
        api.close()
        for folder, _, files in os.walk(s.folder + "/data"):
            for name in files:
                if name.endswith(".sock"):
                    continue
                with open(os.path.join(folder, name), "rb") as f:
                    assert b"VerySecretSignature" not in f.read(), name
    finally:
        Gated.gate.set()
        s.stop()




# ---- of an archived blob: the copy is rehydrated ("Rehydrate an archived blob to an online tier", by copying it)

@pytest.mark.parametrize("size", [5, 17 << 20])  # before the answer, and after it
def test_an_archived_source_is_copied_to_an_online_tier(api, container, size):
    data = bytes(i * 7 % 251 for i in range(size))
    api.put_ok(container, "src", data)
    assert api("PUT", f"/{container}/src?comp=tier", {"x-ms-access-tier": "Archive"}).status == 200
    source = f"http://127.0.0.1:{api.server.port}/{api.account}/{container}/src"
    for headers in ({}, {"x-ms-access-tier": "Archive"}, {"x-ms-requires-sync": "true"}):
        assert_error(copy(api, container, "dst", source, headers), 409, "BlobArchived")
    assert not api.exists(container, "dst")
    bad = {"x-ms-access-tier": "Hot", "x-ms-rehydrate-priority": "Soon"}
    assert_error(copy(api, container, "dst", source, bad), 400, "InvalidHeaderValue")
    r = copy(api, container, "dst", source, {"x-ms-access-tier": "Cool", "x-ms-rehydrate-priority": "High"})
    assert r.status == 202, r
    wait_for(api, container, "dst", "success")
    end = time.monotonic() + 30
    while (r := api("GET", f"/{container}/dst")).status != 200 and time.monotonic() < end:
        assert r.code == "BlobArchived"
        assert head(api, container, "dst").get("x-ms-archive-status") == "rehydrate-pending-to-cool"
    assert r.body == data and head(api, container, "dst").get("x-ms-access-tier") == "Cool"
    assert_error(api("GET", f"/{container}/src"), 409, "BlobArchived")


def test_an_archived_source_of_another_account_cannot_be_copied(server, api, container):
    program = server.program
    out = subprocess.run([program, "account", "create", "archivedelsewhere", "--data", server.folder], check=True,
                         capture_output=True, text=True).stdout
    other = Api(server, account="archivedelsewhere", key=re.search(r"AccountKey=([^;\s]+)", out)[1])
    theirs = other.create_container(headers={"x-ms-blob-public-access": "blob"})
    other.put_ok(theirs, "src", b"x")
    assert other("PUT", f"/{theirs}/src?comp=tier", {"x-ms-access-tier": "Archive"}).status == 200
    source = f"http://127.0.0.1:{server.port}/{other.account}/{theirs}/src"
    assert_error(copy(api, container, "dst", source, {"x-ms-access-tier": "Hot"}), 409, "CannotVerifyCopySource")
    other.close()


@pytest.mark.parametrize("size", [5, 17 << 20])
def test_rehydration_by_a_copy_takes_its_time(api, container, slow, size):  # noqa: F811
    api.put_ok(container, "src", bytes(size), {"x-ms-access-tier": "Archive"})
    source = f"http://127.0.0.1:{api.server.port}/{api.account}/{container}/src"
    r = copy(api, container, "dst", source, {"x-ms-access-tier": "Hot", "x-ms-rehydrate-priority": "High"})
    assert r.status == 202, r
    r = wait_for(api, container, "dst", "success")
    assert (r.get("x-ms-access-tier"), r.get("x-ms-archive-status")) == ("Archive", "rehydrate-pending-to-hot")
    assert r.get("x-ms-rehydrate-priority") == "High" and r.get("content-length") == str(size)
    assert_error(api("GET", f"/{container}/dst"), 409, "BlobArchived")
