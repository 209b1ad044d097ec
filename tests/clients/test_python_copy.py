"""The Python SDK: blobs made from other blobs, inside one server."""

import datetime
import time

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import (BlobBlock, BlobSasPermissions, BlobServiceClient, ContentSettings, StandardBlobTier,
                                generate_blob_sas)

from server import content

KIB, MIB = 1024, 1024 * 1024


def with_token(server, blob, permission="r"):
    token = generate_blob_sas(server.account, blob.container_name, blob.blob_name, account_key=server.key,
                              permission=BlobSasPermissions.from_string(permission),
                              expiry=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1))
    return f"{blob.url}?{token}"


@pytest.mark.parametrize("size", [0, 100, 33 * KIB, 5 * MIB + 3])
def test_upload_blob_from_url(server, container, size):
    data = content(size, size)
    source = container.upload_blob("source ü", data, metadata={"a": "1"},
                                   content_settings=ContentSettings(content_type="text/x", cache_control="no-store"))
    blob = container.get_blob_client("copy")
    blob.upload_blob_from_url(with_token(server, source))
    properties = blob.get_blob_properties()
    assert properties.content_settings.content_type == "text/x"
    assert properties.content_settings.cache_control == "no-store"
    assert blob.download_blob().readall() == data
    with pytest.raises(ResourceExistsError):
        blob.upload_blob_from_url(with_token(server, source))
    blob.upload_blob_from_url(with_token(server, source), overwrite=True, include_source_blob_properties=False,
                              standard_blob_tier=StandardBlobTier.Cool, tags={"t": "1"})
    properties = blob.get_blob_properties()
    assert properties.content_settings.content_type == "application/octet-stream"
    assert (properties.blob_tier, properties.tag_count) == ("Cool", 1)


def test_stage_block_from_url(server, container):
    data = content("blocks", 3 * MIB)
    source = container.upload_blob("source", data)
    blob = container.get_blob_client("copy")
    parts = [(0, MIB), (MIB, 2 * MIB - 7), (3 * MIB - 7, 7)]
    for i, (offset, length) in enumerate(parts):
        blob.stage_block_from_url(f"{i:04}", with_token(server, source), offset, length)
    blob.commit_block_list([BlobBlock(f"{i:04}") for i in range(len(parts))])
    assert blob.download_blob().readall() == data


def test_copy_from_url_that_is_done_when_it_is_answered(server, container):
    data = content("sync", 200 * KIB)
    source = container.upload_blob("source", data, metadata={"a": "1"})
    blob = container.get_blob_client("copy")
    answer = blob.start_copy_from_url(with_token(server, source), requires_sync=True)
    assert answer["copy_status"] == "success" and answer["copy_id"]
    properties = blob.get_blob_properties()
    assert (properties.copy.id, properties.copy.status) == (answer["copy_id"], "success")
    assert properties.copy.progress == f"{len(data)}/{len(data)}" and properties.metadata == {"a": "1"}
    assert blob.download_blob().readall() == data


def test_source_conditions(server, container):
    source = container.upload_blob("source", b"x")
    blob = container.get_blob_client("copy")
    url = with_token(server, source)
    with pytest.raises(HttpResponseError) as caught:
        blob.start_copy_from_url(url, requires_sync=True, source_etag='"0x1"',
                                 source_match_condition=MatchConditions.IfNotModified)
    assert (caught.value.status_code, caught.value.error_code) == (412, "SourceConditionNotMet")
    with pytest.raises(ResourceNotFoundError) as caught:
        blob.upload_blob_from_url(with_token(server, container.get_blob_client("nosuch")))
    assert caught.value.error_code == "CannotVerifyCopySource"


def test_another_account_is_another_source(container):
    """Nothing but this server is read from without the operator's word."""
    with pytest.raises(HttpResponseError) as caught:
        container.get_blob_client("b").upload_blob_from_url("https://example.blob.core.windows.net/c/b")
    assert (caught.value.status_code, caught.value.error_code) == (403, "CannotVerifyCopySource")


def test_over_tls(tls_server):
    with BlobServiceClient.from_connection_string(tls_server.connection_string, retry_total=0,
                                                  connection_verify=str(tls_server.ca)) as service:
        container = service.create_container("copytls")
        source = container.upload_blob("source", b"abc")
        blob = container.get_blob_client("copy")
        blob.upload_blob_from_url(with_token(tls_server, source))
        assert blob.download_blob().readall() == b"abc"
        service.delete_container("copytls")


def test_start_copy_from_url(server, container):
    source = container.upload_blob("source", b"small", metadata={"a": "1"})
    blob = container.get_blob_client("copy")
    answer = blob.start_copy_from_url(source.url)
    assert answer["copy_status"] == "success"
    assert blob.download_blob().readall() == b"small"
    assert blob.get_blob_properties().metadata == {"a": "1"}
    with pytest.raises(HttpResponseError) as caught:
        blob.abort_copy(answer["copy_id"])
    assert (caught.value.status_code, caught.value.error_code) == (409, "NoPendingCopyOperation")


def test_start_copy_of_a_large_blob(server, container):
    data = content("large", 40 * MIB + 1)
    source = container.upload_blob("source", data, max_concurrency=4)
    blob = container.get_blob_client("copy")
    answer = blob.start_copy_from_url(source.url)
    assert answer["copy_status"] == "pending"
    for _ in range(600):
        properties = blob.get_blob_properties()
        if properties.copy.status != "pending":
            break
        time.sleep(0.05)
    assert (properties.copy.status, properties.copy.id) == ("success", answer["copy_id"])
    assert blob.download_blob(max_concurrency=4).readall() == data
    listed = {b.name: b for b in container.list_blobs(include=["copy"])}
    assert listed["copy"].copy.status == "success" and listed["source"].copy.status is None


def finished(blob):
    for _ in range(600):
        properties = blob.get_blob_properties()
        if properties.copy.status != "pending":
            return properties
        time.sleep(0.05)
    raise AssertionError("still pending")


def test_start_copy_of_other_kinds(container):
    log, disk = container.get_blob_client("log"), container.get_blob_client("disk")
    log.create_append_blob()
    log.append_block(b"one")
    log.append_block(b"two")
    disk.create_page_blob(4 * KIB, sequence_number=3)
    disk.upload_page(content("page", KIB), offset=KIB, length=KIB)
    for source in (log, disk):
        blob = container.get_blob_client(source.blob_name + "-copy")
        blob.start_copy_from_url(source.url)
        properties = finished(blob)
        assert properties.copy.status == "success"
        assert properties.blob_type == source.get_blob_properties().blob_type
        assert blob.download_blob().readall() == source.download_blob().readall()
    copied = container.get_blob_client("disk-copy")
    assert [(r.start, r.end) for r in copied.list_page_ranges()] == [(KIB, 2 * KIB - 1)]
    assert copied.get_blob_properties().page_blob_sequence_number == 3
    container.get_blob_client("log-copy").append_block(b"three")
    sealed = container.get_blob_client("sealed")
    sealed.start_copy_from_url(log.url, seal_destination_blob=True)
    assert finished(sealed).is_append_blob_sealed


def test_append_block_from_url(server, container):
    data = content("append", 5 * MIB)
    source = container.upload_blob("source", data)
    blob = container.get_blob_client("log")
    blob.create_append_blob()
    first = blob.append_block_from_url(with_token(server, source), source_offset=0, source_length=3 * MIB)
    second = blob.append_block_from_url(with_token(server, source), source_offset=3 * MIB, source_length=2 * MIB,
                                        appendpos_condition=3 * MIB)
    assert (first["blob_append_offset"], second["blob_append_offset"]) == ("0", str(3 * MIB))
    assert second["blob_committed_block_count"] == 2
    assert blob.download_blob().readall() == data
    with pytest.raises(HttpResponseError) as refused:
        blob.append_block_from_url(with_token(server, source), source_offset=0, source_length=1, appendpos_condition=0)
    assert refused.value.error_code == "AppendPositionConditionNotMet"


def test_upload_pages_from_url(server, container):
    data = content("pages", 8 * KIB)
    source = container.upload_blob("source", data)
    blob = container.get_blob_client("disk")
    blob.create_page_blob(16 * KIB)
    blob.upload_pages_from_url(with_token(server, source), offset=4 * KIB, length=4 * KIB, source_offset=512)
    assert blob.download_blob().readall() == bytes(4 * KIB) + data[512:512 + 4 * KIB] + bytes(8 * KIB)
    assert [(r.start, r.end) for r in blob.list_page_ranges()] == [(4 * KIB, 8 * KIB - 1)]
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_pages_from_url(with_token(server, source), offset=0, length=512, source_offset=0,
                                   if_sequence_number_lt=0)
    assert refused.value.error_code == "SequenceNumberConditionNotMet"
