"""Immutability policies and legal holds of blobs."""
import pytest
from wire import account_sas, assert_error, block_id, block_list, http_date, service_sas

HOUR = 3600


@pytest.fixture
def blob(api, container):
    api.put_ok(container, "b", b"hello")
    path = f"/{container}/b"
    yield path
    api("PUT", path + "?comp=legalhold", {"x-ms-legal-hold": "false"})
    api("DELETE", path + "?comp=immutabilityPolicies")


def set_policy(api, blob, seconds, mode="Unlocked", headers=(), **how):
    return api("PUT", blob + "?comp=immutabilityPolicies",
               {"x-ms-immutability-policy-until-date": http_date(seconds), "x-ms-immutability-policy-mode": mode} |
               dict(headers), **how)


def set_hold(api, blob, value, **how):
    return api("PUT", blob + "?comp=legalhold", {"x-ms-legal-hold": value}, **how)


def assert_immutable(api, blob, code, container_code):
    container = blob.split("/")[1]
    before = api("HEAD", blob)
    assert_error(api.put(container, "b", b"new"), 409, code)
    assert_error(api("DELETE", blob), 409, code)
    assert_error(api("PUT", blob + "?comp=metadata", {"x-ms-meta-a": "1"}), 409, code)
    assert_error(api("PUT", blob + "?comp=properties", {"x-ms-blob-content-type": "a/b"}), 409, code)
    assert api("PUT", blob + f"?comp=block&blockid={block_id(1)}", body=b"new").status == 201
    assert_error(api("PUT", blob + "?comp=blocklist", body=block_list(("Latest", block_id(1)))), 409, code)
    assert_error(api("PUT", blob + "?comp=expiry", {"x-ms-expiry-option": "RelativeToNow", "x-ms-expiry-time": "1"}),
                 409, code)
    assert_error(api("DELETE", f"/{container}?restype=container"), 409, container_code)
    after = api("GET", blob)
    assert (after.body, after.get("etag"), after.metadata) == (b"hello", before.get("etag"), {})
    # what remains
    assert api("PUT", blob + "?comp=tags", body=b"<Tags><TagSet/></Tags>").status == 204
    assert api("PUT", blob + "?comp=tier", {"x-ms-access-tier": "Cool"}).status == 200


def test_legal_hold(api, container, blob):
    before = api("HEAD", blob)
    assert before.get("x-ms-legal-hold") is None
    r = set_hold(api, blob, "true")
    assert (r.status, r.get("x-ms-legal-hold")) == (200, "true")
    for method in "GET", "HEAD":
        r = api(method, blob)
        assert (r.get("x-ms-legal-hold"), r.get("etag")) == ("true", before.get("etag"))
    assert_immutable(api, blob, "BlobImmutableDueToLegalHold", "ContainerHasLegalHold")
    r = set_hold(api, blob, "false")
    assert (r.status, r.get("x-ms-legal-hold")) == (200, "false")
    assert api("DELETE", blob).status == 202


def test_policy(api, container, blob):
    date = http_date(HOUR)
    r = api("PUT", blob + "?comp=immutabilityPolicies", {"x-ms-immutability-policy-until-date": date})
    assert (r.status, r.get("x-ms-immutability-policy-until-date"), r.get("x-ms-immutability-policy-mode")) == \
        (200, date, "Unlocked")
    r = api("HEAD", blob)
    assert (r.get("x-ms-immutability-policy-until-date"), r.get("x-ms-immutability-policy-mode")) == (date, "Unlocked")
    assert_immutable(api, blob, "BlobImmutableDueToPolicy", "ContainerImmutableDueToPolicy")
    assert set_policy(api, blob, HOUR // 2).status == 200
    assert api("DELETE", blob + "?comp=immutabilityPolicies").status == 200
    assert api("HEAD", blob).get("x-ms-immutability-policy-mode") is None
    assert api.put(container, "b", b"new").status == 201


def test_locked_policy(api, container):
    """Of a few seconds, so that the container can go in the end."""
    import time
    api.put_ok(container, "b", b"hello")
    blob = f"/{container}/b"
    assert set_policy(api, blob, 4, "locked").status == 200
    assert api("HEAD", blob).get("x-ms-immutability-policy-mode") == "Locked"
    assert_error(api("DELETE", blob + "?comp=immutabilityPolicies"), 409, "BlobImmutableDueToPolicy", "locked")
    assert_error(set_policy(api, blob, 4, "Unlocked"), 409, "BlobImmutableDueToPolicy", "unlocked")
    assert_error(set_policy(api, blob, 1, "Locked"), 409, "BlobImmutableDueToPolicy", "extended")
    assert set_policy(api, blob, 5, "Locked").status == 200
    assert_error(api("DELETE", blob), 409, "BlobImmutableDueToPolicy")
    time.sleep(5)
    assert api("DELETE", blob).status == 202


def test_with_uploads(api, container):
    headers = {"x-ms-immutability-policy-until-date": http_date(HOUR), "x-ms-immutability-policy-mode": "unlocked",
               "x-ms-legal-hold": "true"}
    api.put_ok(container, "a", b"x", headers)
    path = f"/{container}/b"
    assert api("PUT", path + f"?comp=block&blockid={block_id(1)}", body=b"x").status == 201
    assert api("PUT", path + "?comp=blocklist", headers, block_list(("Latest", block_id(1)))).status == 201
    for blob in f"/{container}/a", path:
        r = api("HEAD", blob)
        assert (r.get("x-ms-legal-hold"), r.get("x-ms-immutability-policy-mode")) == ("true", "Unlocked")
        assert_error(api("DELETE", blob), 409, "BlobImmutableDueToLegalHold")
        assert set_hold(api, blob, "false").status == 200
        assert api("DELETE", blob + "?comp=immutabilityPolicies").status == 200


def test_listing(api, container, blob):
    assert set_policy(api, blob, HOUR).status == 200 and set_hold(api, blob, "true").status == 200
    plain = next(api.list(container).xml.iter("Properties"))
    assert plain.find("LegalHold") is None and plain.find("ImmutabilityPolicyMode") is None
    asked = next(api.list(container, "&include=immutabilitypolicy,legalhold").xml.iter("Properties"))
    assert asked.findtext("LegalHold") == "true" and asked.findtext("ImmutabilityPolicyMode") == "Unlocked"
    assert asked.findtext("ImmutabilityPolicyUntilDate")


@pytest.mark.parametrize("make", [
    {"x-ms-blob-type": "AppendBlob"}, {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "512"},
    {"x-ms-blob-type": "BlockBlob", "x-ms-copy-source": ""}, {"x-ms-copy-source": ""},
    {"x-ms-copy-source": "", "x-ms-requires-sync": "true"}], ids=str)
def test_with_all_that_makes_a_blob(api, container, make):
    api.put_ok(container, "src", b"hello")
    source = f"http://127.0.0.1:{api.server.port}/{api.account}/{container}/src"
    make = {n: v or source for n, v in make.items()}
    until = {"x-ms-immutability-policy-until-date": http_date(HOUR)}
    path = f"/{container}/made"
    assert_error(api("PUT", path, make | until, sas=account_sas(sp="rcw")), 403, "AuthorizationPermissionMismatch")
    assert_error(api("PUT", path, make | until | {"x-ms-immutability-policy-mode": "x"}), 400, "InvalidHeaderValue")
    assert not api.exists(container, "made")
    assert api("PUT", path, make | until | {"x-ms-legal-hold": "true"}).status in (201, 202)
    r = api("HEAD", path)
    assert (r.get("x-ms-immutability-policy-mode"), r.get("x-ms-legal-hold")) == ("Unlocked", "true")
    assert_error(api("DELETE", path), 409, "BlobImmutableDueToLegalHold")
    assert_error(api("PUT", path, make), 409, "BlobImmutableDueToLegalHold")
    assert set_hold(api, path, "false").status == 200
    assert_error(api("DELETE", path), 409, "BlobImmutableDueToPolicy")
    assert api("DELETE", path + "?comp=immutabilityPolicies").status == 200


def test_not_with_what_makes_no_blob(api, blob):
    for comp in ("metadata", "properties", "snapshot"):
        assert_error(api("PUT", f"{blob}?comp={comp}", {"x-ms-legal-hold": "true"}), 400, "UnsupportedHeader")


@pytest.mark.parametrize("comp, headers, code", [
    ("immutabilityPolicies", {}, "MissingRequiredHeader"),
    ("immutabilityPolicies", {"x-ms-immutability-policy-until-date": "tomorrow"}, "InvalidHeaderValue"),
    ("immutabilityPolicies", {"x-ms-immutability-policy-until-date": http_date(-60)}, "InvalidHeaderValue"),
    ("immutabilityPolicies", {"x-ms-immutability-policy-until-date": http_date(60),
                              "x-ms-immutability-policy-mode": "Mutable"}, "InvalidHeaderValue"),
    ("legalhold", {}, "MissingRequiredHeader"), ("legalhold", {"x-ms-legal-hold": "maybe"}, "InvalidHeaderValue")])
def test_refused(api, blob, comp, headers, code):
    assert_error(api("PUT", f"{blob}?comp={comp}", headers), 400, code)
    r = api("HEAD", blob)
    assert r.get("x-ms-legal-hold") is None and r.get("x-ms-immutability-policy-mode") is None


def test_of_nothing_and_conditions(api, container, blob):
    none = f"/{container}/none"
    assert_error(set_policy(api, none, HOUR), 404, "BlobNotFound")
    assert_error(set_hold(api, none, "true"), 404, "BlobNotFound")
    assert_error(api("DELETE", none + "?comp=immutabilityPolicies"), 404, "BlobNotFound")
    old = {"If-Unmodified-Since": http_date(-HOUR)}
    assert_error(set_policy(api, blob, HOUR, headers=old), 412, "ConditionNotMet")
    # a lease does not stand in the way
    r = api("PUT", blob + "?comp=lease", {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"})
    assert r.status == 201 and set_hold(api, blob, "true").status == 200


def test_permissions(api, container, blob):
    rights = "racwdt"
    for token in service_sas(container, sp=rights), account_sas(sp=rights):
        assert_error(set_hold(api, blob, "true", sas=token), 403, "AuthorizationPermissionMismatch")
        assert_error(set_policy(api, blob, HOUR, sas=token), 403, "AuthorizationPermissionMismatch")
        assert_error(api("DELETE", blob + "?comp=immutabilityPolicies", sas=token), 403,
                     "AuthorizationPermissionMismatch")
        assert_error(api.put(container, "c", b"x", {"x-ms-legal-hold": "true"}, sas=token), 403,
                     "AuthorizationPermissionMismatch")
    for token in service_sas(container, "b", sp="i"), account_sas(sp="i"):
        assert set_hold(api, blob, "true", sas=token).status == 200
        assert set_policy(api, blob, HOUR, sas=token).status == 200
