"""The Python SDK: blob index tags, as conditions and in listings."""

import datetime

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError
from azure.storage.blob import (BlobBlock, BlobClient, BlobSasPermissions, ContentSettings, generate_blob_sas)

TAGS = {"Project": "Contoso + Sons", "Status": "Done", "a b": ""}


def test_set_get(container):
    blob = container.upload_blob("b", b"data")
    before = blob.get_blob_properties()
    blob.set_blob_tags(TAGS)
    assert blob.get_blob_tags() == TAGS
    after = blob.get_blob_properties()
    assert (after.etag, after.last_modified, after.tag_count) == (before.etag, before.last_modified, 3)
    assert blob.download_blob().properties.tag_count == 3
    blob.set_blob_tags({})
    assert blob.get_blob_tags() == {} and blob.get_blob_properties().tag_count is None


def test_with_uploads(container):
    assert container.upload_blob("whole", b"data", tags=TAGS).get_blob_tags() == TAGS
    blob = container.get_blob_client("blocks")
    blob.stage_block("0001", b"block")
    blob.commit_block_list([BlobBlock("0001")], tags=TAGS)
    assert blob.get_blob_tags() == TAGS


def test_listed(container):
    container.upload_blob("a", b"", tags=TAGS)
    container.upload_blob("b", b"")
    listed = {b.name: b for b in container.list_blobs(include=["tags"])}
    assert listed["a"].tags == TAGS and listed["a"].tag_count == 3 and not listed["b"].tags
    assert not any(b.tags for b in container.list_blobs())


def calls(blob):
    def commit(**c):
        blob.stage_block("0001", b"block")
        blob.commit_block_list([BlobBlock("0001")], **c)
    return {
        "download": lambda **c: blob.download_blob(**c),
        "properties": lambda **c: blob.get_blob_properties(**c),
        "tags": lambda **c: blob.get_blob_tags(**c),
        "block list": lambda **c: blob.get_block_list(**c),
        "set tags": lambda **c: blob.set_blob_tags(TAGS, **c),
        "set metadata": lambda **c: blob.set_blob_metadata({"a": "b"}, **c),
        "set properties": lambda **c: blob.set_http_headers(ContentSettings(content_type="a/b"), **c),
        "upload": lambda **c: blob.upload_blob(b"new", overwrite=True, tags=TAGS, **c),
        "commit": lambda **c: commit(tags=TAGS, **c),
        "delete": lambda **c: blob.delete_blob(**c),
    }


@pytest.mark.parametrize("call", list(calls(None)))
def test_conditions(container, call):
    blob = container.upload_blob("b", b"data", tags=TAGS)
    with pytest.raises(HttpResponseError) as e:
        calls(blob)[call](if_tags_match_condition="\"Status\"='Open' OR \"Project\"<'A'")
    assert (e.value.status_code, e.value.error_code) == (412, "ConditionNotMet")
    assert blob.get_blob_tags() == TAGS
    calls(blob)[call](if_tags_match_condition="\"Status\"<>'Open' AND \"a b\"=''")


def test_etag_of_the_blob_as_condition_of_its_tags(container):
    blob = container.upload_blob("b", b"data")
    etag = blob.get_blob_properties().etag
    blob.set_blob_tags(TAGS, etag=etag, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceModifiedError):
        blob.set_blob_tags({}, etag='"0x1"', match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceModifiedError):
        blob.get_blob_tags(etag='"0x1"', match_condition=MatchConditions.IfNotModified)
    assert blob.get_blob_tags(if_modified_since=datetime.datetime(2001, 1, 1)) == TAGS


def test_shared_access(service, container):
    blob = container.upload_blob("b", b"data", tags=TAGS)

    def client(**rights):
        token = generate_blob_sas(service.account_name, container.container_name, "b",
                                  account_key=service.credential.account_key,
                                  permission=BlobSasPermissions(**rights),
                                  expiry=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1))
        return BlobClient.from_blob_url(blob.url + "?" + token, retry_total=0)
    assert client(tag=True).get_blob_tags() == TAGS
    with pytest.raises(HttpResponseError) as e:
        client(read=True, write=True).get_blob_tags()
    assert e.value.error_code == "AuthorizationPermissionMismatch"


def test_find(service, container):
    name = container.container_name
    for i in range(12):
        container.upload_blob(f"b{i:02}", b"", tags={"Run": name, "Day": f"{i:02}", "Odd": str(i % 2)})
    container.upload_blob("untagged", b"")
    found = list(container.find_blobs_by_tags("\"Day\" >= '04' AND \"Day\" < '07'"))
    assert [(b.name, b.container_name, b.tags) for b in found] == \
        [(f"b{i:02}", name, {"Day": f"{i:02}"}) for i in (4, 5, 6)]
    pages = [[b.name for b in p] for p in
             container.find_blobs_by_tags("\"Odd\" = '1'", results_per_page=4).by_page()]
    assert pages == [["b01", "b03", "b05", "b07"], ["b09", "b11"]]
    assert len(list(service.find_blobs_by_tags(f"\"Run\" = '{name}' AND \"Odd\" = '1'"))) == 6
    assert len(list(service.find_blobs_by_tags(f"@container='{name}' AND \"Day\" > '10'"))) == 1
    with pytest.raises(HttpResponseError) as e:
        list(service.find_blobs_by_tags("\"Day\" <> '04'"))
    assert (e.value.status_code, e.value.error_code) == (400, "InvalidQueryParameterValue")
