"""How accounts are addressed: path style, host style, secondary."""
import pytest
from wire import ACCOUNT, KEY, Api, account_sas, assert_error, service_sas


@pytest.fixture
def blob(api, container):
    api.put_ok(container, "b", b"hello")
    return f"/{container}/b"


@pytest.fixture
def host_style(production):
    a = Api(production)
    c = a.create_container()
    a.put_ok(c, "b", b"hello")
    yield a, c, f"{production.account}.{production.suffix}"
    a("DELETE", f"/{c}?restype=container")
    a.close()


@pytest.mark.parametrize("form", ["{}", "{}:10000", "upper"])
def test_host_style(host_style, form):
    api, container, host = host_style
    host = host.upper() if form == "upper" else form.format(host)
    r = api("GET", f"/{container}/b", base="", host=host)
    assert (r.status, r.body) == (200, b"hello"), r
    token = service_sas(container, "b", account=api.account, key=api.key)
    assert api("GET", f"/{container}/b", base="", host=host, sas=token).body == b"hello"
    r = api("GET", "/?comp=list&maxresults=1", base="", host=host)
    assert r.status == 200 and r.xml.tag == "EnumerationResults"


def test_host_style_secondary(host_style):
    api, container, host = host_style
    host = host.replace(".", "-secondary.", 1)
    assert api("GET", f"/{container}/b", base="", host=host).body == b"hello"
    r = api("DELETE", f"/{container}/b", base="", host=host)
    assert_error(r, 403, "InsufficientAccountPermissions")


def test_host_style_of_an_unknown_account(host_style):
    api, container, host = host_style
    host = "nosuchaccount." + host.split(".", 1)[1]
    r = api("GET", f"/{container}/b", base="", host=host, sas=account_sas(account="nosuchaccount"))
    assert r.status in (403, 404), r


def test_path_style_beside_host_style(host_style):
    api, container, _ = host_style
    assert api("GET", f"/{container}/b").body == b"hello"


def test_development_key_opens_no_production_server(host_style):
    api, container, host = host_style
    assert_error(api("GET", f"/{container}/b", key=KEY), 403, "AuthenticationFailed")
    assert_error(Api(api.server, account=ACCOUNT, key=KEY)("GET", f"/{container}/b"), 403, "AuthenticationFailed")


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
