"""Operations on a snapshot or an earlier version: tags, tier, immutability policy, legal hold. They change that state
and no other. A server of its own: versioning is a setting of the account."""
import time

import pytest
import wire
from test_immutability import set_hold, set_policy
from test_versions import api, at, own, soft_delete  # noqa: F401 (fixtures)
from wire import account_sas, assert_error, http_date, service_sas

TAGS = b"<Tags><TagSet><Tag><Key>k</Key><Value>%b</Value></Tag></TagSet></Tags>"


@pytest.fixture
def container(api):  # noqa: F811
    return api.create_container()


@pytest.fixture
def states(api, container):  # noqa: F811
    """A blob with a snapshot, an earlier version and a current state: their addresses."""
    api.put_ok(container, "b", b"one")
    snapshot = api("PUT", f"/{container}/b?comp=snapshot").get("x-ms-snapshot")
    version = api.put_ok(container, "b", b"two", {"x-ms-tags": "k=old"}).get("x-ms-version-id")
    current = api.put_ok(container, "b", b"three", {"x-ms-tags": "k=now"}).get("x-ms-version-id")
    return {"snapshot": f"/{container}/b?snapshot={snapshot}", "version": at(container, "b", version),
            "current": at(container, "b", current), "none": f"/{container}/b"}


def also(path, query):
    return path + ("&" if "?" in path else "?") + query


def tags(api, path):  # noqa: F811
    r = api("GET", also(path, "comp=tags"))
    assert r.status == 200, r
    return {t.findtext("Key"): t.findtext("Value") for t in r.xml.iter("Tag")}


def find(api, container, where):  # noqa: F811
    r = api("GET", f"/{container}?restype=container&comp=blobs&where={where}")
    assert r.status == 200, r
    return [b.findtext("Name") for b in r.xml.iter("Blob")]


def test_tags_of_a_version(api, container, states):  # noqa: F811
    before = {n: (api("HEAD", p).get("etag"), api("HEAD", p).get("last-modified")) for n, p in states.items()}
    assert api("PUT", also(states["version"], "comp=tags"), body=TAGS % b"new").status == 204
    assert tags(api, states["version"]) == {"k": "new"} and tags(api, states["none"]) == {"k": "now"}
    assert find(api, container, "k%3D'new'") == [] and find(api, container, "k%3D'now'") == ["b"]
    # of the version that is the current one: of the blob
    assert api("PUT", also(states["current"], "comp=tags"), body=TAGS % b"latest").status == 204
    assert tags(api, states["none"]) == {"k": "latest"} and find(api, container, "k%3D'latest'") == ["b"]
    assert before == {n: (api("HEAD", p).get("etag"), api("HEAD", p).get("last-modified")) for n, p in states.items()}
    assert_error(api("PUT", also(states["snapshot"], "comp=tags"), body=TAGS % b"x"), 400, "InvalidOperation")


@pytest.mark.parametrize("which", ["snapshot", "version", "current"])
def test_tier_of_a_state(api, states, which):  # noqa: F811
    assert api("PUT", also(states[which], "comp=tier"), {"x-ms-access-tier": "Cool"}).status == 200
    for name, path in states.items():
        r = api("HEAD", path)
        cool = name == which or (which == "current" and name == "none")
        assert r.get("x-ms-access-tier") == ("Cool" if cool else "Hot"), name


@pytest.mark.parametrize("which", ["snapshot", "version"])
def test_archived_state_is_closed_and_opens_again(api, states, which):  # noqa: F811
    path = states[which]
    assert api("PUT", also(path, "comp=tier"), {"x-ms-access-tier": "Archive"}).status == 200
    assert_error(api("GET", path), 409, "BlobArchived")
    assert api("GET", states["none"]).body == b"three"
    assert api("PUT", also(path, "comp=tier"), {"x-ms-access-tier": "Hot"}).status == 202
    end = time.monotonic() + wire.TIMEOUT_S
    while (r := api("GET", path)).status != 200 and time.monotonic() < end:
        assert api("HEAD", path).get("x-ms-archive-status") == "rehydrate-pending-to-hot"
    assert r.body in (b"one", b"two") and api("HEAD", path).get("x-ms-access-tier") == "Hot"


@pytest.mark.parametrize("which", ["snapshot", "version"])
@pytest.mark.parametrize("protect, release, code", [
    (lambda api, p: set_hold(api, p, "true"), lambda api, p: set_hold(api, p, "false"), "BlobImmutableDueToLegalHold"),
    (lambda api, p: api("PUT", also(p, "comp=immutabilityPolicies"),
                        {"x-ms-immutability-policy-until-date": http_date(3600)}),
     lambda api, p: api("DELETE", also(p, "comp=immutabilityPolicies")), "BlobImmutableDueToPolicy")])
def test_a_protected_state_stays(api, container, states, which, protect, release, code):  # noqa: F811
    path = states[which]
    assert protect(api, Path(path)).status == 200
    assert_error(api("DELETE", path), 409, code)
    if which == "snapshot":
        assert_error(api("DELETE", f"/{container}/b", {"x-ms-delete-snapshots": "only"}), 409, code)
    r = api("DELETE", f"/{container}?restype=container")
    assert (r.status, r.code) == (409, "ContainerHasLegalHold" if "Hold" in code else "ContainerImmutableDueToPolicy"), r
    assert api("GET", path).status == 200
    # the blob itself goes on
    api.put_ok(container, "b", b"four")
    assert release(api, Path(path)).status == 200
    assert api("DELETE", path).status == 202
    assert api("DELETE", f"/{container}?restype=container").status == 202


class Path(str):
    """An address to which test_immutability's helpers add "?comp=…"."""

    def __add__(self, more):
        return str.__add__(self, ("&" if "?" in self else "?") + more.removeprefix("?"))


def test_a_locked_policy_of_a_version_is_extended_only(api, states):  # noqa: F811
    path = Path(states["version"])
    assert set_policy(api, path, 3, "Locked").status == 200
    r = api("HEAD", states["version"])
    assert r.get("x-ms-immutability-policy-mode") == "Locked"
    assert api("HEAD", states["none"]).get("x-ms-immutability-policy-mode") is None
    assert_error(set_policy(api, path, 2, "Locked"), 409, "BlobImmutableDueToPolicy")
    assert set_policy(api, path, 4, "Locked").status == 200
    assert_error(api("DELETE", also(states["version"], "comp=immutabilityPolicies")), 409, "BlobImmutableDueToPolicy")


@pytest.mark.parametrize("comp, headers, body", [
    ("tags", {}, TAGS % b"x"), ("tier", {"x-ms-access-tier": "Cool"}, b""),
    ("legalhold", {"x-ms-legal-hold": "true"}, b""),
    ("immutabilityPolicies", {"x-ms-immutability-policy-until-date": http_date(3600)}, b"")])
def test_states_that_are_not_there(api, container, states, comp, headers, body):  # noqa: F811
    path = at(container, "b", "2020-01-01T00:00:00.0000000Z", f"&comp={comp}")
    assert_error(api("PUT", path, headers, body), 404, "BlobNotFound")
    assert_error(api("PUT", at(container, "b", "x", f"&comp={comp}"), headers, body), 400, "InvalidQueryParameterValue")
    soft_delete(api, 1)
    assert api("DELETE", states["version"]).status == 202
    assert_error(api("PUT", also(states["version"], f"comp={comp}"), headers, body), 404, "BlobNotFound")


@pytest.mark.parametrize("comp, letter, headers", [("tier", "w", {"x-ms-access-tier": "Cool"}),
                                                   ("legalhold", "i", {"x-ms-legal-hold": "false"})])
def test_permissions(api, container, states, comp, letter, headers):  # noqa: F811
    path = also(states["version"], f"comp={comp}")
    assert api("PUT", path, headers, sas=account_sas(sp=letter)).status == 200
    assert_error(api("PUT", path, headers, sas=account_sas(sp="r")), 403, "AuthorizationPermissionMismatch")
    assert_error(api("PUT", path, headers, sas=service_sas(container, sp="r")), 403, "AuthorizationPermissionMismatch")
