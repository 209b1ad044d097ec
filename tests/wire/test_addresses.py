"""How accounts are addressed: path style, host style, secondary."""
import pytest
from wire import ACCOUNT, account_sas, assert_error, service_sas


@pytest.fixture
def blob(api, container):
    api.put_ok(container, "b", b"hello")
    return f"/{container}/b"


@pytest.mark.parametrize("host", [f"{ACCOUNT}.blob.localhost", f"{ACCOUNT}.blob.localhost:10000",
                                  f"{ACCOUNT.upper()}.BLOB.LOCALHOST"])
def test_host_style(api, container, blob, host):
    r = api("GET", blob, base="", host=host)
    assert (r.status, r.body) == (200, b"hello"), r
    assert api("GET", blob, base="", host=host, sas=service_sas(container, "b")).body == b"hello"
    r = api("GET", "/?comp=list&maxresults=1", base="", host=host)
    assert r.status == 200 and r.xml.tag == "EnumerationResults"


def test_host_style_secondary(api, container, blob):
    host = f"{ACCOUNT}-secondary.blob.localhost"
    assert api("GET", blob, base="", host=host).body == b"hello"
    r = api("DELETE", blob, base="", host=host)
    assert_error(r, 403, "InsufficientAccountPermissions")


def test_host_style_of_an_unknown_account(api, blob):
    r = api("GET", blob, base="", host="nosuchaccount.blob.localhost", sas=account_sas(account="nosuchaccount"))
    assert r.status in (403, 404), r


def test_path_style_with_a_strange_host(api, blob):
    assert api("GET", blob, host="storage.internal:8080").body == b"hello"


@pytest.mark.parametrize("path", ["/", "//", "/?comp=list", "/a", "/%20"])
def test_path_without_an_account(api, path):
    r = api("GET", path, base="")
    assert r.status in (400, 403, 404), r
    assert r.code and r.xml.findtext("Code") == r.code


def test_service_level_paths(api):
    for path in f"/{ACCOUNT}?comp=list&maxresults=1", f"/{ACCOUNT}/?comp=list&maxresults=1":
        assert api("GET", path, base="").status == 200


def test_container_with_and_without_trailing_slash(api, container):
    assert api("GET", f"/{container}?restype=container").status == 200
    assert api("GET", f"/{container}/?restype=container").status in (200, 400)


def test_account_names_are_not_prefixes(api, blob):
    r = api("GET", blob, base=f"/{ACCOUNT}x")
    assert r.status in (403, 404), r
    r = api("GET", blob, base=f"/{ACCOUNT}-tertiary")
    assert r.status in (400, 403, 404), r
