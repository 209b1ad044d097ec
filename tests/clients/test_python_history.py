"""The Python SDK: snapshots, versions, soft delete, undelete, permanent delete. A server of its own: both are switched for
the whole account."""

import datetime
import subprocess
import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ImmutabilityPolicy, RetentionPolicy, StandardBlobTier

import server as servers


@pytest.fixture(scope="module")
def own():
    with servers.Server() as s:
        with BlobServiceClient.from_connection_string(s.connection_string, retry_total=0) as service:
            yield s, service


def switch(own, versioning, days):
    s, service = own
    subprocess.run([str(servers.BINARY), "account", "set", servers.DEV_ACCOUNT, "versioning=" + ("on" if versioning else "off"),
                    "--data", str(s.data)], check=True, capture_output=True)
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=days > 0, days=days or None))


@pytest.fixture
def container(own):
    switch(own, False, 0)
    c = own[1].create_container("t" + uuid.uuid4().hex)
    yield c
    c.delete_container()


def test_snapshots(container):
    blob = container.upload_blob("b", b"one", metadata={"a": "1"})
    moment = blob.create_snapshot()["snapshot"]
    blob.upload_blob(b"two", overwrite=True)
    old = container.get_blob_client("b", snapshot=moment)
    assert old.download_blob().readall() == b"one" and old.get_blob_properties().metadata == {"a": "1"}
    assert [(b.name, b.snapshot) for b in container.list_blobs(include=["snapshots"])] == [("b", moment), ("b", None)]
    with pytest.raises(ResourceExistsError) as refused:
        blob.delete_blob()
    assert refused.value.error_code == "SnapshotsPresent"
    blob.delete_blob(delete_snapshots="only")
    assert not old.exists() and blob.exists()
    blob.create_snapshot()
    blob.delete_blob(delete_snapshots="include")
    assert list(container.list_blobs(include=["snapshots"])) == []


def test_versions(own, container):
    switch(own, True, 0)
    blob = container.get_blob_client("b")
    one = blob.upload_blob(b"one")["version_id"]
    two = blob.upload_blob(b"two", overwrite=True)["version_id"]
    three = blob.set_blob_metadata({"a": "1"})["version_id"]
    listed = [(b.version_id, b.is_current_version) for b in container.list_blobs(include=["versions"])]
    assert listed == [(one, None), (two, None), (three, True)]
    assert blob.download_blob(version_id=one).readall() == b"one"
    assert blob.get_blob_properties(version_id=two).metadata == {}
    with pytest.raises(HttpResponseError) as refused:
        blob.delete_blob(version_id=three)
    assert refused.value.error_code == "OperationNotAllowedOnRootBlob"
    blob.delete_blob(version_id=one)
    with pytest.raises(ResourceNotFoundError):
        blob.download_blob(version_id=one)
    blob.delete_blob()
    assert [b.has_versions_only for b in container.list_blobs(include=["deletedwithversions"])] == [True]
    assert blob.download_blob(version_id=two).readall() == b"two"


def test_soft_delete(own, container):
    switch(own, False, 7)
    blob = container.upload_blob("b", b"one")
    blob.upload_blob(b"two", overwrite=True)
    blob.delete_blob()
    assert not blob.exists() and list(container.list_blobs()) == []
    found = list(container.list_blobs(include=["deleted", "snapshots"]))
    assert [(b.deleted, b.snapshot is not None) for b in found] == [(True, True), (True, False)]
    assert found[0].deleted_time and found[0].remaining_retention_days == 6
    blob.undelete_blob()
    assert blob.download_blob().readall() == b"two"
    moment = next(b.snapshot for b in container.list_blobs(include=["snapshots"]) if b.snapshot)
    assert container.get_blob_client("b", snapshot=moment).download_blob().readall() == b"one"


def test_operations_on_a_version(own, container):
    switch(own, True, 0)
    blob = container.get_blob_client("b")
    one = blob.upload_blob(b"one")["version_id"]
    blob.upload_blob(b"two", overwrite=True)
    blob.set_blob_tags({"state": "old"}, version_id=one)
    assert blob.get_blob_tags(version_id=one) == {"state": "old"} and blob.get_blob_tags() == {}
    blob.set_standard_blob_tier(StandardBlobTier.COOL, version_id=one)
    assert [(b.version_id == one, b.blob_tier) for b in container.list_blobs(include=["versions"])] == \
        [(True, "Cool"), (False, "Hot")]
    blob.set_legal_hold(True, version_id=one)
    with pytest.raises(HttpResponseError) as refused:
        blob.delete_blob(version_id=one)
    assert refused.value.error_code == "BlobImmutableDueToLegalHold"
    blob.set_legal_hold(False, version_id=one)
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    blob.set_immutability_policy(ImmutabilityPolicy(expiry_time=until, policy_mode="Unlocked"), version_id=one)
    with pytest.raises(HttpResponseError) as refused:
        blob.delete_blob(version_id=one)
    assert refused.value.error_code == "BlobImmutableDueToPolicy"
    blob.delete_immutability_policy(version_id=one)
    blob.delete_blob(version_id=one)
    assert blob.download_blob().readall() == b"two"
