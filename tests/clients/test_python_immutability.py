"""The Python SDK: immutability policies and legal holds."""

import datetime

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobImmutabilityPolicyMode, ImmutabilityPolicy

UNTIL = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(hours=1)


def refused(code, call):
    with pytest.raises(HttpResponseError) as e:
        call()
    assert (e.value.status_code, e.value.error_code) == (409, code)


def test_legal_hold(container):
    blob = container.upload_blob("b", b"data")
    assert blob.set_legal_hold(True)["legal_hold"] is True
    assert blob.get_blob_properties().has_legal_hold
    refused("BlobImmutableDueToLegalHold", blob.delete_blob)
    refused("BlobImmutableDueToLegalHold", lambda: blob.upload_blob(b"new", overwrite=True))
    assert [b.has_legal_hold for b in container.list_blobs(include=["legalhold"])] == [True]
    assert blob.set_legal_hold(False)["legal_hold"] is False
    blob.delete_blob()


def test_policy(container):
    blob = container.upload_blob("b", b"data")
    policy = ImmutabilityPolicy(expiry_time=UNTIL, policy_mode=BlobImmutabilityPolicyMode.UNLOCKED)
    answer = blob.set_immutability_policy(immutability_policy=policy)
    assert answer["immutability_policy_until_date"] == UNTIL and answer["immutability_policy_mode"] == "Unlocked"
    kept = blob.get_blob_properties().immutability_policy
    assert (kept.expiry_time, kept.policy_mode) == (UNTIL, "Unlocked")
    refused("BlobImmutableDueToPolicy", lambda: blob.set_blob_metadata({"a": "b"}))
    listed = next(iter(container.list_blobs(include=["immutabilitypolicy"]))).immutability_policy
    assert listed.expiry_time == UNTIL
    blob.delete_immutability_policy()
    blob.delete_blob()


def test_at_upload(container):
    policy = ImmutabilityPolicy(expiry_time=UNTIL, policy_mode=BlobImmutabilityPolicyMode.UNLOCKED)
    blob = container.upload_blob("b", b"data", immutability_policy=policy, legal_hold=True)
    properties = blob.get_blob_properties()
    assert properties.has_legal_hold and properties.immutability_policy.policy_mode == "Unlocked"
    blob.set_legal_hold(False)
    blob.delete_immutability_policy()


def test_with_creates_of_other_kinds(container):
    policy = ImmutabilityPolicy(expiry_time=UNTIL, policy_mode=BlobImmutabilityPolicyMode.UNLOCKED)
    for name, make in (("a", lambda b, **how: b.create_append_blob(**how)),
                       ("p", lambda b, **how: b.create_page_blob(512, **how))):
        blob = container.get_blob_client(name)
        make(blob, immutability_policy=policy, legal_hold=True)
        assert blob.get_blob_properties().has_legal_hold
        blob.set_legal_hold(False)
        refused("BlobImmutableDueToPolicy", blob.delete_blob)
        blob.delete_immutability_policy()
