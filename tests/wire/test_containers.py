"""Containers: create, delete, properties, access control lists."""
import pytest
from wire import assert_error, assert_survives, iso


def test_create_delete_create(api):
    c = api.create_container()
    assert_error(api("PUT", f"/{c}?restype=container"), 409, "ContainerAlreadyExists")
    api.put_ok(c, "b", b"x")
    assert api("DELETE", f"/{c}?restype=container").status == 202
    assert_error(api("GET", f"/{c}?restype=container"), 404, "ContainerNotFound")
    assert_error(api("GET", f"/{c}/b"), 404, "ContainerNotFound")
    assert_error(api("DELETE", f"/{c}?restype=container"), 404, "ContainerNotFound")
    api.create_container(c)
    assert api.list(c).xml.find(".//Blob") is None


def test_create_answers(api):
    r = api("PUT", "/create-answers?restype=container")
    assert r.status == 201 and r.get("etag") and r.get("last-modified") and r.body == b""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_properties(api, container, method):
    r = api(method, f"/{container}?restype=container")
    assert r.status == 200 and r.body == b""
    assert r.get("etag") and r.get("last-modified")
    assert r.get("x-ms-lease-status") == "unlocked" and r.get("x-ms-lease-state") == "available"
    assert r.get("x-ms-has-immutability-policy") == "false" and r.get("x-ms-has-legal-hold") == "false"


@pytest.mark.parametrize("value", ["everyone", "Blob", "true"])
def test_public_access_refused(api, value):
    r = api("PUT", "/never-made?restype=container", {"x-ms-blob-public-access": value})
    assert_error(r, 400, "InvalidHeaderValue", "x-ms-blob-public-access")
    assert api("GET", "/never-made?restype=container").status == 404


def acl(api, container, body, headers=()):
    return api("PUT", f"/{container}?restype=container&comp=acl", headers, body)


def identifier(i, start="", expiry="", permission=""):
    inner = "".join(f"<{t}>{v}</{t}>" for t, v in (("Start", start), ("Expiry", expiry), ("Permission", permission)) if v)
    return f"<SignedIdentifier><Id>{i}</Id><AccessPolicy>{inner}</AccessPolicy></SignedIdentifier>"


def identifiers(*items):
    return ("<?xml version='1.0' encoding='utf-8'?><SignedIdentifiers>" + "".join(items) + "</SignedIdentifiers>").encode()


def test_acl_comes_back(api, container):
    start, expiry = iso(-60), iso(3600)
    body = identifiers(identifier("one", start, expiry, "rl"), identifier("two"))
    assert acl(api, container, body, {"x-ms-blob-public-access": "blob"}).status == 200
    r = api("GET", f"/{container}?restype=container&comp=acl")
    assert r.get("x-ms-blob-public-access") == "blob"
    got = [(e.findtext("Id"), e.findtext("AccessPolicy/Start"), e.findtext("AccessPolicy/Expiry"),
            e.findtext("AccessPolicy/Permission")) for e in r.xml.iterfind("SignedIdentifier")]
    assert got[0] == ("one", start, expiry, "rl")
    assert got[1][0] == "two" and not any(got[1][1:])
    assert api("HEAD", f"/{container}?restype=container").get("x-ms-blob-public-access") == "blob"


def test_set_acl_replaces_all(api, container):
    acl(api, container, identifiers(identifier("one", permission="r")), {"x-ms-blob-public-access": "container"})
    assert acl(api, container, b"").status == 200
    r = api("GET", f"/{container}?restype=container&comp=acl")
    assert r.get("x-ms-blob-public-access") is None and r.xml.find("SignedIdentifier") is None


def test_five_policies_and_no_more(api, container):
    five = [identifier(f"p{i}", permission="r") for i in range(5)]
    assert acl(api, container, identifiers(*five)).status == 200
    r = acl(api, container, identifiers(*five, identifier("p6", permission="r")))
    assert_error(r, 400, "InvalidXmlDocument", "5 stored access policies")
    assert len(api("GET", f"/{container}?restype=container&comp=acl").xml.findall("SignedIdentifier")) == 5


def test_id_of_sixty_four(api, container):
    assert acl(api, container, identifiers(identifier("i" * 64, permission="r"))).status == 200
    r = acl(api, container, identifiers(identifier("i" * 65, permission="r")))
    assert_error(r, 400, "InvalidXmlNodeValue", "64")


@pytest.mark.parametrize("body", [
    b"x", b"<SignedIdentifiers>", b"<Other/>", identifiers("<Nonsense/>"), identifiers(identifier("")),
    identifiers(identifier("p", start="tomorrow")), identifiers(identifier("p", expiry="2026-99-01")),
    identifiers(identifier("p", permission="Q")), identifiers(identifier("p"), identifier("p")),
    b"<!DOCTYPE x [<!ENTITY e 'x'>]><SignedIdentifiers>&e;</SignedIdentifiers>",
], ids=["text", "torn", "other root", "unknown child", "empty id", "bad start", "bad expiry", "bad permission",
        "same id twice", "doctype"])
def test_malformed_acl(api, container, connection, body):
    assert acl(api, container, identifiers(identifier("keep", permission="r"))).status == 200
    connection.send(api.build("PUT", f"/{container}?restype=container&comp=acl", body=body))
    r = connection.read()
    assert r.status == 400 and r.code in ("InvalidXmlDocument", "InvalidXmlNodeValue", "UnsupportedXmlNode",
                                          "MissingRequiredXmlNode", "InvalidInput"), r
    assert_survives(api, connection, r)
    ids = [e.text for e in api("GET", f"/{container}?restype=container&comp=acl").xml.iterfind(".//Id")]
    assert ids == ["keep"]


@pytest.mark.parametrize("method, path", [
    ("GET", ""), ("HEAD", ""), ("PUT", "&comp=metadata"), ("GET", "&comp=acl"), ("PUT", "&comp=acl"), ("GET", "&comp=list"),
    ("DELETE", "")])
def test_missing_container(api, method, path):
    r = api(method, f"/nosuchcontainer?restype=container{path}")
    assert_error(r, 404, "ContainerNotFound", head=method == "HEAD")


VERB, VALUE = (405, "UnsupportedHttpVerb"), (400, "InvalidQueryParameterValue")


@pytest.mark.parametrize("method, path, answer", [
    ("POST", "/{c}?restype=container", VERB), ("PATCH", "/{c}?restype=container", VERB), ("BREW", "/{c}", VERB),
    ("DELETE", "/?comp=list", VERB), ("PUT", "/?comp=list", VERB), ("PUT", "/{c}?restype=nonsense", VALUE),
    ("GET", "/{c}?restype=container&comp=nonsense", VALUE), ("PUT", "/{c}/b?comp=nonsense", VALUE)])
def test_what_is_no_operation(api, container, method, path, answer):
    assert_error(api(method, path.format(c=container)), *answer)
    assert api("GET", f"/{container}?restype=container").status == 200
