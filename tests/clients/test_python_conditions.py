"""The Python SDK: conditional requests, and each kind of error that it maps."""

import datetime

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (ClientAuthenticationError, HttpResponseError, ResourceExistsError,
                                   ResourceModifiedError, ResourceNotFoundError,
                                   ResourceNotModifiedError)
from azure.storage.blob import BlobBlock, BlobServiceClient, ContentSettings

HOUR = datetime.timedelta(hours=1)
PAST = datetime.datetime(2001, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
WRONG = '"0x8D000000000000"'


def future():
    return datetime.datetime.now(datetime.timezone.utc) + HOUR


def refused(error, code, status, call):
    with pytest.raises(error) as e:
        call()
    assert (e.value.status_code, e.value.error_code) == (status, code)


def writes(blob):
    """Every conditional write of a blob, as functions of its conditions."""
    def commit(**c):
        blob.stage_block("0001", b"block")
        blob.commit_block_list([BlobBlock("0001")], **c)
    return {
        "put blob": lambda **c: blob.upload_blob(b"new", overwrite=True, **c),
        "put block list": commit,
        "set metadata": lambda **c: blob.set_blob_metadata({"a": "b"}, **c),
        "set properties": lambda **c: blob.set_http_headers(ContentSettings(content_type="a/b"), **c),
        "delete": lambda **c: blob.delete_blob(**c),
    }


WRITES = ["put blob", "put block list", "set metadata", "set properties", "delete"]


@pytest.mark.parametrize("write", WRITES)
def test_writes_refused(container, write):
    blob = container.upload_blob("b", b"old", metadata={"kept": "yes"})
    before = blob.get_blob_properties()
    call = writes(blob)[write]
    for conditions in ({"etag": WRONG, "match_condition": MatchConditions.IfNotModified},
                       {"etag": before.etag, "match_condition": MatchConditions.IfModified},
                       {"if_modified_since": future()},
                       {"if_unmodified_since": PAST}):
        refused(ResourceModifiedError, "ConditionNotMet", 412, lambda: call(**conditions))
    after = blob.get_blob_properties()
    assert (after.etag, after.metadata, after.size) == (before.etag, {"kept": "yes"}, 3)
    assert blob.download_blob().readall() == b"old"


@pytest.mark.parametrize("write", WRITES)
def test_writes_allowed(container, write):
    for name, conditions in {
            "match": lambda etag: {"etag": etag, "match_condition": MatchConditions.IfNotModified},
            "none": lambda etag: {"etag": WRONG, "match_condition": MatchConditions.IfModified},
            "present": lambda etag: {"match_condition": MatchConditions.IfPresent},
            "modified": lambda etag: {"if_modified_since": PAST},
            "unmodified": lambda etag: {"if_unmodified_since": future()}}.items():
        blob = container.upload_blob(name, b"old")
        writes(blob)[write](**conditions(blob.get_blob_properties().etag))


@pytest.mark.parametrize("read", ["properties", "download"])
def test_reads(container, read):
    blob = container.upload_blob("b", b"content")
    etag = blob.get_blob_properties().etag
    call = blob.get_blob_properties if read == "properties" else blob.download_blob
    refused(ResourceModifiedError, "ConditionNotMet", 412,
            lambda: call(etag=WRONG, match_condition=MatchConditions.IfNotModified))
    refused(ResourceModifiedError, "ConditionNotMet", 412, lambda: call(if_unmodified_since=PAST))
    for conditions in ({"etag": etag, "match_condition": MatchConditions.IfModified},
                       {"if_modified_since": future()}):
        with pytest.raises(HttpResponseError) as e:
            call(**conditions)
        assert e.value.status_code == 304
        assert isinstance(e.value, (ResourceModifiedError, ResourceNotModifiedError))
    call(etag=etag, match_condition=MatchConditions.IfNotModified)
    call(etag=WRONG, match_condition=MatchConditions.IfModified)
    call(if_modified_since=PAST, if_unmodified_since=future())


def test_create_only_once(container):
    blob = container.get_blob_client("b")
    blob.upload_blob(b"first")
    refused(ResourceExistsError, "BlobAlreadyExists", 409, lambda: blob.upload_blob(b"second"))
    blob.stage_block("0001", b"x")
    refused(ResourceExistsError, "BlobAlreadyExists", 409,
            lambda: blob.commit_block_list([BlobBlock("0001")], match_condition=MatchConditions.IfMissing))
    assert blob.download_blob().readall() == b"first"


def test_if_match_of_an_absent_blob(container):
    blob = container.get_blob_client("absent")
    with pytest.raises(HttpResponseError) as e:
        blob.upload_blob(b"x", overwrite=True, match_condition=MatchConditions.IfPresent)
    assert e.value.status_code == 412
    assert not blob.exists()


def test_container_conditions(service):
    c = service.create_container("conditions")
    try:
        refused(ResourceModifiedError, "ConditionNotMet", 412,
                lambda: c.set_container_metadata({"a": "b"}, if_modified_since=future()))
        refused(ResourceModifiedError, "ConditionNotMet", 412,
                lambda: c.set_container_access_policy({}, if_unmodified_since=PAST))
        refused(ResourceModifiedError, "ConditionNotMet", 412,
                lambda: c.delete_container(if_modified_since=future()))
        c.set_container_metadata({"a": "b"}, if_modified_since=PAST)
        assert c.get_container_properties().metadata == {"a": "b"}
    finally:
        c.delete_container(if_unmodified_since=future())


# ---- the errors ------------------------------------------------------------------------------------

def test_not_found(service, container):
    absent = service.get_container_client("absent")
    refused(ResourceNotFoundError, "ContainerNotFound", 404, absent.get_container_properties)
    refused(ResourceNotFoundError, "ContainerNotFound", 404, absent.delete_container)
    refused(ResourceNotFoundError, "ContainerNotFound", 404, lambda: list(absent.list_blobs()))
    refused(ResourceNotFoundError, "ContainerNotFound", 404, lambda: absent.upload_blob("b", b"x"))
    refused(ResourceNotFoundError, "ContainerNotFound", 404, absent.get_container_access_policy)
    blob = container.get_blob_client("absent")
    refused(ResourceNotFoundError, "BlobNotFound", 404, blob.get_blob_properties)
    refused(ResourceNotFoundError, "BlobNotFound", 404, lambda: blob.download_blob())
    refused(ResourceNotFoundError, "BlobNotFound", 404, blob.delete_blob)
    refused(ResourceNotFoundError, "BlobNotFound", 404, lambda: blob.get_block_list("all"))


def test_exists_already(service, container):
    refused(ResourceExistsError, "ContainerAlreadyExists", 409, container.create_container)


@pytest.mark.parametrize("name", ["Upper", "ab", "x" * 64, "a--b", "-ab", "ab-", "under_score"])
def test_container_names_refused(service, name):
    with pytest.raises(HttpResponseError) as e:
        service.create_container(name)
    assert e.value.status_code == 400
    assert e.value.error_code in ("InvalidResourceName", "OutOfRangeInput", "InvalidUri")


@pytest.mark.parametrize("name", ["abc", "x" * 63, "a-b-c", "123", "$root"])
def test_container_names_allowed(service, name):
    c = service.create_container(name)
    assert c.get_container_properties().name == name
    assert [k.name for k in service.list_containers(name_starts_with=name)] == [name]
    c.delete_container()


@pytest.mark.not_azurite
def test_wrong_key(server):
    wrong = server.connection_string.replace(server.key, "d3Jvbmc=")
    with BlobServiceClient.from_connection_string(wrong, retry_total=0) as s:
        refused(ClientAuthenticationError, "AuthenticationFailed", 403, lambda: list(s.list_containers()))
        refused(ClientAuthenticationError, "AuthenticationFailed", 403,
                lambda: s.get_blob_client("container", "b").upload_blob(b"x"))


@pytest.mark.not_azurite
def test_unknown_account(server):
    unknown = server.connection_string.replace(server.account, "nosuchaccount")
    with BlobServiceClient.from_connection_string(unknown, retry_total=0) as s:
        with pytest.raises(HttpResponseError) as e:
            list(s.list_containers())
        assert e.value.status_code in (403, 404)


@pytest.mark.not_azurite
def test_invalid_input(container):
    blob = container.upload_blob("b", b"x")
    refused(HttpResponseError, "InvalidBlockList", 400, lambda: blob.commit_block_list([BlobBlock("none")]))
    with pytest.raises(HttpResponseError) as e:
        blob.set_blob_metadata({"not valid": "x"})
    assert e.value.status_code == 400
    with pytest.raises(HttpResponseError) as e:
        blob.set_blob_metadata({f"m{i}": "v" * 1000 for i in range(9)})
    assert (e.value.status_code, e.value.error_code) == (400, "MetadataTooLarge")
    with pytest.raises(HttpResponseError) as e:
        list(container.list_blobs(results_per_page=5).by_page(continuation_token="not a marker")
             .__next__())
    assert e.value.status_code == 400
    assert blob.get_blob_properties().metadata == {}


def test_metadata_at_its_limit(container):
    blob = container.upload_blob("b", b"x")
    pairs = {f"m{i}": "v" * 1022 for i in range(8)}  # 8 * 1,024: exactly 8 KiB
    blob.set_blob_metadata(pairs)
    assert blob.get_blob_properties().metadata == pairs
