"""The Python SDK: customer-provided keys, which it sends over https only."""

import base64
import hashlib
import os
import uuid

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, CustomerProvidedEncryptionKey


def new_key():
    raw = os.urandom(32)
    return CustomerProvidedEncryptionKey(base64.b64encode(raw).decode(),
                                         base64.b64encode(hashlib.sha256(raw).digest()).decode())


@pytest.fixture(scope="module")
def tls_service(tls_server):
    with BlobServiceClient.from_connection_string(tls_server.connection_string, retry_total=0,
                                                  connection_verify=str(tls_server.ca),
                                                  max_single_put_size=1 << 20, max_block_size=1 << 20) as s:
        yield s


@pytest.fixture
def tls_container(tls_service):
    c = tls_service.create_container("t" + uuid.uuid4().hex)
    yield c
    c.delete_container()


def fails_with(code, call, *args, **kwargs):
    with pytest.raises(HttpResponseError) as e:
        call(*args, **kwargs)
    assert (e.value.status_code, e.value.error_code) == (409, code)


@pytest.mark.parametrize("size", [0, 1000, 3_500_000])  # the last in blocks, by several threads
def test_upload_download(tls_container, size):
    key, data = new_key(), os.urandom(size)
    blob = tls_container.get_blob_client("b")
    answer = blob.upload_blob(data, cpk=key, max_concurrency=3)
    assert answer["encryption_key_sha256"] == key.key_hash
    assert blob.download_blob(cpk=key, max_concurrency=3).readall() == data
    fails_with("BlobUsesCustomerSpecifiedEncryption", blob.download_blob)
    fails_with("BlobCustomerSpecifiedEncryptionMismatch", blob.download_blob, cpk=new_key())


def test_properties_and_metadata(tls_container):
    key = new_key()
    blob = tls_container.get_blob_client("b")
    blob.upload_blob(b"data", cpk=key, metadata={"a": "1"})
    assert blob.exists()  # a 409 without the key says so as well
    properties = blob.get_blob_properties(cpk=key)
    assert properties.encryption_key_sha256 == key.key_hash and properties.metadata == {"a": "1"}
    fails_with("BlobUsesCustomerSpecifiedEncryption", blob.get_blob_properties)
    blob.set_blob_metadata({"a": "2"}, cpk=key)
    fails_with("BlobUsesCustomerSpecifiedEncryption", blob.set_blob_metadata, {"a": "3"})
    assert blob.get_blob_properties(cpk=key).metadata == {"a": "2"}
    listed, = tls_container.list_blobs(include=["metadata"])
    assert listed.encrypted_metadata and not listed.metadata


def test_key_for_a_plain_blob(tls_container):
    blob = tls_container.upload_blob("b", b"data")
    fails_with("BlobDoesNotUseCustomerSpecifiedEncryption", blob.download_blob, cpk=new_key())
    assert blob.download_blob().readall() == b"data"


def test_rotate(tls_container):
    old, new = new_key(), new_key()
    blob = tls_container.get_blob_client("b")
    blob.upload_blob(os.urandom(2_500_000), cpk=old)
    data = blob.download_blob(cpk=old).readall()
    blob.upload_blob(data, cpk=new, overwrite=True)
    assert blob.download_blob(cpk=new).readall() == data
    fails_with("BlobCustomerSpecifiedEncryptionMismatch", blob.download_blob, cpk=old)
