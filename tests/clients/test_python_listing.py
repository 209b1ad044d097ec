"""The Python SDK: containers, listings, service properties, the asynchronous client, TLS."""

import asyncio
import ssl
import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError, ServiceRequestError
from azure.storage.blob import (BlobAnalyticsLogging, BlobPrefix, BlobServiceClient, CorsRule, Metrics,
                                PublicAccess, RetentionPolicy, StaticWebsite)
from azure.storage.blob import aio

from server import content


def test_containers(service):
    base = "list" + uuid.uuid4().hex[:8]
    names = [f"{base}-{i:03}" for i in range(12)]
    for n in reversed(names):
        service.create_container(n, metadata={"n": n[-3:]},
                                 public_access=PublicAccess.BLOB if n.endswith("3") else None)
    got = list(service.list_containers(name_starts_with=base, include_metadata=True))
    assert [c.name for c in got] == names
    assert [c.metadata for c in got] == [{"n": n[-3:]} for n in names]
    assert got[3].public_access == "blob" and got[4].public_access is None
    assert all(c.etag and c.last_modified for c in got)
    assert not any(c.metadata for c in service.list_containers(name_starts_with=base))
    pages = [[c.name for c in page] for page in
             service.list_containers(name_starts_with=base, results_per_page=5).by_page()]
    assert pages == [names[:5], names[5:10], names[10:]]
    for n in names:
        service.delete_container(n)
    assert list(service.list_containers(name_starts_with=base)) == []


def test_container_properties(service):
    c = service.create_container("c" + uuid.uuid4().hex, metadata={"Key": "Value"},
                                 public_access=PublicAccess.CONTAINER)
    p = c.get_container_properties()
    assert (p.public_access, {k.lower(): v for k, v in p.metadata.items()}) == ("container", {"key": "Value"})
    etag = p.etag
    c.set_container_metadata({"other": "x"})
    p = c.get_container_properties()
    assert p.metadata == {"other": "x"} and p.etag != etag
    c.upload_blob("b", b"x")
    c.delete_container()
    with pytest.raises(ResourceNotFoundError):
        c.get_container_properties()
    # the name is free at once, and nothing of the old is in the new
    c.create_container()
    assert list(c.list_blobs()) == []
    with pytest.raises(ResourceNotFoundError):
        c.download_blob("b")
    c.delete_container()


@pytest.fixture(scope="module")
def listed(service):
    """100 folders of 7 blobs, and 300 beside them."""
    c = service.create_container("listed")
    names = [f"dir{d:02}/sub/{i}" for d in range(100) for i in range(7)]
    names += [f"file{i:03}" for i in range(300)]
    for n in names:
        c.upload_blob(n, n.encode())
    yield c, sorted(names)
    c.delete_container()


def test_flat(listed):
    c, names = listed
    assert [b.name for b in c.list_blobs()] == names
    assert list(c.list_blob_names()) == names
    assert [b.name for b in c.list_blobs(name_starts_with="dir5")] == [n for n in names if n.startswith("dir5")]
    assert list(c.list_blobs(name_starts_with="none")) == []
    first = next(iter(c.list_blobs()))
    assert first.size == len(first.name) and first.etag and first.blob_type == "BlockBlob"
    assert first.last_modified and first.creation_time


@pytest.mark.parametrize("size", [1, 7, 333, 999, 1000, 5000])
def test_paging(listed, size):
    c, names = listed
    if size == 1:
        pages = []
        for page in c.list_blobs(results_per_page=1).by_page():
            pages.append([b.name for b in page])
            if len(pages) == 20:
                break
        assert pages == [[n] for n in names[:20]]
        return
    pages = [[b.name for b in page] for page in c.list_blobs(results_per_page=size).by_page()]
    assert sum(pages, []) == names
    assert all(len(p) == size for p in pages[:-1])


def test_paging_goes_on_where_it_stopped(listed):
    c, names = listed
    pager = c.list_blobs(results_per_page=400).by_page()
    first = [b.name for b in next(pager)]
    rest = c.list_blobs(results_per_page=400).by_page(continuation_token=pager.continuation_token)
    assert first + [b.name for page in rest for b in page] == names


@pytest.mark.not_azurite
def test_start_from(listed):
    c, names = listed
    for start in ("dir50/sub/3", "dir50/sub/30", "file", "zzz", "a"):
        assert [b.name for b in c.list_blobs(start_from=start)] == [n for n in names if n >= start]


@pytest.mark.not_azurite
def test_hierarchy(listed):
    c, names = listed
    top = list(c.walk_blobs())
    assert [b.name for b in top] == [f"dir{d:02}/" for d in range(100)] + [f"file{i:03}" for i in range(300)]
    assert all(isinstance(b, BlobPrefix) == b.name.endswith("/") for b in top)
    assert [b.name for b in c.walk_blobs(name_starts_with="dir07/")] == ["dir07/sub/"]
    assert [b.name for b in c.walk_blobs(name_starts_with="dir07/sub/")] == [f"dir07/sub/{i}" for i in range(7)]
    assert [b.name for b in c.walk_blobs(name_starts_with="dir0")] == [f"dir{d:02}/" for d in range(10)]
    pages = [[b.name for b in page] for page in c.walk_blobs(results_per_page=30).by_page()]
    assert sum(pages, []) == [b.name for b in top]
    other = [b.name for b in c.walk_blobs(delimiter="sub", name_starts_with="dir1")]
    assert other == [f"dir{d:02}/sub" for d in range(10, 20)]


@pytest.mark.not_azurite
def test_names_that_xml_cannot_carry(container):
    names = sorted(["a\x01b", "c\x1fd", "e&f<g>", "h\ufffei", "plain", "]]>", "tab\there"], key=lambda n: n.encode())
    for n in names:
        container.upload_blob(n, b"x")
    assert [b.name for b in container.list_blobs()] == names
    assert [b.name for b in container.list_blobs(name_starts_with="a\x01")] == ["a\x01b"]


# ---- the service --------------------------------------------------------------------------------------------

def test_service_properties(service):
    cors = [CorsRule(["https://www.example.org", "https://example.com"], ["GET", "PUT"],
                     allowed_headers=["x-ms-meta-*", "content-type"], exposed_headers=["x-ms-*"],
                     max_age_in_seconds=200), CorsRule(["*"], ["GET"])]
    logging = BlobAnalyticsLogging(read=True, write=True, delete=False,
                                   retention_policy=RetentionPolicy(enabled=True, days=5))
    metrics = Metrics(enabled=True, include_apis=True, retention_policy=RetentionPolicy(enabled=True, days=7))
    service.set_service_properties(analytics_logging=logging, hour_metrics=metrics, minute_metrics=metrics,
                                   cors=cors, target_version="2020-06-12",
                                   static_website=StaticWebsite(enabled=True, index_document="index.html",
                                                                error_document404_path="404.html"))
    p = service.get_service_properties()
    assert [(c.allowed_origins, c.allowed_methods, c.allowed_headers, c.exposed_headers,
             c.max_age_in_seconds) for c in p["cors"]] == [
        ("https://www.example.org,https://example.com", "GET,PUT", "x-ms-meta-*,content-type", "x-ms-*", 200),
        ("*", "GET", "", "", 0)]
    assert (p["analytics_logging"].read, p["analytics_logging"].delete) == (True, False)
    assert p["analytics_logging"].retention_policy.days == 5
    assert p["hour_metrics"].retention_policy.days == 7
    assert p["target_version"] == "2020-06-12"
    assert p["static_website"].index_document == "index.html"
    # what is not named stays
    service.set_service_properties(cors=[])
    p = service.get_service_properties()
    assert p["cors"] == [] and p["analytics_logging"].read is True
    service.set_service_properties(analytics_logging=BlobAnalyticsLogging(), hour_metrics=Metrics(),
                                   minute_metrics=Metrics(), static_website=StaticWebsite(enabled=False))
    assert service.get_service_properties()["analytics_logging"].read is False


def test_account_information(service, container):
    for client in (service, container, container.upload_blob("b", b"x")):
        information = client.get_account_information()
        assert information["sku_name"] and information["account_kind"] == "StorageV2"


# ---- the asynchronous client ------------------------------------------------------------------------------

def test_aio(server):
    async def run():
        async with aio.BlobServiceClient.from_connection_string(
                server.connection_string, retry_total=0, max_single_put_size=1 << 20,
                max_block_size=1 << 20) as service:
            c = await service.create_container("aio")
            data = content("aio", 5 << 20)
            big = await c.upload_blob("big", data, max_concurrency=4)
            assert await (await big.download_blob(max_concurrency=4)).readall() == data
            await asyncio.gather(*(c.upload_blob(f"b{i:03}", content(i, i * 100)) for i in range(100)))
            got = await asyncio.gather(*(read(c, f"b{i:03}") for i in range(100)))
            assert got == [content(i, i * 100) for i in range(100)]
            names = [b.name async for b in c.list_blobs(results_per_page=30)]
            assert names == [f"b{i:03}" for i in range(100)] + ["big"]
            with pytest.raises(ResourceExistsError):
                await c.upload_blob("big", b"x")
            with pytest.raises(ResourceNotFoundError):
                await c.download_blob("absent")
            await service.delete_container("aio")

    async def read(c, name):
        return await (await c.download_blob(name)).readall()

    asyncio.run(run())


# ---- TLS -------------------------------------------------------------------------------------------------------

def test_tls(tls_server):
    assert tls_server.connection_string.startswith("DefaultEndpointsProtocol=https")
    with BlobServiceClient.from_connection_string(
            tls_server.connection_string, retry_total=0, connection_verify=str(tls_server.ca),
            max_single_put_size=1 << 20, max_block_size=1 << 20) as service:
        c = service.create_container("tls")
        for size in (0, 1, 5000, 40000, 70000, 9 << 20):
            data = content(size, size)
            blob = c.upload_blob(f"b{size}", data, max_concurrency=4)
            assert blob.download_blob(max_concurrency=4).readall() == data
        assert len(list(c.list_blobs())) == 6
        c.delete_container()


def test_tls_is_verified_by_the_client(tls_server):
    with BlobServiceClient.from_connection_string(tls_server.connection_string, retry_total=0) as service:
        with pytest.raises(ServiceRequestError):
            list(service.list_containers())


@pytest.mark.not_azurite
@pytest.mark.parametrize("version,works", [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True),
                                           (ssl.TLSVersion.TLSv1_3, True)])
def test_tls_versions(tls_server, version, works):
    import socket
    import warnings
    context = ssl.create_default_context(cafile=tls_server.ca)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version = context.maximum_version = version
        if not works:
            context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", tls_server.port), 10) as s:
        if works:
            with context.wrap_socket(s, server_hostname="localhost") as t:
                assert t.version() in ("TLSv1.2", "TLSv1.3")
        else:
            with pytest.raises((ssl.SSLError, OSError)):
                context.wrap_socket(s, server_hostname="localhost")
