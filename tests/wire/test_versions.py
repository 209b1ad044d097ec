"""Versions of blobs: what makes one, reading, listing and deleting them. A server of its own: versioning is a setting of
the account."""
import subprocess
from urllib.parse import quote

import pytest
import wire
from wire import account_sas, assert_error, block_id, block_list, service_sas


def switch(server, *settings):
    for s in settings:
        subprocess.run([server.program, "account", "set", wire.ACCOUNT, s, "--data", server.folder], check=True,
                       capture_output=True)


def soft_delete(api, days, permanent=True):
    policy = f"<Enabled>true</Enabled><Days>{days}</Days><AllowPermanentDelete>{str(permanent).lower()}</AllowPermanentDelete>" \
        if days else "<Enabled>false</Enabled>"
    body = f"<StorageServiceProperties><DeleteRetentionPolicy>{policy}</DeleteRetentionPolicy></StorageServiceProperties>"
    r = api("PUT", "/?restype=service&comp=properties", body=body.encode())
    assert r.status == 202, r


@pytest.fixture(scope="module")
def own():
    s = wire.Server()
    yield s
    assert s.alive(), "the server died:\n" + "".join(s.output)
    s.process.terminate()
    assert s.process.wait(wire.TIMEOUT_S) == 0
    r = subprocess.run([s.program, "check", "--data", s.folder], capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr  # what all these tests leave behind is sound
    s.stop()


@pytest.fixture
def api(own):
    a = wire.Api(own)
    switch(own, "versioning=on")
    yield a
    soft_delete(a, 0)
    a.close()


@pytest.fixture
def container(api):
    return api.create_container()


def at(container, blob, version, more=""):
    return f"/{container}/{blob}?versionid={quote(version)}{more}"


def versions(api, container, more=""):
    r = api.list(container, "&include=versions" + more)
    return [(b.findtext("Name"), b.findtext("VersionId"), b.findtext("IsCurrentVersion")) for b in r.xml.iter("Blob")]


def test_each_write_makes_one(api, container):
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    two = api.put_ok(container, "b", b"two!").get("x-ms-version-id")
    r = api("PUT", f"/{container}/b?comp=metadata", {"x-ms-meta-a": "1"})
    three = r.get("x-ms-version-id")
    assert api("PUT", f"/{container}/b?comp=block&blockid={quote(block_id(1))}", body=b"block").get("x-ms-version-id") is None
    r = api("PUT", f"/{container}/b?comp=blocklist", body=block_list(("Latest", block_id(1))))
    four = r.get("x-ms-version-id")
    assert one < two < three < four
    assert [api("GET", at(container, "b", v)).body for v in (one, two, three, four)] == [b"one", b"two!", b"two!", b"block"]
    assert [api("HEAD", at(container, "b", v)).metadata for v in (two, three, four)] == [{}, {"a": "1"}, {}]
    assert versions(api, container) == [("b", one, None), ("b", two, None), ("b", three, None), ("b", four, "true")]


def test_headers_of_reading(api, container):
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    two = api.put_ok(container, "b", b"two").get("x-ms-version-id")
    for method in "GET", "HEAD":
        r = api(method, f"/{container}/b")
        assert (r.get("x-ms-version-id"), r.get("x-ms-is-current-version")) == (two, "true")
        r = api(method, at(container, "b", two))
        assert (r.get("x-ms-version-id"), r.get("x-ms-is-current-version")) == (two, "true")
        r = api(method, at(container, "b", one))
        assert (r.get("x-ms-version-id"), r.get("x-ms-is-current-version")) == (one, None)
        assert r.get("x-ms-lease-state") is None


def test_properties_make_none(api, container):
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    assert api("PUT", f"/{container}/b?comp=properties", {"x-ms-blob-content-type": "text/x"}).get("x-ms-version-id") is None
    assert versions(api, container) == [("b", one, "true")]


def test_deleting_leaves_versions(api, container):
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    two = api.put_ok(container, "b", b"two").get("x-ms-version-id")
    r = api("DELETE", f"/{container}/b")
    assert r.status == 202 and r.get("x-ms-delete-type-permanent") == "false"
    assert_error(api("GET", f"/{container}/b"), 404, "BlobNotFound")
    assert api("GET", at(container, "b", one)).body == b"one" and api("GET", at(container, "b", two)).body == b"two"
    assert versions(api, container) == [("b", one, None), ("b", two, None)]
    assert [b.findtext("Name") for b in api.list(container).xml.iter("Blob")] == []
    r = api.list(container, "&include=deletedwithversions")
    assert [(b.findtext("Name"), b.findtext("HasVersionsOnly")) for b in r.xml.iter("Blob")] == [("b", "true")]
    three = api.put_ok(container, "b", b"three").get("x-ms-version-id")
    assert versions(api, container) == [("b", one, None), ("b", two, None), ("b", three, "true")]
    r = api.list(container, "&include=deletedwithversions")
    assert [(b.findtext("Name"), b.findtext("HasVersionsOnly")) for b in r.xml.iter("Blob")] == [("b", None)]


def test_delete_a_version(api, container):
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    two = api.put_ok(container, "b", b"two").get("x-ms-version-id")
    assert_error(api("DELETE", at(container, "b", two)), 403, "OperationNotAllowedOnRootBlob")
    r = api("DELETE", at(container, "b", one))
    assert r.status == 202 and r.get("x-ms-delete-type-permanent") == "true"
    assert_error(api("DELETE", at(container, "b", one)), 404, "BlobNotFound")
    assert_error(api("GET", at(container, "b", one)), 404, "BlobNotFound")
    assert versions(api, container) == [("b", two, "true")] and api("GET", f"/{container}/b").body == b"two"


def test_who_may_delete_a_version(api, container):
    ids = [api.put_ok(container, "b", b"%d" % i).get("x-ms-version-id") for i in range(6)]
    token = account_sas(sp="d")
    assert_error(api("DELETE", at(container, "b", ids[0]), sas=token), 403, "AuthorizationPermissionMismatch")
    assert api("DELETE", at(container, "b", ids[0]), sas=account_sas(sp="x")).status == 202
    assert_error(api("DELETE", at(container, "b", ids[1]), sas=service_sas(container, "b", sp="rd")), 403,
                 "AuthorizationPermissionMismatch")
    assert api("DELETE", at(container, "b", ids[1]), sas=service_sas(container, "b", sp="x")).status == 202
    assert api("DELETE", at(container, "b", ids[2]), sas=service_sas(container, sp="x")).status == 202
    assert_error(api("DELETE", f"/{container}/b", sas=account_sas(sp="x")), 403, "AuthorizationPermissionMismatch")


def version_sas(container, blob, version, **fields):
    """sr=bv signs the version where a snapshot's token signs the snapshot."""
    return service_sas(container, blob, sr="bv", snapshot=version, **fields).replace("&snapshot=", "&versionid=")


def test_signature_for_one_version(api, container):
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    two = api.put_ok(container, "b", b"two").get("x-ms-version-id")
    token = version_sas(container, "b", one, sp="rx")
    assert api("GET", f"/{container}/b", sas=token).body == b"one"
    forged = token.replace(quote(one, safe=""), quote(two, safe=""))
    assert_error(api("GET", f"/{container}/b", sas=forged), 403, "AuthenticationFailed")
    assert api("DELETE", f"/{container}/b", sas=token).status == 202
    assert api("GET", f"/{container}/b").body == b"two"


def test_snapshots_of_versioned_blobs(api, container):
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    r = api("PUT", f"/{container}/b?comp=snapshot")
    moment, two = r.get("x-ms-snapshot"), r.get("x-ms-version-id")
    assert one < moment < two
    assert versions(api, container) == [("b", one, None), ("b", two, "true")]
    assert api("GET", f"/{container}/b").get("x-ms-version-id") == two
    assert_error(api("DELETE", f"/{container}/b"), 409, "SnapshotsPresent")
    assert api("DELETE", f"/{container}/b", {"x-ms-delete-snapshots": "include"}).status == 202
    assert_error(api("GET", f"/{container}/b?snapshot={quote(moment)}"), 404, "BlobNotFound")
    assert api("GET", at(container, "b", two)).body == b"one"


def test_switched_on_later(own, api, container):
    switch(own, "versioning=off")
    r = api.put_ok(container, "b", b"old")
    assert r.get("x-ms-version-id") is None and api("HEAD", f"/{container}/b").get("x-ms-is-current-version") is None
    switch(own, "versioning=on")
    assert api("HEAD", f"/{container}/b").get("x-ms-version-id") is None
    new = api.put_ok(container, "b", b"new").get("x-ms-version-id")
    (name, first, _), (_, second, current) = versions(api, container)
    assert (name, second, current) == ("b", new, "true") and first < new
    assert api("GET", at(container, "b", first)).body == b"old"


def test_switched_off_later(own, api, container):
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    switch(own, "versioning=off")
    assert api.put_ok(container, "b", b"two").get("x-ms-version-id") is None
    assert api.put_ok(container, "b", b"three").get("x-ms-version-id") is None
    assert versions(api, container) == [("b", one, None), ("b", None, None)]
    assert api("GET", at(container, "b", one)).body == b"one"
    r = api("DELETE", f"/{container}/b")
    assert r.status == 202 and r.get("x-ms-delete-type-permanent") == "true"
    assert versions(api, container) == [("b", one, None)]


def test_a_version_is_read_only(api, container):
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    api.put_ok(container, "b", b"two")
    for what in "&comp=metadata", "&comp=properties", "&comp=snapshot", "&comp=undelete":
        assert_error(api("PUT", at(container, "b", one, what)), 400, "InvalidOperation")
    assert_error(api("PUT", at(container, "b", one), {"x-ms-blob-type": "BlockBlob"}, b"x"), 400, "InvalidOperation")
    assert api("GET", at(container, "b", one)).body == b"one"


def test_listing_in_pages(api, container):
    for name in "a", "b", "b/1", "c":
        for i in range(3):
            api.put_ok(container, name, b"%d" % i)
    api("DELETE", f"/{container}/b")
    api("DELETE", f"/{container}/c")
    for include in "versions", "versions,deletedwithversions", "deletedwithversions", "versions,snapshots,deleted":
        def items(r):
            return [(b.findtext("Name"), b.findtext("VersionId"), b.findtext("HasVersionsOnly")) for b in r.xml.iter("Blob")]
        whole = items(api.list(container, f"&include={include}"))
        assert len(whole) == {"versions": 12, "versions,deletedwithversions": 14, "deletedwithversions": 4}.get(include, 12)
        for size in 1, 2, 3, 4, 7:
            found, marker = [], ""
            while True:
                r = api.list(container, f"&include={include}&maxresults={size}{marker}")
                found += items(r)
                if not r.xml.findtext("NextMarker"):
                    break
                marker = "&marker=" + quote(r.xml.findtext("NextMarker"))
            assert found == whole, (include, size)


@pytest.mark.parametrize("marker", ["2", "2x", "20000000000000000", "3zzzzzzzzzzzzzzzzYg==", "4Yg=="])
def test_markers_that_no_listing_gave(api, container, marker):
    r = api("GET", f"/{container}?restype=container&comp=list&include=versions&marker={quote(marker)}")
    assert_error(r, 400, "OutOfRangeInput")


# ---- with soft delete ------------------------------------------------------------------------------------------------

def test_versions_are_deleted_softly(api, container):
    soft_delete(api, 7)
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    two = api.put_ok(container, "b", b"two").get("x-ms-version-id")
    r = api("DELETE", at(container, "b", one))
    assert r.status == 202 and r.get("x-ms-delete-type-permanent") == "false"
    assert_error(api("GET", at(container, "b", one)), 404, "BlobNotFound")
    assert versions(api, container) == [("b", two, "true")]
    assert [v for _, v, _ in versions(api, container, ",deleted")] == [one, two]
    assert api("PUT", f"/{container}/b?comp=undelete").status == 200
    assert api("GET", at(container, "b", one)).body == b"one"
    assert versions(api, container) == [("b", one, None), ("b", two, "true")]


def test_undelete_promotes_no_version(api, container):
    soft_delete(api, 7)
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    api("DELETE", f"/{container}/b")  # a version now, not soft-deleted
    assert api("PUT", f"/{container}/b?comp=undelete").status == 200
    assert_error(api("GET", f"/{container}/b"), 404, "BlobNotFound")
    assert api("DELETE", at(container, "b", one)).status == 202
    assert api("PUT", f"/{container}/b?comp=undelete").status == 200
    assert api("GET", at(container, "b", one)).body == b"one"


def test_delete_a_version_for_good(api, container):
    soft_delete(api, 7)
    one = api.put_ok(container, "b", b"one").get("x-ms-version-id")
    two = api.put_ok(container, "b", b"two").get("x-ms-version-id")
    gone = at(container, "b", one, "&deletetype=permanent")
    assert_error(api("DELETE", gone), 409, "BlobSnapshotNotSoftDeleted")
    assert_error(api("DELETE", at(container, "b", two, "&deletetype=permanent")), 403, "OperationNotAllowedOnRootBlob")
    assert api("DELETE", at(container, "b", one)).status == 202
    for letters in "x", "d":
        assert_error(api("DELETE", gone, sas=account_sas(sp=letters)), 403, "AuthorizationPermissionMismatch")
        assert_error(api("DELETE", gone, sas=service_sas(container, "b", sp=letters)), 403, "AuthorizationPermissionMismatch")
    r = api("DELETE", gone, sas=account_sas(sp="y"))
    assert r.status == 202 and r.get("x-ms-delete-type-permanent") == "true"
    assert [v for _, v, _ in versions(api, container, ",deleted")] == [two]
    assert_error(api("DELETE", gone), 404, "BlobNotFound")
