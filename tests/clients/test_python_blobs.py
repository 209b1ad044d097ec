"""The Python SDK: uploads of every size class, downloads, properties, block lists, checksums."""

import base64
import hashlib
import io

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import (BlobBlock, BlobServiceClient, BlobType, BlockState, ContentSettings,
                                RehydratePriority, StandardBlobTier)

from server import content

KIB, MIB = 1024, 1024 * 1024
# Around every edge that a store could have: sealed chunks, content kept in rows, the SDK's own.
SIZES = [0, 1, 15, 16, 17, 100, 4 * KIB, 16 * KIB - 17, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1,
         32 * KIB - 1, 32 * KIB, 32 * KIB + 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1,
         128 * KIB + 1, MIB - 1, MIB, 4 * MIB, 4 * MIB + 1]


@pytest.mark.parametrize("size", SIZES)
def test_put_and_get(container, size):
    data = content(size, size)
    blob = container.get_blob_client("b")
    blob.upload_blob(data)
    properties = blob.get_blob_properties()
    assert properties.size == size
    assert properties.blob_type == BlobType.BlockBlob
    assert bytes(properties.content_settings.content_md5) == hashlib.md5(data).digest()
    assert blob.download_blob().readall() == data


def test_staged_in_parallel_blocks(server):
    data = content("staged", 64 * MIB + 12345)
    with BlobServiceClient.from_connection_string(
            server.connection_string, retry_total=0, max_single_put_size=MIB, max_block_size=4 * MIB,
            min_large_block_upload_threshold=4 * MIB + 1, max_single_get_size=8 * MIB,
            max_chunk_get_size=3 * MIB) as service:
        container = service.create_container("staged")
        blob = container.upload_blob("big", data, max_concurrency=8)
        assert blob.get_blob_properties().size == len(data)
        committed, uncommitted = blob.get_block_list("all")
        assert [b.size for b in committed] == [4 * MIB] * 16 + [12345]
        assert uncommitted == []
        got = io.BytesIO()
        blob.download_blob(max_concurrency=8).readinto(got)
        assert got.getvalue() == data
        # chunks one after another
        digest = hashlib.sha256()
        for chunk in blob.download_blob().chunks():
            digest.update(chunk)
        assert digest.digest() == hashlib.sha256(data).digest()
        service.delete_container("staged")


def test_upload_from_a_stream_of_unknown_length(container):
    parts = [content(i, 700 * KIB + i) for i in range(9)]
    blob = container.upload_blob("stream", (p for p in parts))
    assert blob.download_blob().readall() == b"".join(parts)


@pytest.mark.not_azurite
@pytest.mark.parametrize("size", [100, 32 * KIB + 5, 3 * MIB])
def test_ranges(container, size):
    data = content("ranges", size)
    blob = container.upload_blob("b", data)
    for offset in {0, 1, 15, 16, size // 2, 16 * KIB - 1, 16 * KIB, 64 * KIB, size - 1}:
        if offset >= size:
            continue
        for length in {1, 2, 16, 16 * KIB, 16 * KIB + 1, size, size + 100}:
            assert blob.download_blob(offset, length).readall() == data[offset:offset + length]
        assert blob.download_blob(offset).readall() == data[offset:]
    with pytest.raises(HttpResponseError) as e:
        blob.download_blob(size, 1)
    assert (e.value.status_code, e.value.error_code) == (416, "InvalidRange")


def test_range_of_an_empty_blob(container):
    blob = container.upload_blob("empty", b"")
    assert blob.download_blob().readall() == b""
    with pytest.raises(HttpResponseError) as e:
        blob.download_blob(0, 10)
    assert (e.value.status_code, e.value.error_code) == (416, "InvalidRange")


def test_readinto_and_read(container):
    data = content("readinto", MIB)
    blob = container.upload_blob("b", data)
    into = io.BytesIO()
    assert blob.download_blob().readinto(into) == MIB
    assert into.getvalue() == data
    stream = blob.download_blob()
    assert stream.read(10) + stream.read(100) + stream.read() == data
    assert container.download_blob("b", encoding="latin-1").readall() == data.decode("latin-1")


def test_download_with_md5_of_the_range(container):
    data = content("rangemd5", MIB)
    blob = container.upload_blob("b", data)
    assert blob.download_blob(100, 5000, validate_content=True).readall() == data[100:5100]


def test_upload_with_validated_content(container):
    data = content("md5", 9 * MIB)
    small = container.upload_blob("small", data[:5000], validate_content=True)
    assert small.download_blob(validate_content=True).readall() == data[:5000]
    blob = container.get_blob_client("blocks")
    ids = []
    for i in range(3):
        ids.append(BlobBlock(block_id=f"{i:05}"))
        blob.stage_block(f"{i:05}", data[i * 3 * MIB:(i + 1) * 3 * MIB], validate_content=True)
    blob.commit_block_list(ids, validate_content=True)
    assert blob.download_blob(validate_content=True).readall() == data


@pytest.mark.not_azurite
def test_upload_with_crc64(container):
    data = content("crc64", 300 * KIB)
    blob = container.upload_blob("b", data, validate_content="crc64")
    assert blob.download_blob().readall() == data
    blob = container.get_blob_client("blocks")
    blob.stage_block("0001", data, validate_content="crc64")
    blob.commit_block_list([BlobBlock(block_id="0001")])
    assert blob.download_blob().readall() == data


def test_wrong_md5_is_refused_and_nothing_stored(container):
    blob = container.get_blob_client("b")
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    for call in (lambda: blob.upload_blob(b"content", headers={"Content-MD5": wrong}),
                 lambda: blob.stage_block("0001", b"content", headers={"Content-MD5": wrong})):
        with pytest.raises(HttpResponseError) as e:
            call()
        assert (e.value.status_code, e.value.error_code) == (400, "Md5Mismatch")
    assert not blob.exists()
    with pytest.raises(ResourceNotFoundError):
        blob.get_block_list("all")


def test_overwrite_replaces_all(container):
    blob = container.get_blob_client("b")
    blob.upload_blob(b"first", metadata={"a": "1"},
                     content_settings=ContentSettings(content_type="text/plain"))
    first = blob.get_blob_properties()
    blob.upload_blob(b"second one", overwrite=True)
    second = blob.get_blob_properties()
    assert blob.download_blob().readall() == b"second one"
    assert second.metadata == {}
    assert second.content_settings.content_type == "application/octet-stream"
    assert second.etag != first.etag
    assert second.last_modified >= first.last_modified
    blob.upload_blob(b"", overwrite=True)
    assert blob.download_blob().readall() == b""


def test_content_settings_and_metadata(container):
    settings = ContentSettings(content_type="text/csv; charset=utf-8", content_encoding="identity",
                               content_language="de-DE", cache_control="max-age=60",
                               content_disposition='attachment; filename="a.csv"',
                               content_md5=bytearray(hashlib.md5(b"a;b").digest()))
    blob = container.get_blob_client("b")
    blob.upload_blob(b"a;b", content_settings=settings, metadata={"Case": "Kept", "n_1": "x y=z;,"})
    for _ in range(2):
        p = blob.get_blob_properties()
        got = p.content_settings
        assert (got.content_type, got.content_encoding, got.content_language, got.cache_control,
                got.content_disposition, bytes(got.content_md5)) == (
            settings.content_type, settings.content_encoding, settings.content_language,
            settings.cache_control, settings.content_disposition, bytes(settings.content_md5))
        assert {k.lower(): v for k, v in p.metadata.items()} == {"case": "Kept", "n_1": "x y=z;,"}
        listed = list(container.list_blobs(include=["metadata"]))
        assert listed[0].metadata == p.metadata
        assert listed[0].content_settings.content_type == settings.content_type
        assert bytes(listed[0].content_settings.content_md5) == bytes(settings.content_md5)
        blob.set_http_headers(settings)
    etag = blob.get_blob_properties().etag
    blob.set_blob_metadata({"other": "value"})
    assert blob.get_blob_properties().metadata == {"other": "value"}
    assert blob.get_blob_properties().etag != etag
    blob.set_http_headers(ContentSettings(content_type="image/png"))
    got = blob.get_blob_properties().content_settings
    assert (got.content_type, got.content_language, got.cache_control, got.content_md5) == (
        "image/png", None, None, None)
    assert blob.get_blob_properties().metadata == {"other": "value"}
    blob.set_blob_metadata()
    assert blob.get_blob_properties().metadata == {}
    assert blob.download_blob().readall() == b"a;b"


def test_tier_at_upload(container):
    blob = container.upload_blob("cool", b"x", standard_blob_tier=StandardBlobTier.COOL)
    assert blob.get_blob_properties().blob_tier == "Cool"
    plain = container.upload_blob("plain", b"x").get_blob_properties()
    assert (plain.blob_tier, plain.blob_tier_inferred) == ("Hot", True)
    assert {b.name: b.blob_tier for b in container.list_blobs()} == {"cool": "Cool", "plain": "Hot"}


def test_delete(container):
    blob = container.upload_blob("b", b"x")
    blob.delete_blob()
    assert not blob.exists()
    for call in (blob.delete_blob, blob.get_blob_properties, lambda: blob.download_blob(),
                 lambda: blob.set_blob_metadata({"a": "b"})):
        with pytest.raises(ResourceNotFoundError) as e:
            call()
        assert e.value.status_code == 404
        assert e.value.error_code == "BlobNotFound"
    assert container.upload_blob("b", b"again").download_blob().readall() == b"again"


def test_exists(container, service):
    assert container.exists()
    assert not service.get_container_client("absent").exists()
    assert not container.get_blob_client("absent").exists()
    assert not service.get_blob_client("absent", "b").exists()


def ids(blocks):
    return [(b.id, b.size) for b in blocks]


@pytest.mark.not_azurite
def test_block_lists(container):
    blob = container.get_blob_client("b")
    for i, size in ((2, 10), (1, 20), (3, 30)):
        blob.stage_block(f"{i:04}", content(i, size))
    assert not blob.exists()
    assert [b.name for b in container.list_blobs()] == []
    assert [b.name for b in container.list_blobs(include=["uncommittedblobs"])] == ["b"]
    committed, uncommitted = blob.get_block_list("all")
    assert ids(committed) == []
    assert ids(uncommitted) == [("0001", 20), ("0002", 10), ("0003", 30)]

    blob.commit_block_list([BlobBlock("0003"), BlobBlock("0001"), BlobBlock("0003")])
    assert blob.download_blob().readall() == content(3, 30) + content(1, 20) + content(3, 30)
    committed, uncommitted = blob.get_block_list("all")
    assert ids(committed) == [("0003", 30), ("0001", 20), ("0003", 30)]
    assert ids(uncommitted) == []  # what was not in the list is dropped

    # a new block of the same name: committed, uncommitted and latest differ
    blob.stage_block("0001", b"new")
    assert ids(blob.get_block_list("committed")[0]) == [("0003", 30), ("0001", 20), ("0003", 30)]
    assert ids(blob.get_block_list("uncommitted")[1]) == [("0001", 3)]
    # (this SDK compares its states in another case than it spells them: it always asks for the latest)
    blob.commit_block_list([BlobBlock("0001", state=BlockState.LATEST), BlobBlock("0003")])
    assert blob.download_blob().readall() == b"new" + content(3, 30)
    blob.stage_block("0003", b"newer")
    blob.commit_block_list([BlobBlock("0003", state=BlockState.LATEST)])
    assert blob.download_blob().readall() == b"newer"

    # a blob put whole has no blocks, and drops staged ones
    blob.stage_block("0009", b"dropped")
    blob.upload_blob(b"whole", overwrite=True)
    assert blob.get_block_list("all") == ([], [])
    with pytest.raises(HttpResponseError) as e:
        blob.commit_block_list([BlobBlock("0009")])
    assert (e.value.status_code, e.value.error_code) == (400, "InvalidBlockList")
    assert blob.download_blob().readall() == b"whole"


def test_block_list_carries_properties(container):
    blob = container.get_blob_client("b")
    blob.stage_block("1", b"x")
    blob.commit_block_list([BlobBlock("1")], metadata={"k": "v"},
                           content_settings=ContentSettings(content_type="text/plain"),
                           standard_blob_tier=StandardBlobTier.COOL)
    p = blob.get_blob_properties()
    assert (p.metadata, p.content_settings.content_type, p.blob_tier) == ({"k": "v"}, "text/plain", "Cool")
    assert p.content_settings.content_md5 is None  # nothing computes it for a block list


def test_empty_block_list(container):
    blob = container.get_blob_client("b")
    blob.commit_block_list([])
    assert blob.download_blob().readall() == b""
    assert blob.get_blob_properties().size == 0


def test_block_ids_must_have_one_length(container):
    blob = container.get_blob_client("b")
    blob.stage_block("0001", b"x")
    with pytest.raises(HttpResponseError) as e:
        blob.stage_block("00001", b"x")
    assert (e.value.status_code, e.value.error_code) == (400, "InvalidBlobOrBlock")


def test_many_blocks(container):
    blob = container.get_blob_client("b")
    blocks = [f"{i:06}" for i in range(300)]
    for i, b in enumerate(blocks):
        blob.stage_block(b, content(i, 50 + i))
    blob.commit_block_list([BlobBlock(b) for b in reversed(blocks)])
    assert blob.download_blob().readall() == b"".join(content(i, 50 + i) for i in reversed(range(300)))


NAMES = ["plain", "with space", "a/b/c", "ümlaut-ß-漢字-😀", "percent%20sign", "plus+and&amp;<>\"'",
         "question?mark", "hash#mark", "semi;colon=equals", "dots...", "back`tick^{}|[]",
         "UPPER", "upper", "~tilde!*()", "comma,at@dollar$colon:", "x" * 1024, "漢" * 1024,
         "trailing space ", " leading", "tab\tinside", "a//b", "tail/"]


@pytest.mark.parametrize("name", NAMES, ids=lambda n: ascii(n[:20]))
def test_names(container, name):
    blob = container.get_blob_client(name)
    blob.upload_blob(b"named")
    assert blob.download_blob().readall() == b"named"
    assert [b.name for b in container.list_blobs()] == [name]
    assert list(container.list_blob_names(name_starts_with=name)) == [name]
    blob.delete_blob()


@pytest.mark.not_azurite
@pytest.mark.parametrize("name", ["x" * 1025, "a/" * 254 + "b"], ids=["long", "segments"])
def test_names_refused(container, name):
    with pytest.raises(HttpResponseError) as e:
        container.upload_blob(name, b"x")
    assert e.value.status_code == 400
    assert list(container.list_blobs()) == []


def test_tiers(container):
    blob = container.upload_blob("b", b"data")
    blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    assert blob.get_blob_properties().blob_tier == "Archive"
    with pytest.raises(HttpResponseError) as e:
        blob.download_blob().readall()
    assert (e.value.status_code, e.value.error_code) == (409, "BlobArchived")
    blob.set_standard_blob_tier(StandardBlobTier.COOL, rehydrate_priority=RehydratePriority.high)
    properties = blob.get_blob_properties()
    assert properties.blob_tier == "Cool" and properties.blob_tier_change_time
    assert blob.download_blob().readall() == b"data"
    assert [b.blob_tier for b in container.list_blobs()] == ["Cool"]
