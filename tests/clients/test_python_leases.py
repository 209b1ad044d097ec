"""The Python SDK: leases of blobs and containers, deleted containers, renamed containers."""

import subprocess
import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob import BlobBlock, BlobLeaseClient
from server import BINARY


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


@pytest.fixture
def kept(server):
    """Deleted containers are kept for 5 days: the setting is the operator's, as in Azure."""
    def days(n):
        subprocess.run([BINARY, "account", "set", server.account, f"container_delete_days={n}", "--data", server.data],
                       check=True, capture_output=True)
    days(5)
    yield
    days(0)


@pytest.mark.not_azurite
def test_a_deleted_container_comes_back(kept, service):
    box = service.create_container("kept" + uuid.uuid4().hex, metadata={"a": "b"})
    box.upload_blob("b", b"x")
    box.delete_container()
    name = box.container_name
    assert not list(service.list_containers(name_starts_with=name))
    [found] = service.list_containers(name_starts_with=name, include_deleted=True, include_metadata=True)
    assert found.deleted and found.version and found.metadata == {"a": "b"}
    back = service.undelete_container(found.name, found.version)
    assert back.download_blob("b").readall() == b"x"
    refused(ResourceExistsError, "ContainerAlreadyExists", 409,
            lambda: service.undelete_container(found.name, found.version))
    renamed = service._rename_container(name, name + "-2")
    assert renamed.download_blob("b").readall() == b"x"
    assert not box.exists()
    renamed.delete_container()
