"""The Python SDK: shared access signatures of each kind, stored access policies, anonymous access."""

import datetime

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (AccessPolicy, AccountSasPermissions, BlobClient, BlobSasPermissions,
                                BlobServiceClient, ContainerClient, ContainerSasPermissions,
                                ContentSettings, PublicAccess, ResourceTypes, generate_account_sas,
                                generate_blob_sas, generate_container_sas)


def soon(minutes=60):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)


def refused(codes, call, status=403):
    with pytest.raises(HttpResponseError) as e:
        call()
    codes = codes if isinstance(codes, tuple) else (codes,)
    assert e.value.status_code == status
    assert e.value.error_code in codes, e.value.message


NO_PERMISSION = "AuthorizationPermissionMismatch"
NO_OVERWRITE = (NO_PERMISSION, "UnauthorizedBlobOverwrite")  # what a token that may only create is told


@pytest.fixture
def account_sas(server):
    def make(permission, types="sco", **kwargs):
        kwargs.setdefault("expiry", soon())
        sas = generate_account_sas(server.account, server.key, ResourceTypes.from_string(types),
                                   AccountSasPermissions.from_string(permission), **kwargs)
        return BlobServiceClient(server.url, credential=sas, retry_total=0)
    return make


@pytest.fixture
def container_sas(server, container):
    def make(permission=None, **kwargs):
        if "policy_id" not in kwargs:
            kwargs.setdefault("expiry", soon())
        sas = generate_container_sas(server.account, container.container_name, server.key,
                                     permission=permission and
                                     ContainerSasPermissions.from_string(permission), **kwargs)
        return ContainerClient(server.url, container.container_name, credential=sas, retry_total=0)
    return make


@pytest.fixture
def blob_sas(server, container):
    def make(name="b", permission=None, **kwargs):
        if "policy_id" not in kwargs:
            kwargs.setdefault("expiry", soon())
        sas = generate_blob_sas(server.account, container.container_name, name, account_key=server.key,
                                permission=permission and BlobSasPermissions.from_string(permission),
                                **kwargs)
        return BlobClient(server.url, container.container_name, name, credential=sas, retry_total=0)
    return make


# ---- account SAS --------------------------------------------------------------------------------------

def test_account_sas_does_all_it_may(account_sas, container):
    service = account_sas("rwdlac")
    c = service.get_container_client(container.container_name)
    assert container.container_name in [k.name for k in service.list_containers()]
    c.upload_blob("b", b"x")
    assert c.download_blob("b").readall() == b"x"
    assert [b.name for b in c.list_blobs()] == ["b"]
    c.delete_blob("b")
    new = service.create_container(container.container_name + "x")
    new.delete_container()


@pytest.mark.parametrize("has,allowed", [("r", "read"), ("l", "list"), ("c", "create"), ("d", "delete"),
                                         ("w", "write")])
def test_account_sas_permissions(account_sas, container, has, allowed):
    container.upload_blob("old", b"old")
    c = account_sas(has).get_container_client(container.container_name)
    calls = {
        "read": lambda: c.download_blob("old").readall(),
        "list": lambda: list(c.list_blobs()),
        "create": lambda: c.upload_blob("new", b"new"),
        "write": lambda: c.upload_blob("old", b"over", overwrite=True),
        "delete": lambda: c.delete_blob("old"),
    }
    may = {allowed} | ({"create"} if allowed == "write" else set())
    for name, call in calls.items():
        if name in may:
            call()
        else:
            refused(NO_OVERWRITE if (has, name) == ("c", "write") else NO_PERMISSION, call)
    if "write" not in may and "delete" not in may:
        assert container.download_blob("old").readall() == b"old"


def test_account_sas_resource_types(account_sas, container):
    container.upload_blob("b", b"x")
    name = container.container_name
    only = {t: account_sas("rwdlac", types=t) for t in "sco"}
    list(only["s"].list_containers())
    list(only["c"].get_container_client(name).list_blobs())
    only["o"].get_blob_client(name, "b").download_blob()
    wrong = "AuthorizationResourceTypeMismatch"
    refused(wrong, lambda: list(only["o"].list_containers()))
    refused(wrong, lambda: list(only["o"].get_container_client(name).list_blobs()))
    refused(wrong, lambda: only["c"].get_blob_client(name, "b").download_blob())
    refused(wrong, lambda: only["s"].get_blob_client(name, "b").download_blob())


@pytest.mark.not_azurite
def test_times(account_sas, blob_sas, container):
    container.upload_blob("b", b"x")
    name = container.container_name
    for sas in (account_sas("r", expiry=soon(-1)), account_sas("r", start=soon(30))):
        refused("AuthenticationFailed", lambda: sas.get_blob_client(name, "b").download_blob())
    refused("AuthenticationFailed", blob_sas(permission="r", expiry=soon(-1)).download_blob)
    refused("AuthenticationFailed", blob_sas(permission="r", start=soon(30)).download_blob)
    assert blob_sas(permission="r", start=soon(-30)).download_blob().readall() == b"x"


@pytest.mark.not_azurite
def test_address_and_protocol(account_sas, blob_sas, container):
    container.upload_blob("b", b"x")
    name = container.container_name
    for make in (lambda **k: account_sas("r", **k).get_blob_client(name, "b"),
                 lambda **k: blob_sas(permission="r", **k)):
        make(ip="127.0.0.1").download_blob()
        make(ip="127.0.0.0-127.0.0.9").download_blob()
        make(protocol="https,http").download_blob()
        refused("AuthorizationSourceIPMismatch", make(ip="10.1.2.3").download_blob)
        refused("AuthorizationSourceIPMismatch", make(ip="10.0.0.0-10.9.9.9").download_blob)
        refused("AuthorizationProtocolMismatch", make(protocol="https").download_blob)


@pytest.mark.not_azurite
def test_changed_signature(server, account_sas, container):
    container.upload_blob("b", b"x")
    sas = generate_account_sas(server.account, server.key, ResourceTypes.from_string("o"),
                               AccountSasPermissions(read=True), expiry=soon())
    for changed in (sas.replace("sp=r", "sp=rw"), sas.replace("srt=o", "srt=sco"),
                    sas.replace("sig=", "sig=A"), sas.replace("se=20", "se=21")):
        blob = BlobClient(server.url, container.container_name, "b", credential=changed, retry_total=0)
        refused("AuthenticationFailed", blob.download_blob)


# ---- container and blob SAS -----------------------------------------------------------------------------

def test_container_sas(container_sas, container):
    c = container_sas("rwdlc")
    c.upload_blob("folder/b", b"x", metadata={"a": "b"})
    assert c.download_blob("folder/b").readall() == b"x"
    assert [b.name for b in c.list_blobs()] == ["folder/b"]
    c.get_blob_client("folder/b").stage_block("0001", b"y")
    c.delete_blob("folder/b")
    for call in (c.get_container_access_policy, c.delete_container):
        refused((NO_PERMISSION, "AuthorizationFailure", "AuthorizationResourceTypeMismatch",
                 "AuthenticationFailed"), call)
    refused(NO_PERMISSION, lambda: list(container_sas("r").list_blobs()))
    refused(NO_PERMISSION, lambda: container_sas("l").upload_blob("new", b"x"))
    refused(NO_OVERWRITE, lambda: container_sas("c").upload_blob("new", b"x", overwrite=True) and
            container_sas("c").upload_blob("new", b"y", overwrite=True))


@pytest.mark.not_azurite
def test_container_sas_of_another_container(service, container, server):
    other = service.create_container(container.container_name + "other")
    sas = generate_container_sas(server.account, other.container_name, server.key,
                                 permission="rl", expiry=soon())
    c = ContainerClient(server.url, container.container_name, credential=sas, retry_total=0)
    refused("AuthenticationFailed", lambda: list(c.list_blobs()))
    other.delete_container()


@pytest.mark.not_azurite
def test_blob_sas(blob_sas, container):
    container.upload_blob("b", b"x")
    container.upload_blob("other", b"y")
    read = blob_sas(permission="r")
    assert read.download_blob().readall() == b"x"
    assert read.get_blob_properties().size == 1
    refused(NO_PERMISSION, lambda: read.upload_blob(b"z", overwrite=True))
    refused(NO_PERMISSION, read.delete_blob)
    other = BlobClient(read.primary_endpoint.split("/" + container.container_name)[0],
                       container.container_name, "other", credential=read.url.split("?")[1], retry_total=0)
    refused("AuthenticationFailed", other.download_blob)
    blob_sas("new", permission="c").upload_blob(b"new")
    refused(NO_OVERWRITE, lambda: blob_sas("new", permission="c").upload_blob(b"x", overwrite=True))
    blob_sas("new", permission="w").upload_blob(b"over", overwrite=True)
    assert container.download_blob("new").readall() == b"over"
    blob_sas("new", permission="d").delete_blob()


def test_blob_sas_of_a_difficult_name(blob_sas, container):
    name = "dir with space/ümlaut+%41&?#.txt"
    container.upload_blob(name, b"x")
    assert blob_sas(name, permission="r").download_blob().readall() == b"x"


def test_response_headers(blob_sas, container):
    container.upload_blob("b", b"x", content_settings=ContentSettings(
        content_type="text/plain", cache_control="no-store", content_language="de"))
    p = blob_sas(permission="r", cache_control="max-age=5", content_disposition='attachment; filename="ü"',
                 content_encoding="identity", content_language="fr",
                 content_type="image/png; a=b").get_blob_properties().content_settings
    assert (p.cache_control, p.content_encoding, p.content_language, p.content_type) == (
        "max-age=5", "identity", "fr", "image/png; a=b")
    assert p.content_disposition.startswith("attachment; filename=")
    p = blob_sas(permission="r").get_blob_properties().content_settings
    assert (p.cache_control, p.content_language, p.content_type) == ("no-store", "de", "text/plain")


# ---- stored access policies ---------------------------------------------------------------------------

@pytest.mark.not_azurite
def test_stored_policy(container, container_sas, blob_sas):
    container.upload_blob("b", b"x")
    container.set_container_access_policy({
        "readers": AccessPolicy(permission="rl", expiry=soon(), start=soon(-60)),
        "expired": AccessPolicy(permission="r", expiry=soon(-1)),
        "open": AccessPolicy()})
    reader = container_sas(policy_id="readers")
    assert [b.name for b in reader.list_blobs()] == ["b"]
    assert blob_sas(policy_id="readers").download_blob().readall() == b"x"
    refused(NO_PERMISSION, lambda: reader.upload_blob("new", b"x"))
    refused("AuthenticationFailed", lambda: container_sas(policy_id="expired").download_blob("b"))
    refused("AuthenticationFailed", lambda: container_sas(policy_id="absent").download_blob("b"))
    # what the policy leaves open, the token says
    assert container_sas("r", policy_id="open", expiry=soon()).download_blob("b").readall() == b"x"
    # changing it acts at once, removing it revokes
    container.set_container_access_policy({"readers": AccessPolicy(permission="l", expiry=soon())})
    assert [b.name for b in reader.list_blobs()] == ["b"]
    refused(NO_PERMISSION, lambda: reader.download_blob("b"))
    container.set_container_access_policy({})
    refused("AuthenticationFailed", lambda: list(reader.list_blobs()))


def test_access_policy_is_read_back(container):
    start, expiry = soon(-60).replace(microsecond=0), soon().replace(microsecond=0)
    container.set_container_access_policy(
        {f"p{i}": AccessPolicy(permission="rwdl", start=start, expiry=expiry) for i in range(5)},
        public_access=PublicAccess.BLOB)
    got = container.get_container_access_policy()
    assert got["public_access"] == "blob"
    assert sorted(i.id for i in got["signed_identifiers"]) == [f"p{i}" for i in range(5)]
    policy = got["signed_identifiers"][0].access_policy
    assert sorted(policy.permission) == sorted("rwdl")
    assert (str(policy.start)[:19].replace("T", " "), str(policy.expiry)[:19].replace("T", " ")) == (
        str(start)[:19], str(expiry)[:19])
    container.set_container_access_policy({})
    got = container.get_container_access_policy()
    assert (got["public_access"], got["signed_identifiers"]) == (None, [])


# ---- anonymous --------------------------------------------------------------------------------------------

def test_anonymous(server, container):
    container.upload_blob("b", b"x", metadata={"a": "b"})
    anyone = ContainerClient(server.url, container.container_name, retry_total=0)

    def state():
        found = []
        for name, call in (("read", lambda: anyone.download_blob("b").readall()),
                           ("list", lambda: list(anyone.list_blobs())),
                           ("properties", anyone.get_container_properties)):
            try:
                call()
                found.append(name)
            except HttpResponseError as e:
                assert e.status_code in (401, 403, 404, 409), e
        return found

    assert state() == []
    container.set_container_access_policy({}, public_access=PublicAccess.BLOB)
    assert state() == ["read"]
    container.set_container_access_policy({}, public_access=PublicAccess.CONTAINER)
    assert state() == ["read", "list", "properties"]
    for call in (lambda: anyone.upload_blob("new", b"x"), lambda: anyone.delete_blob("b"),
                 lambda: anyone.set_container_metadata({}), anyone.delete_container):
        with pytest.raises(HttpResponseError) as e:
            call()
        assert e.value.status_code in (401, 403, 404, 409)
    container.set_container_access_policy({})
    assert state() == []
    assert container.download_blob("b").readall() == b"x"
