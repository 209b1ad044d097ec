"""Append blobs as the Python SDK uses them: AppendBlobClient's methods, upload_blob(blob_type=AppendBlob)."""

import io

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError
from azure.storage.blob import BlobType, ContentSettings

from server import content as some_bytes


def content(n):
    return some_bytes(n, n)


def test_append_blocks(container):
    blob = container.get_blob_client("log")
    blob.create_append_blob(content_settings=ContentSettings(content_type="text/plain"), metadata={"k": "v"})
    assert blob.append_block(b"one\n")["blob_append_offset"] == "0"
    r = blob.append_block(content(5 << 20), validate_content=True)
    assert r["blob_append_offset"] == "4" and r["blob_committed_block_count"] == 2
    p = blob.get_blob_properties()
    assert p.blob_type == BlobType.AppendBlob and p.size == 4 + (5 << 20) and p.append_blob_committed_block_count == 2
    assert p.content_settings.content_type == "text/plain" and p.metadata == {"k": "v"} and not p.is_append_blob_sealed
    assert blob.download_blob().readall() == b"one\n" + content(5 << 20)


def test_append_conditions(container):
    blob = container.get_blob_client("log")
    blob.create_append_blob()
    blob.append_block(b"12345", appendpos_condition=0)
    with pytest.raises(HttpResponseError) as e:
        blob.append_block(b"6", appendpos_condition=4)
    assert e.value.error_code == "AppendPositionConditionNotMet"
    with pytest.raises(HttpResponseError) as e:
        blob.append_block(b"6", maxsize_condition=5)
    assert e.value.error_code == "MaxBlobSizeConditionNotMet"
    with pytest.raises(ResourceModifiedError):
        blob.append_block(b"6", etag='"0x1"', match_condition=MatchConditions.IfNotModified)
    assert blob.download_blob().readall() == b"12345"


def test_seal(container):
    blob = container.get_blob_client("log")
    blob.create_append_blob()
    blob.append_block(b"all of it")
    assert blob.seal_append_blob()["blob_sealed"]
    with pytest.raises(ResourceExistsError) as e:
        blob.append_block(b"more")
    assert e.value.error_code == "BlobIsSealed"
    assert blob.get_blob_properties().is_append_blob_sealed
    assert [b.is_append_blob_sealed for b in container.list_blobs()] == [True]


@pytest.mark.parametrize("size", [0, 1, 9_000_000])
def test_upload_blob(container, size):
    blob = container.get_blob_client("log")
    data = content(size)
    for part in (data, b"and more"):  # the second call appends
        blob.upload_blob(io.BytesIO(part), blob_type=BlobType.AppendBlob)
    assert blob.download_blob().readall() == data + b"and more"
    blob.upload_blob(b"again", blob_type=BlobType.AppendBlob, overwrite=True)
    assert blob.download_blob().readall() == b"again"


def test_wrong_kind(container):
    block = container.upload_blob("block", b"x")
    with pytest.raises(ResourceExistsError) as e:
        block.append_block(b"y")
    assert e.value.error_code == "InvalidBlobType"
