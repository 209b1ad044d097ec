"""Set Blob Tier and Set Blob Expiry."""
import subprocess
import time
from email.utils import parsedate_to_datetime

import pytest
from wire import ACCOUNT, account_sas, assert_error, block_id, block_list, http_date, service_sas


@pytest.fixture
def blob(api, container):
    api.put_ok(container, "b", b"hello")
    return f"/{container}/b"


@pytest.fixture
def slow(server):
    """Rehydration takes an hour."""
    def setting(value):
        subprocess.run([server.program, "account", "set", ACCOUNT, f"rehydrate_seconds={value}", "--data",
                        server.folder], check=True, capture_output=True)
    setting(3600)
    yield
    setting(0)


def set_tier(api, blob, tier, headers=(), **how):
    return api("PUT", blob + "?comp=tier", {"x-ms-access-tier": tier} | dict(headers), **how)


@pytest.mark.parametrize("tier", ["Hot", "Cool", "Cold", "Archive"])
def test_set_tier(api, container, blob, tier):
    before = api("HEAD", blob)
    assert before.get("x-ms-access-tier-inferred") == "true"
    r = set_tier(api, blob, tier)
    assert (r.status, r.body) == (200, b"")
    after = api("HEAD", blob)
    assert (after.get("x-ms-access-tier"), after.get("x-ms-access-tier-inferred")) == (tier, None)
    assert after.get("x-ms-access-tier-change-time")
    assert (after.get("etag"), after.get("last-modified")) == (before.get("etag"), before.get("last-modified"))
    entry = next(api.list(container).xml.iter("Blob"))
    assert entry.findtext("Properties/AccessTier") == tier and entry.findtext("Properties/AccessTierChangeTime")
    assert set_tier(api, blob, tier).status == 200


def test_at_upload(api, container):
    api.put_ok(container, "b", b"x", {"x-ms-access-tier": "Archive"})
    assert_error(api("GET", f"/{container}/b"), 409, "BlobArchived")
    path = f"/{container}/c"
    assert api("PUT", path + f"?comp=block&blockid={block_id(1)}", body=b"x").status == 201
    r = api("PUT", path + "?comp=blocklist", {"x-ms-access-tier": "Cold"}, block_list(("Latest", block_id(1))))
    assert r.status == 201 and api("HEAD", path).get("x-ms-access-tier") == "Cold"


def test_archived(api, container, blob):
    assert set_tier(api, blob, "Archive").status == 200
    assert_error(api("GET", blob), 409, "BlobArchived")
    assert_error(api("GET", blob, {"x-ms-range": "bytes=0-1"}), 409, "BlobArchived")
    assert_error(api.put(container, "b", b"new"), 409, "BlobArchived")
    assert_error(api("PUT", blob + "?comp=metadata", {"x-ms-meta-a": "1"}), 409, "BlobArchived")
    assert_error(api("PUT", blob + "?comp=properties"), 409, "BlobArchived")
    assert_error(api("PUT", blob + "?comp=blocklist", body=block_list()), 409, "BlobArchived")
    # what remains
    assert api("HEAD", blob).get("content-length") == "5"
    assert api("GET", blob + "?comp=metadata").status == 200
    assert api("PUT", blob + "?comp=tags", body=b"<Tags><TagSet/></Tags>").status == 204
    assert api("GET", blob + "?comp=tags").status == 200
    assert api("DELETE", blob).status == 202


def test_rehydrate(api, blob):
    assert set_tier(api, blob, "Archive").status == 200
    assert set_tier(api, blob, "Cool", {"x-ms-rehydrate-priority": "High"}).status == 202
    r = api("HEAD", blob)
    assert (r.get("x-ms-access-tier"), r.get("x-ms-archive-status")) == ("Cool", None)
    assert api("GET", blob).body == b"hello"


@pytest.mark.parametrize("tier", ["Hot", "Cool", "Cold"])
def test_rehydrating(api, container, blob, slow, tier):
    assert set_tier(api, blob, "Archive").status == 200
    assert set_tier(api, blob, tier).status == 202
    r = api("HEAD", blob)
    assert (r.get("x-ms-access-tier"), r.get("x-ms-archive-status"), r.get("x-ms-rehydrate-priority")) == \
        ("Archive", "rehydrate-pending-to-" + tier.lower(), "Standard")
    entry = next(api.list(container).xml.iter("Properties"))
    assert (entry.findtext("AccessTier"), entry.findtext("ArchiveStatus"), entry.findtext("RehydratePriority")) == \
        ("Archive", "rehydrate-pending-to-" + tier.lower(), "Standard")
    assert_error(api("GET", blob), 409, "BlobArchived", "rehydrated")
    for other in {"Hot", "Cool", "Cold", "Archive"} - {tier}:
        assert_error(set_tier(api, blob, other), 409, "BlobBeingRehydrated")
    assert set_tier(api, blob, tier, {"x-ms-rehydrate-priority": "High"}).status == 202
    assert api("HEAD", blob).get("x-ms-rehydrate-priority") == "High"
    assert_error(set_tier(api, blob, tier), 409, "BlobBeingRehydrated", "priority")


@pytest.mark.parametrize("headers, code", [
    ({}, "MissingRequiredHeader"), ({"x-ms-access-tier": "Lukewarm"}, "InvalidHeaderValue"),
    ({"x-ms-access-tier": ""}, "InvalidHeaderValue"), ({"x-ms-access-tier": "P10"}, "InvalidBlobTier"),
    ({"x-ms-access-tier": "Premium"}, "InvalidBlobTier"),
    ({"x-ms-access-tier": "Hot", "x-ms-rehydrate-priority": "Low"}, "InvalidHeaderValue")])
def test_refused(api, blob, headers, code):
    assert_error(api("PUT", blob + "?comp=tier", headers), 400, code)
    assert api("HEAD", blob).get("x-ms-access-tier-inferred") == "true"


def test_of_nothing(api, container):
    assert_error(set_tier(api, f"/{container}/none", "Cool"), 404, "BlobNotFound")


def test_conditions_and_permissions(api, container, blob):
    assert_error(set_tier(api, blob, "Cool", {"x-ms-if-tags": "a='1'"}), 412, "ConditionNotMet")
    lease = api("PUT", blob + "?comp=lease", {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"})
    assert_error(set_tier(api, blob, "Cool"), 412, "LeaseIdMissing")
    assert set_tier(api, blob, "Cool", {"x-ms-lease-id": lease.get("x-ms-lease-id")}).status == 200
    assert_error(set_tier(api, blob, "Hot", sas=service_sas(container, sp="rcd")), 403,
                 "AuthorizationPermissionMismatch")
    assert_error(set_tier(api, blob, "Hot", sas=account_sas(sp="r")), 403, "AuthorizationPermissionMismatch")


# ---- expiry --------------------------------------------------------------------------------------------------------

def set_expiry(api, blob, option, value=None):
    headers = {"x-ms-expiry-option": option} | ({} if value is None else {"x-ms-expiry-time": str(value)})
    return api("PUT", blob + "?comp=expiry", headers)


def expiry_of(api, blob):
    value = api("HEAD", blob).get("x-ms-expiry-time")
    return None if value is None else parsedate_to_datetime(value).timestamp()


@pytest.mark.parametrize("kind", [{"x-ms-blob-type": "BlockBlob"}, {"x-ms-blob-type": "AppendBlob"},
                                  {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "512"}], ids=str)
def test_put_blob_that_expires(api, container, kind):
    path = f"/{container}/soon"
    assert api("PUT", path, kind | {"x-ms-expiry-option": "RelativeToNow", "x-ms-expiry-time": "3600000"}).status == 201
    assert abs(expiry_of(api, path) - time.time() - 3600) < 30
    assert api("PUT", path, kind | {"x-ms-expiry-option": "Absolute", "x-ms-expiry-time": http_date(600)}).status == 201
    assert abs(expiry_of(api, path) - time.time() - 600) < 30
    for option, value in (("Absolute", http_date(-60)), ("Sometime", "1"), ("RelativeToNow", "soon")):
        headers = {"x-ms-expiry-option": option, "x-ms-expiry-time": value}
        assert_error(api("PUT", path, kind | headers), 400, "InvalidHeaderValue")
    assert_error(api("PUT", path, kind | {"x-ms-expiry-time": "1"}), 400, "MissingRequiredHeader")
    assert abs(expiry_of(api, path) - time.time() - 600) < 30
    assert api("PUT", path, kind).status == 201 and expiry_of(api, path) is None
    assert_error(api("PUT", path + "?comp=metadata", {"x-ms-expiry-option": "NeverExpire"}), 400, "UnsupportedHeader")


def test_set_expiry(api, container, blob):
    r = set_expiry(api, blob, "RelativeToNow", 3600_000)
    assert r.status == 200 and r.get("etag") and r.get("last-modified")
    assert abs(expiry_of(api, blob) - time.time() - 3600) < 30
    assert next(api.list(container).xml.iter("Properties")).findtext("Expiry-Time")
    assert set_expiry(api, blob, "RelativeToCreation", 7200_000).status == 200
    assert abs(expiry_of(api, blob) - time.time() - 7200) < 30
    assert set_expiry(api, blob, "Absolute", http_date(600)).status == 200
    assert abs(expiry_of(api, blob) - time.time() - 600) < 30
    assert set_expiry(api, blob, "NeverExpire").status == 200
    assert expiry_of(api, blob) is None


def test_expired(api, container, blob):
    assert set_expiry(api, blob, "RelativeToNow", 150).status == 200
    time.sleep(0.2)
    assert_error(api("GET", blob), 404, "BlobNotFound")
    assert not list(api.list(container).xml.iter("Blob"))
    api.put_ok(container, "b", b"again", {"If-None-Match": "*"})
    assert api("GET", blob).body == b"again" and expiry_of(api, blob) is None


@pytest.mark.parametrize("option, value, code", [
    ("Sometime", None, "InvalidHeaderValue"), ("Absolute", None, "MissingRequiredHeader"),
    ("Absolute", "1000", "InvalidHeaderValue"), ("Absolute", http_date(-60), "InvalidHeaderValue"),
    ("RelativeToNow", "soon", "InvalidHeaderValue"), ("RelativeToNow", "99999999999999999999", "InvalidHeaderValue"),
    ("RelativeToCreation", "0", "InvalidHeaderValue"), ("NeverExpire", "1000", "InvalidHeaderValue")])
def test_refused_expiry(api, blob, option, value, code):
    assert_error(set_expiry(api, blob, option, value), 400, code)
    assert expiry_of(api, blob) is None


def test_expiry_without_option(api, blob):
    assert_error(api("PUT", blob + "?comp=expiry"), 400, "MissingRequiredHeader", "x-ms-expiry-option")


# ---- last access ---------------------------------------------------------------------------------------------------

def test_last_access_time(api, server, container, blob):
    def tracking(value):
        subprocess.run([server.program, "account", "set", ACCOUNT, f"last_access_tracking={value}", "--data",
                        server.folder], check=True, capture_output=True)
    assert api("HEAD", blob).get("x-ms-last-access-time") is None
    tracking("on")
    try:
        etag = api("GET", blob).get("etag")
        end = time.monotonic() + 10
        while api("HEAD", blob).get("x-ms-last-access-time") is None and time.monotonic() < end:
            time.sleep(0.02)
        r = api("HEAD", blob)
        assert abs(parsedate_to_datetime(r.get("x-ms-last-access-time")).timestamp() - time.time()) < 60
        assert r.get("etag") == etag
        assert next(api.list(container).xml.iter("Properties")).findtext("LastAccessTime")
        api.put_ok(container, "new", b"x")
        assert api("HEAD", f"/{container}/new").get("x-ms-last-access-time")
    finally:
        tracking("off")
