"""Service properties, CORS with preflight, account information."""
import datetime

import pytest
from wire import assert_error, assert_survives

RULE = ("<CorsRule><AllowedOrigins>{origins}</AllowedOrigins><AllowedMethods>{methods}</AllowedMethods>"
        "<MaxAgeInSeconds>{age}</MaxAgeInSeconds><ExposedHeaders>{exposed}</ExposedHeaders>"
        "<AllowedHeaders>{allowed}</AllowedHeaders></CorsRule>")


def rule(origins="http://example.org", methods="GET,PUT", age=60, exposed="x-ms-meta-*,ETag", allowed="x-ms-*,content-type"):
    return RULE.format(**locals())


def put(api, inner):
    body = f"<?xml version='1.0' encoding='utf-8'?><StorageServiceProperties>{inner}</StorageServiceProperties>"
    return api("PUT", "/?restype=service&comp=properties", body=body.encode())


def get(api):
    r = api("GET", "/?restype=service&comp=properties")
    assert r.status == 200, r
    return r.xml


@pytest.fixture
def cors(api):
    assert put(api, f"<Cors>{rule()}</Cors>").status == 202
    yield
    assert put(api, "<Cors/>").status == 202


def test_defaults(api):
    x = get(api)
    assert x.tag == "StorageServiceProperties"
    assert {"Logging", "HourMetrics", "MinuteMetrics", "Cors", "DeleteRetentionPolicy"} <= {e.tag for e in x}


def test_what_is_set_comes_back(api):
    inner = ("<Logging><Version>1.0</Version><Delete>true</Delete><Read>false</Read><Write>true</Write>"
             "<RetentionPolicy><Enabled>true</Enabled><Days>7</Days></RetentionPolicy></Logging>"
             "<HourMetrics><Version>1.0</Version><Enabled>true</Enabled><IncludeAPIs>true</IncludeAPIs>"
             "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></HourMetrics>" f"<Cors>{rule(age=77)}</Cors>")
    assert put(api, inner).status == 202
    x = get(api)
    assert x.findtext("Logging/Delete") == "true" and x.findtext("Logging/RetentionPolicy/Days") == "7"
    assert x.findtext("HourMetrics/IncludeAPIs") == "true"
    assert x.findtext("Cors/CorsRule/MaxAgeInSeconds") == "77"
    assert put(api, "<Cors/>").status == 202


def test_what_is_left_out_stays(api, cors):
    assert put(api, "<Logging><Version>1.0</Version><Delete>false</Delete><Read>false</Read><Write>false</Write>"
               "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>").status == 202
    assert get(api).findtext("Cors/CorsRule/AllowedOrigins") == "http://example.org"


@pytest.mark.parametrize("inner", [
    "<Cors>" + rule() * 6 + "</Cors>", "<Nonsense/>", f"<Cors>{rule(methods='FETCH')}</Cors>",
    f"<Cors>{rule(age='x')}</Cors>", f"<Cors>{rule(age=-1)}</Cors>", f"<Cors>{rule(origins='')}</Cors>",
    "<Logging><Version>1.0</Version><Delete>maybe</Delete></Logging>",
    "<DeleteRetentionPolicy><Enabled>true</Enabled><Days>0</Days></DeleteRetentionPolicy>",
    "<DeleteRetentionPolicy><Enabled>true</Enabled><Days>366</Days></DeleteRetentionPolicy>",
    "<DefaultServiceVersion>latest</DefaultServiceVersion>",
], ids=["six rules", "unknown", "method", "age text", "age negative", "no origin", "not boolean", "days 0", "days 366",
        "version"])
def test_refused(api, cors, inner):
    r = put(api, inner)
    assert r.status == 400 and r.code in ("InvalidXmlDocument", "InvalidXmlNodeValue", "UnsupportedXmlNode",
                                          "MissingRequiredXmlNode", "InvalidInput", "OutOfRangeInput"), r
    assert get(api).findtext("Cors/CorsRule/AllowedOrigins") == "http://example.org"


@pytest.mark.parametrize("body", [b"", b"x", b"<StorageServiceProperties>", b"<Other/>",
                                  b"<!DOCTYPE a><StorageServiceProperties/>", b"\xff\xfe"])
def test_malformed(api, connection, body):
    connection.send(api.build("PUT", "/?restype=service&comp=properties", body=body))
    r = connection.read()
    assert r.status == 400 and r.code in ("InvalidXmlDocument", "UnsupportedXmlNode", "MissingRequiredXmlNode"), r
    assert_survives(api, connection, r)


# ---- CORS

def preflight(api, path, origin="http://example.org", method="PUT", headers="x-ms-blob-type"):
    fields = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return api("OPTIONS", path, {n: v for n, v in fields.items() if v is not None}, sign=False, version=None)


def test_preflight(api, cors, container):
    r = preflight(api, f"/{container}/b")
    assert r.status == 200, r
    assert r.get("access-control-allow-origin") == "http://example.org"
    assert "PUT" in r.get("access-control-allow-methods")
    assert r.get("access-control-allow-headers") and r.get("access-control-max-age") == "60"
    assert r.get("access-control-allow-credentials") == "true"


@pytest.mark.parametrize("how", [{"origin": "http://evil.example"}, {"method": "DELETE"}, {"headers": "x-other"},
                                 {"origin": "http://example.org.evil.example"}, {"origin": "null"}])
def test_preflight_refused(api, cors, container, how):
    r = preflight(api, f"/{container}/b", **how)
    assert (r.status, r.code) == (403, "CorsPreflightFailure"), r
    assert r.get("access-control-allow-origin") is None


def test_preflight_without_rules(api, container):
    put(api, "<Cors/>")
    assert preflight(api, f"/{container}/b").status == 403


@pytest.mark.parametrize("how", [{"origin": None}, {"method": None}])
def test_preflight_needs_its_headers(api, cors, container, how):
    r = preflight(api, f"/{container}/b", **how)
    assert r.status == 400 and r.code in ("MissingRequiredHeader", "InvalidHeaderValue"), r


def test_actual_request(api, cors, container):
    api.put_ok(container, "b", b"x", {"x-ms-meta-a": "1"})
    r = api("GET", f"/{container}/b", {"Origin": "http://example.org"})
    assert r.get("access-control-allow-origin") == "http://example.org"
    assert "etag" in (r.get("access-control-expose-headers") or "").lower()
    assert "origin" in (r.get("vary") or "").lower()
    r = api("GET", f"/{container}/b", {"Origin": "http://evil.example"})
    assert r.status == 200 and r.get("access-control-allow-origin") is None
    assert api("GET", f"/{container}/b").get("access-control-allow-origin") is None


def test_errors_carry_cors_headers_too(api, cors, container):
    r = api("GET", f"/{container}/missing", {"Origin": "http://example.org"})
    assert r.status == 404 and r.get("access-control-allow-origin") == "http://example.org"


def test_wildcard(api, container):
    put(api, f"<Cors>{rule(origins='*', allowed='*', exposed='*')}</Cors>")
    try:
        assert preflight(api, f"/{container}/b", origin="http://anything.example").get("access-control-allow-origin") == "*"
        r = api("GET", f"/{container}?restype=container", {"Origin": "http://anything.example"})
        assert r.get("access-control-allow-origin") == "*"
    finally:
        put(api, "<Cors/>")


def test_first_matching_rule_counts(api, container):
    put(api, f"<Cors>{rule(origins='http://a.example', age=1)}{rule(origins='*', age=2)}</Cors>")
    try:
        assert preflight(api, f"/{container}/b", origin="http://a.example").get("access-control-max-age") == "1"
        assert preflight(api, f"/{container}/b", origin="http://b.example").get("access-control-max-age") == "2"
    finally:
        put(api, "<Cors/>")


# ---- account information and statistics

@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/?restype=account&comp=properties", "/{c}?restype=account&comp=properties",
                                  "/{c}/b?restype=account&comp=properties"])
def test_account_information(api, container, method, path):
    r = api(method, path.format(c=container))
    assert r.status == 200, r
    assert r.get("x-ms-sku-name") and r.get("x-ms-account-kind")


def test_account_information_needs_a_caller(api, container):
    assert_error(api("GET", "/?restype=account&comp=properties", sign=False), 401, "NoAuthenticationInformation")


def test_stats_of_the_secondary(api):
    """"Get Blob Service Stats": the shape, and a time in the form of RFC 1123 that is not in the future."""
    r = api("GET", "/?restype=service&comp=stats", base=f"/{api.account}-secondary")
    assert r.status == 200 and r.get("content-type") == "application/xml", r
    assert [(e.tag, [c.tag for c in e]) for e in r.xml] == [("GeoReplication", ["Status", "LastSyncTime"])]
    assert r.xml.tag == "StorageServiceStats" and r.xml.findtext("GeoReplication/Status") == "live"
    at = datetime.datetime.strptime(r.xml.findtext("GeoReplication/LastSyncTime"), "%a, %d %b %Y %H:%M:%S GMT")
    assert abs((datetime.datetime.utcnow() - at).total_seconds()) < 60


def test_stats_only_on_the_secondary(api):
    assert_error(api("GET", "/?restype=service&comp=stats"), 400, "InvalidQueryParameterValue", "secondary")


@pytest.mark.parametrize("path, code", [
    ("/?restype=service&comp=properties&timeout=x", "InvalidQueryParameterValue"),
    ("/?comp=list&maxresults=0", "OutOfRangeQueryParameterValue"),
    ("/?comp=list&timeout=-1", "InvalidQueryParameterValue")])
def test_refused_reads(api, path, code):
    assert_error(api("GET", path), 400, code)
