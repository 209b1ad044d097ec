"""CRC-64 as the Python SDK checks it: x-ms-content-crc64 of small bodies, structured messages of large ones."""

import io
import random

import pytest
from azure.storage.blob import BlobBlock

KIB, MIB = 1 << 10, 1 << 20


def content(seed, length):
    return random.Random(seed).randbytes(length)


@pytest.mark.parametrize("size", [0, 1, 40 * KIB, 4 * MIB, 4 * MIB + 1, 9 * MIB])
def test_round_trip(container, size):
    data = content(size, size)
    blob = container.get_blob_client("b")
    blob.upload_blob(data, overwrite=True, validate_content="crc64")
    assert blob.download_blob(validate_content="crc64").readall() == data
    assert blob.download_blob().readall() == data


@pytest.mark.parametrize("size", [1, 100 * KIB, 9 * MIB])
def test_streams(container, size):
    """What cannot be seen whole goes as a structured message."""
    data = content(size + 1, size)
    blob = container.get_blob_client("b")
    blob.upload_blob(io.BytesIO(data), length=size, overwrite=True, validate_content="crc64")
    into = io.BytesIO()
    blob.download_blob(validate_content="crc64").readinto(into)
    assert into.getvalue() == data
    assert blob.download_blob(offset=size // 3, length=size // 2 + 1, validate_content="crc64").readall() == \
        data[size // 3:size // 3 + size // 2 + 1]


def test_chunks_are_read(container):
    data = content(7, 5 * MIB)
    blob = container.get_blob_client("b")
    blob.upload_blob(data, validate_content="crc64")
    assert b"".join(blob.download_blob(validate_content="crc64").chunks()) == data


@pytest.mark.parametrize("size", [10, 3 * MIB])
def test_blocks(container, size):
    data = content(3, size)
    blob = container.get_blob_client("b")
    blob.stage_block("1", data, validate_content="crc64")
    blob.stage_block("2", io.BytesIO(data), length=size, validate_content="crc64")
    blob.commit_block_list([BlobBlock("1"), BlobBlock("2")])
    assert blob.download_blob(validate_content="crc64").readall() == data + data


@pytest.mark.parametrize("size", [512, 3 * MIB])
def test_append_and_page_blobs(container, size):
    data = content(5, size)
    log = container.get_blob_client("a")
    log.create_append_blob()
    log.append_block(data, validate_content="crc64")
    log.append_block(io.BytesIO(data), length=size, validate_content="crc64")
    assert log.download_blob(validate_content="crc64").readall() == data + data
    disk = container.get_blob_client("p")
    disk.create_page_blob(2 * size)
    disk.upload_page(data, offset=size, length=size, validate_content="crc64")
    assert disk.download_blob(validate_content="crc64").readall() == bytes(size) + data
