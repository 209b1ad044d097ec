"""Page blobs as the Python SDK uses them: PageBlobClient's methods, upload_blob(blob_type=PageBlob)."""

import io

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob import BlobType, ContentSettings, SequenceNumberAction

from server import content as some_bytes

P = 512


def content(n):
    return some_bytes(n, n)


@pytest.fixture
def disk(container):
    blob = container.get_blob_client("disk.vhd")
    blob.create_page_blob(64 * P, content_settings=ContentSettings(content_type="application/x-vhd"), sequence_number=5)
    return blob


def test_pages(disk):
    data = content(8 * P)
    assert disk.upload_page(data, offset=2 * P, length=8 * P, validate_content=True)["blob_sequence_number"] == 5
    disk.clear_page(offset=4 * P, length=P)
    whole = bytes(2 * P) + data[:2 * P] + bytes(P) + data[3 * P:] + bytes(54 * P)
    assert disk.download_blob().readall() == whole
    assert disk.download_blob(offset=1000, length=3000).readall() == whole[1000:4000]
    p = disk.get_blob_properties()
    assert p.blob_type == BlobType.PageBlob and p.page_blob_sequence_number == 5 and p.size == 64 * P
    assert p.content_settings.content_type == "application/x-vhd"


def test_ranges(disk):
    disk.upload_page(content(P), offset=0, length=P)
    disk.upload_page(content(P), offset=8 * P, length=P)
    found, cleared = disk.get_page_ranges()
    assert found == [{"start": 0, "end": P - 1}, {"start": 8 * P, "end": 9 * P - 1}] and cleared == []
    assert disk.get_page_ranges(offset=P, length=8 * P)[0] == [{"start": 8 * P, "end": 9 * P - 1}]
    assert [(r.start, r.end) for r in disk.list_page_ranges(results_per_page=1)] == [(0, P - 1), (8 * P, 9 * P - 1)]


def test_resize_and_sequence_number(disk, container):
    disk.resize_blob(4 * P)
    assert disk.get_blob_properties().size == 4 * P
    assert disk.set_sequence_number(SequenceNumberAction.Max, 7)["blob_sequence_number"] == 7
    assert disk.set_sequence_number(SequenceNumberAction.Increment)["blob_sequence_number"] == 8
    with pytest.raises(HttpResponseError) as e:
        disk.upload_page(content(P), offset=0, length=P, if_sequence_number_lt=8)
    assert e.value.error_code == "SequenceNumberConditionNotMet"
    disk.upload_page(content(P), offset=0, length=P, if_sequence_number_eq=8)
    assert [b.page_blob_sequence_number for b in container.list_blobs()] == [8]


@pytest.mark.parametrize("size", [P, 9_000_000 // P * P])
def test_upload_blob(container, size):
    data = bytes(P) + content(size)
    blob = container.get_blob_client("image")
    blob.upload_blob(io.BytesIO(data), length=len(data), blob_type=BlobType.PageBlob)
    assert blob.download_blob(max_concurrency=4).readall() == data
    blob.upload_blob(data[:P], length=P, blob_type=BlobType.PageBlob, overwrite=True)
    assert blob.download_blob().readall() == data[:P]


def test_a_sparse_download(container):
    """The SDK asks for the ranges first and does not download what was never written."""
    blob = container.get_blob_client("sparse")
    blob.create_page_blob(64 << 20)
    blob.upload_page(content(P), offset=50 << 20, length=P)
    data = blob.download_blob().readall()
    assert len(data) == 64 << 20 and data[50 << 20:(50 << 20) + P] == content(P) and not any(data[:50 << 20])


def test_wrong_kind(container):
    block = container.upload_blob("block", content(P))
    with pytest.raises(ResourceExistsError) as e:
        block.upload_page(content(P), offset=0, length=P)
    assert e.value.error_code == "InvalidBlobType"


def test_ranges_since_a_snapshot(disk):
    disk.upload_page(content(4 * P), offset=0, length=4 * P)
    before = disk.create_snapshot()
    disk.upload_page(content(P), offset=P, length=P)
    disk.clear_page(offset=2 * P, length=P)
    changed = list(disk.list_page_ranges(previous_snapshot=before))
    assert [(r.start, r.end, r.cleared) for r in changed] == [(P, 2 * P - 1, False), (2 * P, 3 * P - 1, True)]
