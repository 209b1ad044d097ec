"""The Python SDK: many blobs deleted, or given a tier, in one request."""

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (BlobServiceClient, ContainerClient, ContainerSasPermissions, PartialBatchErrorException,
                                generate_container_sas)

from server import content


def put(container, names):
    for name in names:
        container.upload_blob(name, content(name, 100))


def test_delete_blobs(container):
    names = [f"d/{i} ü+%" for i in range(20)]
    put(container, names + ["stays"])
    answers = list(container.delete_blobs(*names))
    assert [a.status_code for a in answers] == [202] * 20
    assert [b.name for b in container.list_blobs()] == ["stays"]


def test_delete_blobs_with_some_missing(container):
    put(container, ["a", "b"])
    with pytest.raises(PartialBatchErrorException) as caught:
        container.delete_blobs("a", "nosuch", "b")
    assert [p.status_code for p in caught.value.parts] == [202, 404, 202]
    put(container, ["a"])
    answers = list(container.delete_blobs("a", "nosuch", raise_on_any_failure=False))
    assert [(a.status_code, a.headers.get("x-ms-error-code")) for a in answers] == [(202, None), (404, "BlobNotFound")]


def test_delete_blobs_with_a_token(server, container):
    put(container, ["a", "b"])
    token = generate_container_sas(server.account, container.container_name, account_key=server.key,
                                   permission=ContainerSasPermissions(read=True, delete=True),
                                   expiry="2099-01-01T00:00:00Z")
    with ContainerClient.from_container_url(f"{container.url}?{token}", retry_total=0) as client:
        assert [a.status_code for a in client.delete_blobs("a", "b")] == [202, 202]
    assert list(container.list_blobs()) == []


def test_over_tls(tls_server):
    with BlobServiceClient.from_connection_string(tls_server.connection_string, retry_total=0,
                                                  connection_verify=str(tls_server.ca)) as service:
        container = service.create_container("batchtls")
        put(container, ["a", "b"])
        assert [a.status_code for a in container.delete_blobs("a", "b")] == [202, 202]
        service.delete_container("batchtls")


def tiers(container):
    return {b.name: b.blob_tier for b in container.list_blobs()}


def test_set_tier_of_many(container):
    names = [f"d/{i} ü+%" for i in range(20)]
    put(container, names + ["stays"])
    answers = list(container.set_standard_blob_tier_blobs("Cool", *names))
    assert [a.status_code for a in answers] == [200] * 20
    assert tiers(container) == {**dict.fromkeys(names, "Cool"), "stays": "Hot"}


def test_set_tier_with_some_missing_and_to_the_archive(container):
    put(container, ["a", "b"])
    with pytest.raises(PartialBatchErrorException) as caught:
        container.set_standard_blob_tier_blobs("Archive", "a", "nosuch", "b")
    # 202 stands for a change that takes time; one to the archive does not (Set Blob Tier, Response)
    assert [p.status_code for p in caught.value.parts] == [200, 404, 200]
    assert tiers(container) == {"a": "Archive", "b": "Archive"}
    answers = list(container.set_standard_blob_tier_blobs("Hot", "a", rehydrate_priority="High"))
    assert [a.status_code for a in answers] == [202]


def test_set_tier_with_a_token_that_may_only_read(server, container):
    put(container, ["a", "b"])
    token = generate_container_sas(server.account, container.container_name, account_key=server.key,
                                   permission=ContainerSasPermissions(read=True), expiry="2099-01-01T00:00:00Z")
    with ContainerClient.from_container_url(f"{container.url}?{token}", retry_total=0) as client:
        with pytest.raises(HttpResponseError):
            list(client.set_standard_blob_tier_blobs("Cool", "a", "b"))
    assert tiers(container) == {"a": "Hot", "b": "Hot"}
