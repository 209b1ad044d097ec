"""Static websites: $web at an address of its own. "Static website hosting in Azure Storage"."""
import pytest
import wire

HOST = f"{wire.ACCOUNT}.web.localhost"


@pytest.fixture
def api(own):
    a = wire.Api(own)
    yield a
    a.close()


def switch(api, inner):
    body = ('<?xml version="1.0" encoding="utf-8"?><StorageServiceProperties><StaticWebsite>' + inner +
            "</StaticWebsite></StorageServiceProperties>").encode()
    assert api("PUT", "/?restype=service&comp=properties", body=body).status == 202


def page(api, path, method="GET", headers=(), host=HOST):
    return api(method, path, headers, base="", sign=False, version=None, host=host)


@pytest.fixture
def site(api):
    r = api("PUT", "/$web?restype=container")
    assert r.status in (201, 409)
    for name, body in (("index.html", b"<h1>home</h1>"), ("docs/index.html", b"docs"), ("a b.txt", b"0123456789"),
                       ("sorry.html", b"<h1>sorry</h1>")):
        api.put_ok("$web", name, body, {"x-ms-blob-content-type": "text/html"})
    switch(api, "<Enabled>true</Enabled><IndexDocument>index.html</IndexDocument>"
                "<ErrorDocument404Path>sorry.html</ErrorDocument404Path>")
    return api


def test_pages(site):
    r = page(site, "/")
    assert (r.status, r.body, r.get("content-type")) == (200, b"<h1>home</h1>", "text/html")
    assert page(site, "/index.html").body == b"<h1>home</h1>"
    assert page(site, "/docs/").body == b"docs"
    assert page(site, "/a%20b.txt").body == b"0123456789"
    assert page(site, "/index.html?anything=goes&comp=tags").body == b"<h1>home</h1>"
    r = page(site, "/", "HEAD")
    assert r.status == 200 and r.get("content-length") == "13" and r.body == b""
    assert page(site, "/", host=HOST.upper() + ":10000").status == 200


def test_ranges_and_conditions(site):
    r = page(site, "/a%20b.txt", headers={"Range": "bytes=2-4"})
    assert (r.status, r.body) == (206, b"234")
    etag = r.get("etag")
    assert page(site, "/a%20b.txt", headers={"If-None-Match": etag}).status == 304
    assert page(site, "/a%20b.txt", headers={"If-Match": '"0x1"'}).status == 412


def test_what_is_not_there(site):
    for path in ("/none", "/none/", "/docs", "/%20"):
        r = page(site, path, headers={"Range": "bytes=0-1", "If-None-Match": "*"})
        assert (r.status, r.body) == (404, b"<h1>sorry</h1>"), path
    assert page(site, "/none", "HEAD").status == 404
    switch(site, "<Enabled>true</Enabled><IndexDocument>index.html</IndexDocument>")
    r = page(site, "/none")
    assert r.status == 404 and r.get("x-ms-error-code") == "WebContentNotFound" and b"WebContentNotFound" in r.body
    assert r.get("content-type") == "text/html"


def test_without_index_document_and_with_a_default(site):
    switch(site, "<Enabled>true</Enabled>")
    assert page(site, "/").status == 404
    assert page(site, "/index.html").status == 200
    switch(site, "<Enabled>true</Enabled><DefaultIndexDocumentPath>docs/index.html</DefaultIndexDocumentPath>")
    assert page(site, "/").body == b"docs"


def test_only_when_switched_on(site):
    switch(site, "<Enabled>false</Enabled>")
    r = page(site, "/")
    assert r.status == 404 and r.get("x-ms-error-code") == "WebContentNotFound"


def test_only_reading_and_only_web(site):
    for method in ("PUT", "POST", "DELETE", "OPTIONS"):
        r = page(site, "/index.html", method)
        assert (r.status, r.get("allow")) == (405, "GET,HEAD"), method
    name = site.create_container()
    site.put_ok(name, "secret", b"x")
    assert page(site, f"/{name}/secret").status == 404
    assert page(site, f"/../{name}/secret").status == 404
    assert page(site, "/", host="nobody12.web.localhost").status == 404
    assert page(site, "/", host="x.web.localhost").status == 404
    assert page(site, "/%ff").status == 400
    # The container itself is as private as before.
    r = site("GET", "/$web/index.html", sign=False)
    assert r.status == 404


def test_other_hosts_are_not_websites(site):
    for host in ("web.localhost", f"{wire.ACCOUNT}.localhost", "127.0.0.1"):
        r = site("GET", "/$web/index.html", host=host)
        assert (r.status, r.body) == (200, b"<h1>home</h1>"), host
