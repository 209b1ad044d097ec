"""Soft delete of blobs without versions: delete, overwrite, Undelete Blob, permanent delete. A server of its own: the
retention is a property of the service."""
import subprocess
from urllib.parse import quote

import pytest
import wire
from wire import account_sas, assert_error, block_id, block_list, service_sas


def retention(api, days, permanent=False):
    policy = f"<Enabled>true</Enabled><Days>{days}</Days><AllowPermanentDelete>{str(permanent).lower()}</AllowPermanentDelete>" \
        if days else "<Enabled>false</Enabled>"
    body = f"<StorageServiceProperties><DeleteRetentionPolicy>{policy}</DeleteRetentionPolicy></StorageServiceProperties>"
    r = api("PUT", "/?restype=service&comp=properties", body=body.encode())
    assert r.status == 202, r


def check(server):
    r = subprocess.run([server.program, "check", "--data", server.folder], capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr


@pytest.fixture(scope="module")
def own():
    s = wire.Server()
    yield s
    assert s.alive(), "the server died:\n" + "".join(s.output)
    wire.ANSWERED.update(wire.answered(s.port))
    s.process.terminate()
    assert s.process.wait(wire.TIMEOUT_S) == 0
    check(s)
    s.stop()


@pytest.fixture
def api(own):
    a = wire.Api(own)
    retention(a, 7)
    yield a
    a.close()


@pytest.fixture
def container(api):
    return api.create_container()


def deleted(api, container, include="deleted,snapshots"):
    """Name, whether it is a snapshot, whether it is deleted."""
    r = api.list(container, "&include=" + include)
    return [(b.findtext("Name"), b.findtext("Snapshot") is not None, b.findtext("Deleted")) for b in r.xml.iter("Blob")]


def test_delete_and_restore(api, container):
    put = api.put_ok(container, "b", b"x" * 100000, {"x-ms-meta-a": "1"})
    r = api("DELETE", f"/{container}/b")
    assert r.status == 202 and r.get("x-ms-delete-type-permanent") == "false"
    for method in "GET", "HEAD":
        assert_error(api(method, f"/{container}/b"), 404, "BlobNotFound", head=method == "HEAD")
    assert_error(api("DELETE", f"/{container}/b"), 404, "BlobNotFound")
    assert_error(api("PUT", f"/{container}/b?comp=metadata"), 404, "BlobNotFound")
    assert deleted(api, container) == [("b", False, "true")]
    assert deleted(api, container, "snapshots") == []
    r = api("PUT", f"/{container}/b?comp=undelete")
    assert r.status == 200 and r.body == b""
    r = api("GET", f"/{container}/b")
    assert r.body == b"x" * 100000 and r.metadata == {"a": "1"} and r.get("etag") == put.get("etag")
    assert deleted(api, container) == [("b", False, None)]


def test_what_the_listing_tells(api, container):
    api.put_ok(container, "b", b"x")
    api("DELETE", f"/{container}/b")
    b = api.list(container, "&include=deleted").xml.find("Blobs/Blob")
    assert b.findtext("Deleted") == "true" and b.findtext("Properties/RemainingRetentionDays") == "6"
    assert b.findtext("Properties/DeletedTime").endswith(" GMT") and b.find("Properties/LeaseState") is None
    api.put_ok(container, "b", b"y")
    b = api.list(container).xml.find("Blobs/Blob")
    assert b.find("Deleted") is None and b.find("Properties/DeletedTime") is None


def test_overwrites_leave_snapshots(api, container):
    api.put_ok(container, "b", b"one")
    r = api.put_ok(container, "b", b"two")
    assert r.get("x-ms-version-id") is None
    assert api("PUT", f"/{container}/b?comp=block&blockid={quote(block_id(1))}", body=b"three").status == 201
    assert api("PUT", f"/{container}/b?comp=blocklist", body=block_list(("Latest", block_id(1)))).status == 201
    assert deleted(api, container) == [("b", True, "true"), ("b", True, "true"), ("b", False, None)]
    assert deleted(api, container, "deleted") == [("b", False, None)]
    assert deleted(api, container, "snapshots") == [("b", False, None)]
    assert api("DELETE", f"/{container}/b").status == 202  # soft-deleted snapshots do not keep it
    assert api("PUT", f"/{container}/b?comp=undelete").status == 200
    moments = [b.findtext("Snapshot") for b in api.list(container, "&include=snapshots").xml.iter("Blob")]
    assert [api("GET", f"/{container}/b?snapshot={quote(m)}").body for m in moments[:-1]] == [b"one", b"two"]
    assert api("GET", f"/{container}/b").body == b"three"


def test_metadata_are_not_protected(api, container):
    api.put_ok(container, "b", b"one")
    assert api("PUT", f"/{container}/b?comp=metadata", {"x-ms-meta-a": "1"}).status == 200
    assert deleted(api, container) == [("b", False, None)]


def test_a_new_blob_over_a_deleted_one(api, container):
    api.put_ok(container, "b", b"one")
    api("DELETE", f"/{container}/b")
    api.put_ok(container, "b", b"two")
    assert deleted(api, container) == [("b", True, "true"), ("b", False, None)]
    api("DELETE", f"/{container}/b")
    assert deleted(api, container) == [("b", True, "true"), ("b", False, "true")]
    assert api("PUT", f"/{container}/b?comp=undelete").status == 200
    assert api("GET", f"/{container}/b").body == b"two"


def test_snapshots_with_the_blob(api, container):
    api.put_ok(container, "b", b"one")
    moment = api("PUT", f"/{container}/b?comp=snapshot").get("x-ms-snapshot")
    assert_error(api("DELETE", f"/{container}/b"), 409, "SnapshotsPresent")
    r = api("DELETE", f"/{container}/b", {"x-ms-delete-snapshots": "include"})
    assert r.status == 202 and r.get("x-ms-delete-type-permanent") == "false"
    assert_error(api("GET", f"/{container}/b?snapshot={quote(moment)}"), 404, "BlobNotFound")
    assert deleted(api, container) == [("b", True, "true"), ("b", False, "true")]
    assert api("PUT", f"/{container}/b?comp=undelete").status == 200
    assert api("GET", f"/{container}/b?snapshot={quote(moment)}").body == b"one"
    assert api("DELETE", f"/{container}/b?snapshot={quote(moment)}").get("x-ms-delete-type-permanent") == "false"
    assert api("PUT", f"/{container}/b?comp=undelete").status == 200  # of a blob that is there: its snapshots
    assert api("GET", f"/{container}/b?snapshot={quote(moment)}").body == b"one"


def test_undelete_of_what_is_there(api, container):
    api.put_ok(container, "b", b"one")
    assert api("PUT", f"/{container}/b?comp=undelete").status == 200
    assert api("GET", f"/{container}/b").body == b"one"


def test_undelete_of_nothing(api, container):
    assert_error(api("PUT", f"/{container}/none?comp=undelete"), 404, "BlobNotFound")
    assert_error(api("PUT", f"/{container}x/b?comp=undelete"), 404, "ContainerNotFound")
    retention(api, 0)
    api.put_ok(container, "b", b"one")
    assert api("DELETE", f"/{container}/b").get("x-ms-delete-type-permanent") == "true"
    assert_error(api("PUT", f"/{container}/b?comp=undelete"), 404, "BlobNotFound")
    assert deleted(api, container) == []


def test_who_may_undelete(api, container):
    for letters, status in ("w", 200), ("d", 403), ("c", 403), ("r", 403):
        for token in account_sas(sp=letters), service_sas(container, "b", sp=letters):
            api.put_ok(container, "b", b"x")
            api("DELETE", f"/{container}/b")
            r = api("PUT", f"/{container}/b?comp=undelete", sas=token)
            assert r.status == status, (letters, r)


def test_permanent_delete(api, container):
    retention(api, 7, permanent=True)
    api.put_ok(container, "b", b"one")
    moment = api("PUT", f"/{container}/b?comp=snapshot").get("x-ms-snapshot")
    gone = f"/{container}/b?snapshot={quote(moment)}&deletetype=permanent"
    assert_error(api("DELETE", gone), 409, "BlobSnapshotNotSoftDeleted")
    assert api("DELETE", f"/{container}/b?snapshot={quote(moment)}").status == 202
    assert_error(api("DELETE", gone, sas=account_sas(sp="dx")), 403, "AuthorizationPermissionMismatch")
    r = api("DELETE", gone, sas=service_sas(container, "b", sp="y"))
    assert r.status == 202 and r.get("x-ms-delete-type-permanent") == "true"
    assert deleted(api, container) == [("b", False, None)]
    assert_error(api("DELETE", gone), 404, "BlobNotFound")


def test_permanent_delete_must_be_allowed(api, container):
    api.put_ok(container, "b", b"one")
    moment = api("PUT", f"/{container}/b?comp=snapshot").get("x-ms-snapshot")
    api("DELETE", f"/{container}/b?snapshot={quote(moment)}")
    r = api("DELETE", f"/{container}/b?snapshot={quote(moment)}&deletetype=permanent")
    assert_error(r, 409, "PermanentDeleteNotEnabled")
    assert deleted(api, container) == [("b", True, "true"), ("b", False, None)]


def test_deletetype(api, container):
    api.put_ok(container, "b", b"one")
    assert_error(api("DELETE", f"/{container}/b?deletetype=permanent"), 400, "InvalidQueryParameterValue")
    moment = api("PUT", f"/{container}/b?comp=snapshot").get("x-ms-snapshot")
    r = api("DELETE", f"/{container}/b?snapshot={quote(moment)}&deletetype=soft")
    assert_error(r, 400, "InvalidQueryParameterValue")


def test_a_hierarchy_has_no_deletion_ids_here(api, container):
    r = api("PUT", f"/{container}/b?comp=undelete", {"x-ms-undelete-source": "b?deletionid=1"})
    assert_error(r, 400, "UnsupportedHeader")


def test_restart():
    """Soft-deleted states outlive the server; what it leaves behind is sound."""
    s = wire.Server()
    try:
        api = wire.Api(s)
        retention(api, 7)
        name = api.create_container()
        for body in b"x", b"y":
            api.put_ok(name, "b", body * 100000)
        assert api("DELETE", f"/{name}/b").status == 202
        api.close()
        s.process.terminate()
        s.process.wait(wire.TIMEOUT_S)
        check(s)
        s.process = subprocess.Popen([s.program, "serve", "--dev", "--data", s.folder, "--port", str(s.port)],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        while "AccountName=" not in s.process.stdout.readline():
            assert s.process.poll() is None
        assert api("PUT", f"/{name}/b?comp=undelete").status == 200
        assert api("GET", f"/{name}/b").body == b"y" * 100000
        api.close()
    finally:
        s.stop()
