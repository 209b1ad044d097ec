"""Blob Batch: requests inside a request, each authorized and answered on its own."""

import pytest

from wire import VERSION, account_sas, assert_error, authorization, http_date, service_sas

BOUNDARY = "batch_357de4f7"


def part(api, target, method="DELETE", headers=(), content_id=0, sign=True, key=None):
    """One request of a batch, below the account. sign=False: the target has a token, or nothing."""
    target = f"/{api.account}{target}"
    headers = [("x-ms-date", http_date()), *headers]
    if sign:
        # x-ms-version is the outer request's and not part of what is signed
        headers.append(("Authorization", authorization(method, target, headers, api.account, key or api.key)))
    return (f"--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
            f"Content-ID: {content_id}\r\n\r\n{method} {target} HTTP/1.1\r\n" +
            "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n")


def body_of(*parts):
    return ("".join(parts) + f"--{BOUNDARY}--\r\n").encode()


def send(api, body, path="/?comp=batch", content_type=f"multipart/mixed; boundary={BOUNDARY}", **how):
    return api("POST", path, {"Content-Type": content_type} if content_type else {}, body, **how)


def answers(r):
    """[(content id, status, reason, headers, body)] of a batch's answer."""
    assert r.status == 202, r
    kind, _, boundary = r.get("content-type").partition("; boundary=")
    assert kind == "multipart/mixed" and boundary.startswith("batchresponse_")
    pieces = r.text.split(f"--{boundary}")
    assert pieces[0] == "" and pieces[-1] == "--\r\n", r
    out = []
    for piece in pieces[1:-1]:
        envelope, head, body = piece.removeprefix("\r\n").split("\r\n\r\n", 2)
        outer = dict(line.split(": ", 1) for line in envelope.split("\r\n"))
        assert outer["Content-Type"] == "application/http"
        line, *headers = head.split("\r\n")
        version, status, reason = line.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {n.lower(): v for n, v in (h.split(": ", 1) for h in headers)}
        body = body.removesuffix("\r\n")
        assert len(body) == int(headers.get("content-length", 0))
        out.append((outer.get("Content-ID"), int(status), reason, headers, body))
    return out


def test_deletes_and_says_what_became_of_each(api, container):
    for name in ("a", "b"):
        api.put_ok(container, name, b"x")
    r = send(api, body_of(part(api, f"/{container}/a", content_id=0), part(api, f"/{container}/nosuch", content_id=1),
                          part(api, f"/{container}/b", content_id=2)))
    first, missing, last = answers(r)
    for content_id, got in (("0", first), ("2", last)):
        assert got[:3] == (content_id, 202, "Accepted")
        assert got[3]["x-ms-delete-type-permanent"] == "true" and got[3]["x-ms-version"] == VERSION and got[4] == ""
    assert missing[:2] == ("1", 404) and missing[3]["x-ms-error-code"] == "BlobNotFound"
    assert missing[2] == "The specified blob does not exist." and "<Code>BlobNotFound</Code>" in missing[4]
    assert len({a[3]["x-ms-request-id"] for a in (first, missing, last)} | {r.get("x-ms-request-id")}) == 4
    assert not api.exists(container, "a") and not api.exists(container, "b")


def test_container_level(api, container):
    api.put_ok(container, "a", b"x")
    r = send(api, body_of(part(api, f"/{container}/a")), f"/{container}?restype=container&comp=batch")
    assert [a[1] for a in answers(r)] == [202]
    assert not api.exists(container, "a")


def test_account_level_as_the_javascript_sdk_asks(api, container):
    """It takes the account of a path-style address for a container."""
    r = send(api, body_of(part(api, f"/{container}/a")), "?restype=container&comp=batch")
    assert [a[1] for a in answers(r)] == [404]


def test_names_are_decoded(api, container):
    api.put_ok(container, "a b+c/ü", b"x")
    r = send(api, body_of(part(api, f"/{container}/a%20b%2Bc/%C3%BC")))
    assert [a[1] for a in answers(r)] == [202]
    assert not api.exists(container, "a b+c/ü")


def test_each_request_is_authorized_by_itself(api, container):
    """The outer signature lets nobody's request in; a token in a request's address does for that one."""
    for name in ("unsigned", "wrong", "reads", "sas"):
        api.put_ok(container, name, b"x")
    wrong = "A" * 86 + "=="
    r = send(api, body_of(
        part(api, f"/{container}/unsigned", content_id=0, sign=False),
        part(api, f"/{container}/wrong", content_id=1, key=wrong),
        part(api, f"/{container}/reads?" + service_sas(container, "reads", sp="r"), content_id=2, sign=False),
        part(api, f"/{container}/sas?" + service_sas(container, "sas", sp="d"), content_id=3, sign=False)))
    got = answers(r)
    assert [(a[1], a[3].get("x-ms-error-code")) for a in got] == [
        (401, "NoAuthenticationInformation"), (403, "AuthenticationFailed"), (403, "AuthorizationPermissionMismatch"),
        (202, None)]
    assert [api.exists(container, n) for n in ("unsigned", "wrong", "reads", "sas")] == [True, True, True, False]


def test_outer_request_is_authorized(api, container):
    api.put_ok(container, "a", b"x")
    body = body_of(part(api, f"/{container}/a"))
    assert_error(send(api, body, sign=False), 401, "NoAuthenticationInformation")
    assert_error(send(api, body, sas=service_sas(container, sp="d")), 403, "AuthenticationFailed")
    assert api.exists(container, "a")
    # of objects alone too: each request in it is authorized by itself
    r = send(api, body_of(part(api, f"/{container}/a", sign=False)), sas=account_sas(srt="o"))
    assert [a[3].get("x-ms-error-code") for a in answers(r)] == ["NoAuthenticationInformation"]
    r = send(api, body, f"/{container}?restype=container&comp=batch", sas=service_sas(container, sp="d"))
    assert [a[1] for a in answers(r)] == [202]


def test_conditions_hold(api, container):
    etag = api.put_ok(container, "a", b"x").get("etag")
    r = send(api, body_of(part(api, f"/{container}/a", headers=[("If-Match", '"0x1"')])))
    assert [(a[1], a[3]["x-ms-error-code"]) for a in answers(r)] == [(412, "ConditionNotMet")]
    assert api.exists(container, "a")
    r = send(api, body_of(part(api, f"/{container}/a", headers=[("If-Match", etag)])))
    assert [a[1] for a in answers(r)] == [202]


def test_256_requests_and_not_one_more(api, container):
    one = [part(api, f"/{container}/{i}", content_id=i) for i in range(257)]
    assert [a[1] for a in answers(send(api, body_of(*one[:256])))] == [404] * 256
    api.put_ok(container, "0", b"x")
    assert_error(send(api, body_of(*one)), 400, "ExceedsMaxBatchRequestCount", "256")
    assert api.exists(container, "0")


def test_counted_and_logged_as_requests(server, api, container):
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", server.port + 1)

    def deletes():
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines()
                   if line.startswith("strongroom_requests_total") and '"Delete Blob"' in line)
    before = deletes()
    answers(send(api, body_of(*[part(api, f"/{container}/{i}") for i in range(3)])))
    assert deletes() == before + 3
    connection.close()


def test_lines_may_end_in_bare_line_feeds_and_there_may_be_a_preamble(api, container):
    api.put_ok(container, "a", b"x")
    body = b"This is a message with multiple parts.\r\n" + body_of(part(api, f"/{container}/a")) + b"epilogue"
    assert [a[1] for a in answers(send(api, body.replace(b"\r\n", b"\n")))] == [202]


def test_quoted_boundary(api, container):
    r = send(api, body_of(part(api, f"/{container}/a")), content_type=f'multipart/mixed; boundary="{BOUNDARY}"')
    assert [a[1] for a in answers(r)] == [404]


@pytest.mark.parametrize("target, method", [("/{c}/x?comp=metadata", "PUT"), ("/{c}/x", "PUT"), ("/{c}/x", "GET"),
                                            ("/{c}?restype=container", "DELETE"), ("/?comp=batch", "POST")])
def test_other_operations_are_refused_and_nothing_is_done(api, container, target, method):
    api.put_ok(container, "a", b"x")
    r = send(api, body_of(part(api, f"/{container}/a"), part(api, target.format(c=container), method)))
    assert_error(r, 400, "InvalidInput")
    assert api.exists(container, "a")


def test_another_container_or_account(api, container):
    api.put_ok(container, "a", b"x")
    elsewhere = api.create_container()
    api.put_ok(elsewhere, "a", b"x")
    got = answers(send(api, body_of(part(api, f"/{elsewhere}/a")), f"/{container}?restype=container&comp=batch"))
    assert [(a[1], a[3].get("x-ms-error-code")) for a in got] == [(400, "InvalidInput")]
    assert api.exists(elsewhere, "a")
    account = body_of(part(api, f"/{container}/a"), part(api, "/c/a").replace(f"/{api.account}/c", "/otheraccount/c"))
    assert_error(send(api, account), 400, "InvalidInput", "account")
    assert api.exists(container, "a")


def test_space_before_the_boundary(api, container):
    api.put_ok(container, "a", b"x")
    r = send(api, body_of(part(api, f"/{container}/a")), content_type=f"multipart/mixed; Boundary= {BOUNDARY}")
    assert [a[1] for a in answers(r)] == [202]


def test_malformed_bodies(api, container):
    api.put_ok(container, "a", b"x")
    good = body_of(part(api, f"/{container}/a"))
    for bad in (b"", b"no boundary\r\n", f"--{BOUNDARY}--\r\n".encode(), good.removesuffix(b"--\r\n"),
                good.replace(b"Content-Type: application/http", b"Content-Type: text/plain"),
                good.replace(b"binary", b"base64"), good.replace(b" HTTP/1.1", b""), good.replace(b"HTTP/1.1", b"HTTP/2"),
                good.replace(b"DELETE ", b""), good.replace(b"x-ms-date: ", b"x-ms-date "),
                good.replace(b"x-ms-date", b"x ms date"), good.replace(b"\r\n\r\nDELETE", b"\r\nDELETE"),
                good.replace(b"x-ms-date", b"x-a: b\r\n" * 65 + b"x-ms-date"),
                good.replace(b"Content-ID: 0", b"Content-ID: " + b"0" * 257)):
        assert_error(send(api, bad), 400, "InvalidInput")
    assert api.exists(container, "a")


@pytest.mark.parametrize("content_type", [None, "application/json", "multipart/mixed", "multipart/mixed; boundary=",
                                          "multipart/mixed; boundary=" + "x" * 71, "multipart/mixed; boundary=a@b"])
def test_content_type(api, container, content_type):
    assert_error(send(api, body_of(part(api, f"/{container}/a")), content_type=content_type),
                 400, "InvalidHeaderValue", "content-type")


def test_body_of_at_most_4_mib(api, container):
    padding = b"x" * (4 * 1024 * 1024)
    assert_error(send(api, padding + body_of(part(api, f"/{container}/a"))), 413, "RequestBodyTooLarge")


def test_only_post(api):
    assert_error(api("PUT", "/?comp=batch"), 405, "UnsupportedHttpVerb")


def test_on_the_secondary(api, container):
    r = send(api, body_of(part(api, f"/{container}/a")), base=f"/{api.account}-secondary")
    assert_error(r, 403, "InsufficientAccountPermissions")


def test_a_part_with_an_invalid_address_fails_alone(api, container):
    api.put_ok(container, "a", b"x")
    r = send(api, body_of(part(api, f"/{container}/%ZZ", content_id=0), part(api, f"/{container}/a", content_id=1)))
    assert [(a[1], a[3].get("x-ms-error-code")) for a in answers(r)] == [(400, "InvalidUri"), (202, None)]
