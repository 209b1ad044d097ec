"""The Python SDK: encryption scopes, named by request, container and token."""

import datetime
import os
import subprocess
import uuid

import pytest
import server as servers
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (BlobBlock, BlobClient, BlobSasPermissions, BlobServiceClient, ContainerEncryptionScope,
                                generate_blob_sas)

pytestmark = pytest.mark.not_azurite


def operator(server, *words):
    r = subprocess.run([servers.BINARY, "scope", *words, "--data", server.data], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr


@pytest.fixture
def scopes(server):
    names = ["s" + uuid.uuid4().hex[:20] for _ in range(2)]
    for name in names:
        operator(server, "create", "devstoreaccount1", name)
    return names


@pytest.fixture
def pieces(server):
    """A client that uploads in blocks of 1 MiB."""
    with BlobServiceClient.from_connection_string(server.connection_string, retry_total=0, max_single_put_size=1 << 20,
                                                  max_block_size=1 << 20) as s:
        yield s


def fails_with(status, code, call, *args, **kwargs):
    with pytest.raises(HttpResponseError) as e:
        call(*args, **kwargs)
    assert (e.value.status_code, e.value.error_code) == (status, code)


@pytest.mark.parametrize("size", [0, 1000, 3_500_000])  # the last in blocks, by several threads
def test_upload_download(pieces, container, scopes, size):
    data = os.urandom(size)
    blob = pieces.get_blob_client(container.container_name, "b")
    answer = blob.upload_blob(data, encryption_scope=scopes[0], max_concurrency=3)
    assert answer["encryption_scope"] == scopes[0]
    assert blob.download_blob(max_concurrency=3).readall() == data
    assert blob.get_blob_properties().encryption_scope == scopes[0]
    assert [b.encryption_scope for b in container.list_blobs()] == [scopes[0]]


def test_kinds(container, scopes):
    mine, other = scopes
    mismatch = (409, "BlobCustomerSpecifiedEncryptionMismatch")
    blob = container.get_blob_client("a")
    blob.create_append_blob(encryption_scope=mine)
    assert blob.append_block(b"one", encryption_scope=mine)["encryption_scope"] == mine
    fails_with(*mismatch, blob.append_block, b"two", encryption_scope=other)
    fails_with(409, "BlobUsesCustomerSpecifiedEncryption", blob.append_block, b"two")
    assert blob.download_blob().readall() == b"one"
    blob = container.get_blob_client("p")
    blob.create_page_blob(1024, encryption_scope=mine)
    blob.upload_page(b"x" * 512, 0, 512, encryption_scope=mine)
    fails_with(*mismatch, blob.upload_page, b"y" * 512, 0, 512, encryption_scope=other)
    assert blob.download_blob().readall() == b"x" * 512 + bytes(512)
    blob = container.get_blob_client("b")
    blob.stage_block("0001", b"data", encryption_scope=mine)
    fails_with(*mismatch, blob.commit_block_list, [BlobBlock("0001")], encryption_scope=other)
    blob.commit_block_list([BlobBlock("0001")], encryption_scope=mine)
    assert blob.set_blob_metadata({"a": "1"}, encryption_scope=mine)["encryption_scope"] == mine
    assert blob.create_snapshot(encryption_scope=mine)["snapshot"]
    fails_with(*mismatch, blob.create_snapshot, encryption_scope=other)
    to = container.get_blob_client("copy")
    to.start_copy_from_url(blob.url, requires_sync=True, encryption_scope=other)
    assert to.download_blob().readall() == b"data" and to.get_blob_properties().encryption_scope == other


def test_container(service, scopes):
    mine, other = scopes
    scope = ContainerEncryptionScope(default_encryption_scope=mine, prevent_encryption_scope_override=True)
    c = service.create_container("t" + uuid.uuid4().hex, container_encryption_scope=scope)
    kept = c.get_container_properties().encryption_scope
    assert (kept.default_encryption_scope, kept.prevent_encryption_scope_override) == (mine, True)
    listed = next(service.list_containers(name_starts_with=c.container_name)).encryption_scope
    assert (listed.default_encryption_scope, listed.prevent_encryption_scope_override) == (mine, True)
    blob = c.upload_blob("b", b"data")
    assert blob.get_blob_properties().encryption_scope == mine
    fails_with(403, "RequestForbiddenByContainerEncryptionPolicy", c.upload_blob, "c", b"x", encryption_scope=other)
    c.delete_container()


def test_token(server, service, container, scopes):
    mine, other = scopes
    blob = container.get_blob_client("b")
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    token = generate_blob_sas(service.account_name, container.container_name, "b", permission=BlobSasPermissions(
        read=True, write=True, create=True), account_key=service.credential.account_key, expiry=until,
        encryption_scope=mine)
    with BlobClient.from_blob_url(blob.url, token) as signed:
        assert signed.upload_blob(b"data")["encryption_scope"] == mine
        assert signed.download_blob().readall() == b"data"
        fails_with(400, "InvalidHeaderValue", signed.upload_blob, b"x", overwrite=True, encryption_scope=other)


def test_disabled(server, container, scopes):
    blob = container.get_blob_client("b")
    blob.upload_blob(b"data", encryption_scope=scopes[0])
    operator(server, "disable", "devstoreaccount1", scopes[0])
    fails_with(403, "EncryptionScopeDisabled", blob.download_blob)
    fails_with(403, "EncryptionScopeDisabled", blob.upload_blob, b"x", overwrite=True, encryption_scope=scopes[0])
    operator(server, "enable", "devstoreaccount1", scopes[0])
    assert blob.download_blob().readall() == b"data"
