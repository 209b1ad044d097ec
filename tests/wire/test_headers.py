"""What every answer carries, and what every request may carry."""
import re

import pytest
from wire import assert_error

UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


@pytest.mark.parametrize("version", ["2009-09-19", "2012-02-12", "2015-02-21", "2019-12-12", "2021-12-02", "2026-06-06",
                                     "2027-03-07", "2099-12-31"])
def test_version_is_echoed(api, container, version):
    api.put_ok(container, "b", b"x")
    r = api("GET", f"/{container}/b", version=version)
    assert r.status == 200 and r.get("x-ms-version") == version
    r = api("GET", f"/{container}/missing", version=version)
    assert r.status == 404 and r.get("x-ms-version") == version


@pytest.mark.parametrize("version", ["latest", "2026-6-6", "20260606", "2026-13-01", "2026-06-06x", "1999-01-01-"])
def test_malformed_version(api, container, version):
    assert_error(api("GET", f"/{container}/b", version=version), 400, "InvalidHeaderValue", "x-ms-version")


def test_request_ids_are_unique(api, container):
    ids = [api("GET", f"/{container}?restype=container").get("x-ms-request-id") for _ in range(20)]
    assert len(set(ids)) == 20 and all(re.match(UUID, i) for i in ids)


@pytest.mark.parametrize("value", ["abc", "00000000-0000-0000-0000-000000000000", "with space", "x" * 1024])
def test_client_request_id(api, container, value):
    for path in f"/{container}?restype=container", f"/{container}/missing":
        r = api("GET", path, {"x-ms-client-request-id": value})
        assert r.get("x-ms-client-request-id") == value


def test_long_client_request_id(api, container):
    r = api("GET", f"/{container}?restype=container", {"x-ms-client-request-id": "x" * 1025})
    assert r.status == 200 and r.get("x-ms-client-request-id") is None


@pytest.mark.parametrize("path", ["/{c}?restype=container", "/{c}/b", "/{c}/missing", "/nosuchcontainer/b", "/?comp=list"])
def test_every_answer(api, container, path):
    api.put_ok(container, "b", b"x")
    r = api("GET", path.format(c=container))
    assert re.match(UUID, r.get("x-ms-request-id")) and r.get("x-ms-version")
    assert re.match(r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$", r.get("date"))
    for name in "date", "content-length", "x-ms-request-id", "x-ms-version", "etag", "content-type":
        assert len(r.all(name)) <= 1, r.headers


def test_head_error_has_length_of_nothing_and_a_code(api, container):
    r = api("HEAD", f"/{container}/missing")
    assert_error(r, 404, "BlobNotFound", head=True)


@pytest.mark.parametrize("timeout, fine", [("30", True), ("1", True), ("x", False), ("-1", False)])
def test_timeout_parameter(api, container, timeout, fine):
    r = api("GET", f"/{container}?restype=container&timeout={timeout}")
    if fine:
        assert r.status == 200
    else:
        assert_error(r, 400, "InvalidQueryParameterValue", "timeout")


def test_unknown_headers_and_parameters_are_ignored(api, container):
    api.put_ok(container, "b", b"x")
    r = api("GET", f"/{container}/b?unknown=1&other", {"X-Unknown": "1", "x-ms-unknown": "2", "Accept": "nonsense/*"})
    assert r.status == 200 and r.body == b"x"


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "\"quoted\" & 'single'", "]]>"])
def test_errors_quote_the_request_safely(api, container, text):
    from urllib.parse import quote
    r = api("GET", f"/{container}?restype=container&comp=list&maxresults={quote(text)}")
    assert r.status == 400 and r.xml.findtext("Message")
    assert "<script>" not in r.text
