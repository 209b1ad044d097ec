"""The Python SDK: leases of blobs and containers."""

import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob import BlobBlock, BlobLeaseClient


def refused(error, code, status, call):
    with pytest.raises(error) as e:
        call()
    assert (e.value.status_code, e.value.error_code) == (status, code)


def test_a_blob_through_its_lease(container):
    blob = container.upload_blob("b", b"one")
    lease = blob.acquire_lease(lease_duration=15)
    p = blob.get_blob_properties()
    assert (p.lease.status, p.lease.state, p.lease.duration) == ("locked", "leased", "fixed")
    assert p.etag == lease.etag and p.last_modified == lease.last_modified
    refused(HttpResponseError, "LeaseIdMissing", 412, lambda: blob.upload_blob(b"two", overwrite=True))
    refused(HttpResponseError, "LeaseIdMissing", 412, lambda: blob.stage_block("1", b"x"))
    refused(HttpResponseError, "LeaseIdMissing", 412, lambda: blob.delete_blob())
    blob.upload_blob(b"two", overwrite=True, lease=lease)
    blob.stage_block("0001", b"block", lease=lease)
    blob.commit_block_list([BlobBlock("0001")], lease=lease)
    blob.set_blob_metadata({"a": "b"}, lease=lease)
    assert blob.download_blob(lease=lease).readall() == b"block"
    lease.renew()
    other = str(uuid.uuid4())
    lease.change(other)
    assert lease.id == other
    blob.delete_blob(lease=lease)


def test_two_ask_for_one_blob(container):
    blob = container.upload_blob("b", b"one")
    first = blob.acquire_lease(lease_duration=-1)
    refused(ResourceExistsError, "LeaseAlreadyPresent", 409, lambda: blob.acquire_lease())
    assert BlobLeaseClient(blob).break_lease(lease_break_period=60) == 60
    assert blob.get_blob_properties().lease.state == "breaking"
    refused(ResourceExistsError, "LeaseIsBrokenAndCannotBeRenewed", 409, first.renew)
    first.release()
    blob.acquire_lease().release()
    assert [b.lease.state for b in container.list_blobs()] == ["available"]


def test_a_container(service):
    box = service.create_container("lease" + uuid.uuid4().hex)
    lease = box.acquire_lease()
    assert box.get_container_properties().lease.state == "leased"
    box.upload_blob("b", b"x")
    refused(HttpResponseError, "LeaseIdMissing", 412, lambda: box.delete_container())
    box.set_container_metadata({"a": "b"}, lease=lease)
    refused(HttpResponseError, "LeaseIdMismatchWithContainerOperation", 412,
            lambda: box.set_container_metadata({"a": "c"}, lease=str(uuid.uuid4())))
    found = [c for c in service.list_containers(name_starts_with=box.container_name)]
    assert [(c.lease.status, c.lease.duration) for c in found] == [("locked", "infinite")]
    assert lease.break_lease() == 0
    box.delete_container()
