"""Lease Blob and Lease Container, as they go over the wire; what leases keep others from, in every header and listing
that shows one. All states and times are in tests/unit/store_lease_test.c, which sets the clock."""
import re
import time

import pytest
from wire import account_sas, assert_error, block_id, block_list, service_sas

A = "1f812371-a41d-49e6-b123-f4b542e851c5"
B = "2f812371-a41d-49e6-b123-f4b542e851c5"
GUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\Z")


@pytest.fixture
def blob(api, container):
    api.put_ok(container, "b", b"hello")
    return f"/{container}/b"


@pytest.fixture(params=["blob", "container"])
def thing(request, api):
    """(path, query) of a blob or a container to be leased."""
    name = api.create_container()
    api.put_ok(name, "b", b"hello")
    yield (f"/{name}/b?comp=lease", f"/{name}/b") if request.param == "blob" else \
        (f"/{name}?restype=container&comp=lease", f"/{name}?restype=container")
    api("PUT", f"/{name}?restype=container&comp=lease", {"x-ms-lease-action": "break", "x-ms-lease-break-period": "0"})
    assert api("DELETE", f"/{name}?restype=container").status == 202


def lease(api, path, action, **headers):
    names = {"id": "x-ms-lease-id", "proposed": "x-ms-proposed-lease-id", "duration": "x-ms-lease-duration",
             "period": "x-ms-lease-break-period"}
    return api("PUT", path, {"x-ms-lease-action": action} | {names.get(n, n): str(v) for n, v in headers.items()})


def shown(api, path):
    r = api("HEAD", path)
    assert r.status == 200, r
    return [r.get("x-ms-lease-" + n) for n in ("status", "state", "duration")]


def test_the_five_actions(api, thing):
    path, at = thing
    before = api("HEAD", at)
    assert shown(api, at) == ["unlocked", "available", None]
    r = lease(api, path, "acquire", duration=15)
    assert (r.status, r.body) == (201, b"")
    first = r.get("x-ms-lease-id")
    assert GUID.match(first)
    assert shown(api, at) == ["locked", "leased", "fixed"]
    r = lease(api, path, "renew", id=first)
    assert (r.status, r.get("x-ms-lease-id")) == (200, first)
    r = lease(api, path, "change", id=first, proposed=A.upper())
    assert (r.status, r.get("x-ms-lease-id")) == (200, A)
    r = lease(api, path, "acquire", duration=-1, proposed="{" + A + "}")
    assert (r.status, r.get("x-ms-lease-id")) == (201, A)
    assert shown(api, at) == ["locked", "leased", "infinite"]
    r = lease(api, path, "break", period=60)
    assert (r.status, r.get("x-ms-lease-time"), r.get("x-ms-lease-id")) == (202, "60", None)
    assert shown(api, at) == ["locked", "breaking", None]
    r = lease(api, path, "break", period=0)
    assert (r.status, r.get("x-ms-lease-time")) == (202, "0")
    assert shown(api, at) == ["unlocked", "broken", None]
    r = lease(api, path, "release", id=A.replace("-", ""))
    assert (r.status, r.get("x-ms-lease-id"), r.get("x-ms-lease-time")) == (200, None, None)
    assert shown(api, at) == ["unlocked", "available", None]
    # None of them is a change of what was leased, and each tells its state.
    assert [r.get(n) for n in ("etag", "last-modified")] == [before.get(n) for n in ("etag", "last-modified")]
    after = api("HEAD", at)
    assert [after.get(n) for n in ("etag", "last-modified")] == [before.get(n) for n in ("etag", "last-modified")]


def test_time_passes(api, thing):
    path, at = thing
    assert lease(api, path, "acquire", duration=-1, proposed=A).status == 201
    assert lease(api, path, "break", period=1).get("x-ms-lease-time") == "1"
    assert shown(api, at) == ["locked", "breaking", None]
    time.sleep(1.1)
    assert shown(api, at) == ["unlocked", "broken", None]
    assert lease(api, path, "acquire", duration=60, proposed=B).status == 201


@pytest.mark.parametrize("action, headers, code", [
    ("acquire", {}, "MissingRequiredHeader"), ("acquire", {"duration": 14}, "InvalidHeaderValue"),
    ("acquire", {"duration": 61}, "InvalidHeaderValue"), ("acquire", {"duration": 0}, "InvalidHeaderValue"),
    ("acquire", {"duration": -2}, "InvalidHeaderValue"), ("acquire", {"duration": "15s"}, "InvalidHeaderValue"),
    ("acquire", {"duration": ""}, "InvalidHeaderValue"),
    ("acquire", {"duration": 15, "proposed": "mine"}, "InvalidHeaderValue"),
    ("renew", {}, "MissingRequiredHeader"), ("renew", {"id": "mine"}, "InvalidHeaderValue"),
    ("release", {}, "MissingRequiredHeader"), ("change", {"id": A}, "MissingRequiredHeader"),
    ("change", {"proposed": A}, "MissingRequiredHeader"),
    ("change", {"id": A, "proposed": A[:-1]}, "InvalidHeaderValue"),
    ("break", {"period": 61}, "InvalidHeaderValue"), ("break", {"period": -1}, "InvalidHeaderValue"),
    ("steal", {}, "InvalidHeaderValue"), ("", {}, "InvalidHeaderValue")])
def test_bad_requests(api, thing, action, headers, code):
    path, at = thing
    assert lease(api, path, "acquire", duration=-1, proposed=A).status == 201
    assert_error(lease(api, path, action, **headers), 400, code)
    assert shown(api, at) == ["locked", "leased", "infinite"]


def test_no_action(api, thing):
    assert_error(api("PUT", thing[0]), 400, "MissingRequiredHeader", says="x-ms-lease-action")


def test_conflicts(api, thing):
    path, _ = thing

    def refused(status, code, action, **headers):
        assert_error(lease(api, path, action, **headers), status, code)

    refused(409, "LeaseNotPresentWithLeaseOperation", "break")
    refused(409, "LeaseNotPresentWithLeaseOperation", "change", id=A, proposed=B)
    refused(409, "LeaseIdMismatchWithLeaseOperation", "renew", id=A)
    refused(409, "LeaseIdMismatchWithLeaseOperation", "release", id=A)
    assert lease(api, path, "acquire", duration=-1, proposed=A).status == 201
    refused(409, "LeaseAlreadyPresent", "acquire", duration=15)
    refused(409, "LeaseAlreadyPresent", "acquire", duration=15, proposed=B)
    refused(409, "LeaseIdMismatchWithLeaseOperation", "renew", id=B)
    assert lease(api, path, "break", period=60).status == 202
    refused(409, "LeaseIsBreakingAndCannotBeAcquired", "acquire", duration=15, proposed=A)
    refused(409, "LeaseIsBreakingAndCannotBeChanged", "change", id=A, proposed=B)
    refused(409, "LeaseIsBrokenAndCannotBeRenewed", "renew", id=A)
    assert lease(api, path, "break", period=0).status == 202
    refused(409, "LeaseIsBrokenAndCannotBeRenewed", "renew", id=A)
    refused(409, "LeaseNotPresentWithLeaseOperation", "change", id=A, proposed=B)
    refused(412, "ConditionNotMet", "acquire", duration=15,
            **{"If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"})


def test_of_nothing(api, container):
    assert_error(lease(api, f"/{container}/none?comp=lease", "acquire", duration=15), 404, "BlobNotFound")
    assert_error(lease(api, "/no-such-box?restype=container&comp=lease", "acquire", duration=15), 404,
                 "ContainerNotFound")
    assert_error(lease(api, "/no-such-box/b?comp=lease", "acquire", duration=15), 404, "ContainerNotFound")


def test_not_of_a_snapshot(api, blob):
    r = lease(api, blob + "?comp=lease&snapshot=2026-01-01T00:00:00.0000000Z", "acquire", duration=15)
    assert_error(r, 400, "InvalidQueryParameterValue")


WRITES = {
    "put": lambda api, b, h: api("PUT", b, {"x-ms-blob-type": "BlockBlob"} | h, b"new"),
    "block": lambda api, b, h: api("PUT", b + f"?comp=block&blockid={block_id(1)}", h, b"new"),
    "blocklist": lambda api, b, h: api("PUT", b + "?comp=blocklist", h, block_list()),
    "metadata": lambda api, b, h: api("PUT", b + "?comp=metadata", {"x-ms-meta-a": "1"} | h),
    "properties": lambda api, b, h: api("PUT", b + "?comp=properties", {"x-ms-blob-content-type": "a/b"} | h),
    "delete": lambda api, b, h: api("DELETE", b, h),
}
READS = {
    "get": lambda api, b, h: api("GET", b, h),
    "properties": lambda api, b, h: api("HEAD", b, h),
    "metadata": lambda api, b, h: api("GET", b + "?comp=metadata", h),
    "blocks": lambda api, b, h: api("GET", b + "?comp=blocklist", h),
}


def given(lease_id):
    return {"x-ms-lease-id": lease_id}


@pytest.mark.parametrize("name", WRITES)
def test_writes_of_a_blob(api, blob, name):
    write = WRITES[name]
    assert_error(write(api, blob, given(A)), 412, "LeaseNotPresentWithBlobOperation")
    assert lease(api, blob + "?comp=lease", "acquire", duration=-1, proposed=A).status == 201
    assert_error(write(api, blob, {}), 412, "LeaseIdMissing")
    assert_error(write(api, blob, given(B)), 412, "LeaseIdMismatchWithBlobOperation")
    assert_error(write(api, blob, given("mine")), 400, "InvalidHeaderValue", says="GUID")
    now = api("GET", blob)
    assert (now.body, now.metadata, now.get("content-type")) == (b"hello", {}, "application/octet-stream")
    assert lease(api, blob + "?comp=lease", "break").status == 202
    assert_error(write(api, blob, given(A)), 412, "LeaseLost")
    assert lease(api, blob + "?comp=lease", "acquire", duration=60, proposed=A).status == 201
    assert write(api, blob, given(A)).status in (200, 201, 202)
    if name != "delete":
        assert shown(api, blob) == ["locked", "leased", "fixed"]


@pytest.mark.parametrize("name", READS)
def test_reads_of_a_blob(api, blob, name):
    read = READS[name]
    head = name == "properties"
    assert_error(read(api, blob, given(A)), 412, "LeaseNotPresentWithBlobOperation", head=head)
    assert lease(api, blob + "?comp=lease", "acquire", duration=-1, proposed=A).status == 201
    assert read(api, blob, {}).status == read(api, blob, given(A)).status == 200
    assert_error(read(api, blob, given(B)), 412, "LeaseIdMismatchWithBlobOperation", head=head)
    assert lease(api, blob + "?comp=lease", "break").status == 202
    assert_error(read(api, blob, given(A)), 412, "LeaseLost", head=head)


def test_write_clears_a_broken_lease(api, blob):
    assert lease(api, blob + "?comp=lease", "acquire", duration=-1, proposed=A).status == 201
    assert lease(api, blob + "?comp=lease", "break").status == 202
    assert WRITES["metadata"](api, blob, {}).status == 200
    assert shown(api, blob) == ["unlocked", "available", None]
    assert_error(lease(api, blob + "?comp=lease", "release", id=A), 409, "LeaseIdMismatchWithLeaseOperation")


CONTAINER = {
    "properties": lambda api, c, h: api("GET", f"/{c}?restype=container", h),
    "get metadata": lambda api, c, h: api("GET", f"/{c}?restype=container&comp=metadata", h),
    "set metadata": lambda api, c, h: api("PUT", f"/{c}?restype=container&comp=metadata", {"x-ms-meta-a": "1"} | h),
    "get acl": lambda api, c, h: api("GET", f"/{c}?restype=container&comp=acl", h),
    "set acl": lambda api, c, h: api("PUT", f"/{c}?restype=container&comp=acl", h),
}


@pytest.mark.parametrize("name", CONTAINER)
def test_operations_on_a_container(api, container, name):
    operation = CONTAINER[name]
    path = f"/{container}?restype=container&comp=lease"
    assert_error(operation(api, container, given(A)), 412, "LeaseNotPresentWithContainerOperation")
    assert lease(api, path, "acquire", duration=-1, proposed=A).status == 201
    assert operation(api, container, {}).status == operation(api, container, given(A)).status == 200
    assert_error(operation(api, container, given(B)), 412, "LeaseIdMismatchWithContainerOperation")
    assert lease(api, path, "break").status == 202
    assert_error(operation(api, container, given(A)), 412, "LeaseLost")
    assert operation(api, container, {}).status == 200
    assert shown(api, f"/{container}?restype=container") == ["unlocked", "broken", None]


def test_delete_of_a_container(api):
    name = api.create_container()
    api.put_ok(name, "b", b"x")
    path, delete = f"/{name}?restype=container&comp=lease", f"/{name}?restype=container"
    assert_error(api("DELETE", delete, given(A)), 412, "LeaseNotPresentWithContainerOperation")
    assert lease(api, path, "acquire", duration=-1, proposed=A).status == 201
    assert_error(api("DELETE", delete), 412, "LeaseIdMissing")
    assert_error(api("DELETE", delete, given(B)), 412, "LeaseIdMismatchWithContainerOperation")
    # It keeps others from deleting the container, and from nothing in it.
    assert api.put(name, "b", b"y").status == 201
    assert lease(api, f"/{name}/b?comp=lease", "acquire", duration=-1).status == 201
    assert api("DELETE", f"/{name}/b").code == "LeaseIdMissing"
    assert api("DELETE", delete, given(A)).status == 202  # leased blobs do not stand in its way
    assert api("HEAD", delete).status == 404


def test_listings_show_leases(api, container):
    for name, action in (("available", None), ("broken", "0"), ("leased", None), ("breaking", "60")):
        api.put_ok(container, name)
        if name != "available":
            assert lease(api, f"/{container}/{name}?comp=lease", "acquire", duration=60).status == 201
        if action:
            assert lease(api, f"/{container}/{name}?comp=lease", "break", period=action).status == 202
    found = {b.findtext("Name"): [b.findtext("Properties/Lease" + n) for n in ("Status", "State", "Duration")]
             for b in api.list(container).xml.iter("Blob")}
    assert found == {"available": ["unlocked", "available", None], "broken": ["unlocked", "broken", None],
                     "leased": ["locked", "leased", "fixed"], "breaking": ["locked", "breaking", None]}
    assert lease(api, f"/{container}?restype=container&comp=lease", "acquire", duration=-1, proposed=A).status == 201
    r = api("GET", f"/?comp=list&prefix={container}")
    found = [[c.findtext("Properties/Lease" + n) for n in ("Status", "State", "Duration")]
             for c in r.xml.iter("Container")]
    assert found == [["locked", "leased", "infinite"]]
    assert lease(api, f"/{container}?restype=container&comp=lease", "release", id=A).status == 200


def test_who_may_lease(api, container, blob):
    """"Create a service SAS", "Create an account SAS": writing leases, deleting may break; containers are leased by
    accounts' tokens only."""
    acquire = {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1", "x-ms-proposed-lease-id": A}
    broken = {"x-ms-lease-action": "break"}
    path = blob + "?comp=lease"
    for sas in (service_sas(container, "b", sp="rcd"), account_sas(sp="rcdl")):
        assert_error(api("PUT", path, acquire, sas=sas), 403, "AuthorizationPermissionMismatch")
    assert api("PUT", path, acquire, sas=service_sas(container, sp="w")).status == 201
    assert_error(api("PUT", path, broken, sas=service_sas(container, sp="rc")), 403, "AuthorizationPermissionMismatch")
    assert api("PUT", path, broken, sas=service_sas(container, "b", sp="d")).status == 202
    path = f"/{container}?restype=container&comp=lease"
    assert_error(api("PUT", path, acquire, sas=service_sas(container, sp="rwd")), 403, "AuthorizationFailure")
    assert api("PUT", path, acquire, sas=account_sas(srt="c", sp="w")).status == 201
    assert api("PUT", path, broken, sas=account_sas(srt="c", sp="d")).status == 202
