"""Container soft delete: kept for the days of the account's setting, listed, restored; and Rename Container."""
import subprocess

import pytest
from wire import Api, account_sas, assert_error, counter


@pytest.fixture(scope="module")
def kept(server):
    """Deleted containers are kept for 7 days while this module's tests run."""
    def days(n):
        subprocess.run([server.program, "account", "set", server.account, f"container_delete_days={n}", "--data",
                        server.folder], check=True, capture_output=True)
    days(7)
    yield
    days(0)


@pytest.fixture
def name(kept, api):
    name = f"kept{next(counter)}"
    api.create_container(name, {"x-ms-meta-k": "v", "x-ms-blob-public-access": "blob"})
    api.put_ok(name, "b", b"hello")
    yield name
    api("DELETE", f"/{name}?restype=container")


def listed(api, prefix, query="&include=deleted"):
    r = api("GET", f"/?comp=list&prefix={prefix}{query}")
    assert r.status == 200, r
    return list(r.xml.iter("Container"))


def deleted(api, name):
    assert api("DELETE", f"/{name}?restype=container").status == 202
    entry = [c for c in listed(api, name) if c.findtext("Deleted") == "true"][-1]
    return entry.findtext("Version")


def restore(api, to, name, version, **how):
    return api("PUT", f"/{to}?restype=container&comp=undelete",
               {"x-ms-deleted-container-name": name, "x-ms-deleted-container-version": version}, **how)


def test_is_listed_when_asked_for(api, name):
    version = deleted(api, name)
    assert listed(api, name, "") == []
    [c] = listed(api, name, "&include=deleted,metadata")
    assert [c.findtext(n) for n in ("Name", "Deleted", "Version")] == [name, "true", version]
    assert len(version) == 16 and int(version, 16)
    assert c.findtext("Properties/RemainingRetentionDays") == "7"
    assert c.findtext("Properties/DeletedTime").endswith("GMT")
    assert c.findtext("Metadata/k") == "v"
    assert api("GET", f"/{name}/b").code == "ContainerNotFound"
    assert api("GET", f"/{name}?restype=container").code == "ContainerNotFound"


def test_restore(api, name):
    before = api("HEAD", f"/{name}?restype=container")
    version = deleted(api, name)
    r = restore(api, name, name, version)
    assert (r.status, r.body) == (201, b"")
    after = api("HEAD", f"/{name}?restype=container")
    for header in ("etag", "last-modified", "x-ms-meta-k", "x-ms-blob-public-access"):
        assert after.get(header) == before.get(header)
    assert api("GET", f"/{name}/b").body == b"hello"
    assert [c.findtext("Deleted") for c in listed(api, name)] == [None]
    assert_error(restore(api, name, name, version), 409, "ContainerAlreadyExists")
    assert_error(restore(api, name + "x", name, version), 404, "ContainerNotFound")


def test_restore_under_another_name(api, name):
    version = deleted(api, name)
    api.create_container(name)  # the name is free at once
    assert_error(restore(api, name, name, version), 409, "ContainerAlreadyExists")
    assert restore(api, name + "-again", name, version.lower()).status == 201
    assert api("GET", f"/{name}-again/b").body == b"hello"
    assert not api.exists(name, "b")


@pytest.mark.parametrize("headers, status, code", [
    ({}, 400, "MissingRequiredHeader"),
    ({"x-ms-deleted-container-name": "kept"}, 400, "MissingRequiredHeader"),
    ({"x-ms-deleted-container-version": "08DE2C0000000001"}, 400, "MissingRequiredHeader"),
    ({"x-ms-deleted-container-name": "kept", "x-ms-deleted-container-version": "x"}, 400, "InvalidHeaderValue"),
    ({"x-ms-deleted-container-name": "kept", "x-ms-deleted-container-version": "08DE2C000000000G"}, 400,
     "InvalidHeaderValue"),
    ({"x-ms-deleted-container-name": "kept", "x-ms-deleted-container-version": "08DE2C0000000001"}, 404,
     "ContainerNotFound"),
    ({"x-ms-deleted-container-name": "No/Name", "x-ms-deleted-container-version": "08DE2C0000000001"}, 404,
     "ContainerNotFound")])
def test_bad_restores(api, headers, status, code):
    assert_error(api("PUT", "/back?restype=container&comp=undelete", headers), status, code)
    assert api("HEAD", "/back?restype=container").status == 404


def test_pages_with_deleted(api, kept):
    prefix = f"page{next(counter)}x"
    for i in range(3):
        api.create_container(f"{prefix}{i}")
        deleted(api, f"{prefix}{i}")
        api.create_container(f"{prefix}{i}")
    found, marker = [], ""
    while True:
        r = api("GET", f"/?comp=list&prefix={prefix}&include=deleted&maxresults=1&marker={marker}")
        found += [(c.findtext("Name"), c.findtext("Deleted")) for c in r.xml.iter("Container")]
        marker = r.xml.findtext("NextMarker")
        if not marker:
            break
    assert found == [(f"{prefix}{i}", d) for i in range(3) for d in (None, "true")]
    assert_error(api("GET", "/?comp=list&marker=box/12"), 400, "OutOfRangeInput")
    for i in range(3):
        assert api("DELETE", f"/{prefix}{i}?restype=container").status == 202


def test_system_containers_are_listed_when_asked_for(api):
    r = api("PUT", "/$logs?restype=container")
    assert r.status in (201, 409)
    assert listed(api, "$logs", "") == []
    assert [c.findtext("Name") for c in listed(api, "$logs", "&include=system")] == ["$logs"]
    assert api("DELETE", "/$logs?restype=container").status == 202


def test_rename(api, name):
    before = api("HEAD", f"/{name}?restype=container")
    path, to = f"/{name}-new?restype=container&comp=rename", f"{name}-new"
    assert_error(api("PUT", path), 400, "MissingRequiredHeader", says="x-ms-source-container-name")
    assert_error(api("PUT", path, {"x-ms-source-container-name": "none"}), 404, "ContainerNotFound")
    assert_error(api("PUT", f"/{name}?restype=container&comp=rename", {"x-ms-source-container-name": name}), 409,
                 "ContainerAlreadyExists")
    assert_error(api("PUT", path, {"x-ms-source-container-name": name, "x-ms-source-lease-id": "x"}), 400,
                 "InvalidHeaderValue")
    r = api("PUT", path, {"x-ms-source-container-name": name})
    assert (r.status, r.body) == (200, b"")
    assert api("HEAD", f"/{name}?restype=container").status == 404
    after = api("HEAD", f"/{to}?restype=container")
    for header in ("etag", "last-modified", "x-ms-meta-k"):
        assert after.get(header) == before.get(header)
    assert api("GET", f"/{to}/b").body == b"hello"
    assert api("DELETE", f"/{to}?restype=container").status == 202


def test_rename_of_a_leased_container(api, name):
    lease = "1f812371-a41d-49e6-b123-f4b542e851c5"
    rename = {"x-ms-source-container-name": name}
    path = f"/{name}-new?restype=container&comp=rename"
    assert_error(api("PUT", path, rename | {"x-ms-source-lease-id": lease}), 412,
                 "LeaseNotPresentWithContainerOperation")
    assert api("PUT", f"/{name}?restype=container&comp=lease",
               {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1",
                "x-ms-proposed-lease-id": lease}).status == 201
    assert_error(api("PUT", path, rename), 412, "LeaseIdMissing")
    assert_error(api("PUT", path, rename | {"x-ms-source-lease-id": lease[:-1] + "0"}), 412,
                 "LeaseIdMismatchWithContainerOperation")
    assert api("PUT", path, rename | {"x-ms-source-lease-id": lease}).status == 200
    assert api("HEAD", f"/{name}-new?restype=container").get("x-ms-lease-state") == "leased"
    assert api("DELETE", f"/{name}-new?restype=container", {"x-ms-lease-id": lease}).status == 202


def test_who_may_restore_and_rename(api, name, server):
    version = deleted(api, name)
    assert_error(restore(api, name, name, version, sas=account_sas(srt="c", sp="rdlc")), 403,
                 "AuthorizationPermissionMismatch")
    assert_error(restore(api, name, name, version, sas=account_sas(srt="o", sp="w")), 403,
                 "AuthorizationResourceTypeMismatch")
    assert restore(api, name, name, version, sas=account_sas(srt="c", sp="w")).status == 201
    secondary = Api(server, api.account + "-secondary")
    assert_error(secondary("PUT", f"/{name}-x?restype=container&comp=rename", {"x-ms-source-container-name": name},
                           sas=account_sas(srt="c", sp="w")), 403, "InsufficientAccountPermissions")
    secondary.close()
