#!/usr/bin/env python3
"""Prints auth_vectors.h: requests and tokens signed by Azure's own SDKs, to check our verification.

    pip install azure-storage-blob; npm install @azure/storage-blob      (somewhere outside the tree)
    NODE_PATH=.../node_modules python3 auth_vectors.py > auth_vectors.h

The account and its key are the public development ones. Shared Key Lite has no SDK any more: those vectors
are written from the reference ("Authorize with Shared Key") with the standard library.
"""
import base64
import datetime
import hashlib
import hmac
import json
import pathlib
import subprocess
import sys
import uuid
from unittest import mock
from urllib.parse import unquote, urlsplit

import azure.storage.blob as az
import azure.storage.blob._shared.policies as policies
from azure.core import MatchConditions
from azure.core.pipeline.transport import HttpTransport
from azure.storage.blob._shared_access_signature import BlobSharedAccessSignature

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
DATE = "Tue, 01 Dec 2026 12:00:00 GMT"
START = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
EXPIRY = datetime.datetime(2099, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc)
BASE = f"http://127.0.0.1:10000/{ACCOUNT}"
vectors = []


def add(name, method, url, headers, kind):
    vectors.append({"name": name, "method": method, "url": url, "headers": headers, "kind": kind})


class Captured(Exception):
    pass


class Transport(HttpTransport):
    """Keeps what would have been sent."""
    request = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def open(self):
        pass

    def close(self):
        pass

    def send(self, request, **_):
        self.request = request
        raise Captured


def capture(name, base, call):
    transport = Transport()
    service = az.BlobServiceClient(base, credential={"account_name": ACCOUNT, "account_key": KEY},
                                   transport=transport, retry_total=0, max_single_put_size=1024)
    with mock.patch.object(policies, "format_date_time", lambda _: DATE), \
            mock.patch.object(uuid, "uuid1", lambda: uuid.UUID(int=1)):
        try:
            call(service)
        except Captured:
            pass
    r = transport.request
    add("py " + name, r.method, r.url, list(r.headers.items()), "SHARED_KEY")


def python_requests():
    for base in BASE, f"https://{ACCOUNT}.blob.example.org", BASE + "-secondary":
        w = " host" if base.startswith("https") else " secondary" if base.endswith("secondary") else ""
        capture("get service properties" + w, base, lambda s: s.get_service_properties())
        capture("list containers" + w, base,
                lambda s: next(s.list_containers("Ä b+c", include_metadata=True, results_per_page=7).by_page()))
        capture("list blobs" + w, base,
                lambda s: next(s.get_container_client("records").list_blobs(
                    "a/ü%2F+ &", include=["metadata", "uncommittedblobs"], results_per_page=5).by_page()))
        capture("download range" + w, base,
                lambda s: s.get_blob_client("records", "dir/ä ö+%25#?.bin").download_blob(
                    offset=5, length=10, if_modified_since=START, validate_content=True))
        capture("properties etag" + w, base,
                lambda s: s.get_blob_client("records", "b").get_blob_properties(
                    etag='"0x8D"', match_condition=MatchConditions.IfModified))
    capture("create container", BASE, lambda s: s.create_container(
        "records", metadata={"z": "1", "a_b": "2", "ab": "3", "A1": "4"}, public_access="blob"))
    capture("metadata order", BASE, lambda s: s.get_blob_client("records", "b").set_blob_metadata(
        {"a": "1", "a_": "2", "_a": "3", "a0": "4", "a_1": "5", "aB": "6", "ab_c": "7", "abc": "8"}))
    capture("put blob", BASE, lambda s: s.get_blob_client("records", "b 1").upload_blob(
        b"hello", validate_content=True, metadata={"note": "two  spaces"}, content_settings=az.ContentSettings(
            content_type="text/plain", content_language="de", cache_control="no-cache, max-age=0")))
    capture("put empty blob", BASE, lambda s: s.get_blob_client("records", "e").upload_blob(b"", overwrite=True))
    capture("put block", BASE, lambda s: s.get_blob_client("records", "b").stage_block("//++", b"abc"))
    capture("put block list", BASE, lambda s: s.get_blob_client("records", "b").commit_block_list(
        [az.BlobBlock("//++")]))
    capture("delete", BASE, lambda s: s.get_blob_client("records", "b").delete_blob("include"))
    capture("set acl", BASE, lambda s: s.get_container_client("records").set_container_access_policy(
        {"p": az.AccessPolicy("rl", EXPIRY, START)}))


def python_tokens():
    blob_at = BASE + "/records/dir/%C3%A4%20b%2Bc"
    name = "dir/ä b+c"
    at = dict(start=START, expiry=EXPIRY, ip="127.0.0.1-127.0.0.9", protocol="https,http")
    headers = dict(cache_control="no-store", content_disposition='attachment; filename="x y.bin"',
                   content_encoding="gzip", content_language="de", content_type="text/plain; charset=utf-8")
    # The SDK has the newest layout only; it serves every version from 2020-12-06.
    for version in "2020-12-06", "2026-06-06", "2027-03-07":
        sas = BlobSharedAccessSignature(ACCOUNT, KEY)
        sas.x_ms_version = version

        def token(what, url, text, kind="SERVICE_SAS"):
            add(f"py {what} {version}", "GET", url + ("&" if "?" in url else "?") + text, [], kind)

        token("blob", blob_at, sas.generate_blob("records", name, permission="racwdxytmei", **at))
        token("blob headers", blob_at, sas.generate_blob("records", name, permission="r", **at, **headers))
        token("blob scope", blob_at, sas.generate_blob("records", name, permission="r", encryption_scope="s1", **at))
        token("snapshot", blob_at + "?snapshot=2026-01-02T03:04:05.0000001Z", sas.generate_blob(
            "records", name, snapshot="2026-01-02T03:04:05.0000001Z", permission="r", **at))
        token("version", blob_at + "?versionid=2026-01-02T03:04:05.0000001Z", sas.generate_blob(
            "records", name, version_id="2026-01-02T03:04:05.0000001Z", permission="r", **at))
        token("directory", blob_at, sas.generate_blob("records", "dir", permission="r", is_directory=True, **at))
        token("directory list", BASE + "/records?restype=container&comp=list&prefix=dir/",
              sas.generate_blob("records", "dir", permission="rl", is_directory=True, **at))
        token("policy", blob_at, sas.generate_blob("records", name, policy_id="readers"))
        token("container", BASE + "/records?restype=container&comp=list",
              sas.generate_container("records", permission="racwdxyltfmei", **at))
        token("container over blob", blob_at, sas.generate_container("records", permission="r", expiry="2099-01-01"))
        token("root container", BASE + "/$root/b", sas.generate_blob("$root", "b", permission="r", **at))
        for what, rest in ("account", {}), ("account scope", {"encryption_scope": "s1"}):
            token(what, BASE + "/?comp=list", sas.generate_account(
                "bqtf", "sco", "rwdxylacuptfi", EXPIRY, START, "127.0.0.1", "https,http", **rest), "ACCOUNT_SAS")


def lite():
    def sign(name, method, url, headers, comp=None):
        low = {k.lower(): v for k, v in headers}
        text = f"{method}\n{low.get('content-md5', '')}\n{low.get('content-type', '')}\n"
        text += ("" if "x-ms-date" in low else low["date"]) + "\n"
        text += "".join(f"{k}:{low[k]}\n" for k in sorted(low) if k.startswith("x-ms-"))
        text += f"/{ACCOUNT}{urlsplit(url).path}" + (f"?comp={comp}" if comp else "")
        mac = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
        headers = headers + [("Authorization", f"SharedKeyLite {ACCOUNT}:{base64.b64encode(mac).decode()}")]
        add("lite " + name, method, url, headers, "SHARED_KEY")

    sign("put", "PUT", BASE + "/records/b%201", [
        ("x-ms-date", DATE), ("x-ms-version", "2026-06-06"), ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="),
        ("Content-Type", "text/plain"), ("Content-Length", "5"), ("x-ms-blob-type", "BlockBlob")])
    sign("list", "GET", BASE + "?comp=list&prefix=a", [("Date", DATE), ("x-ms-version", "2009-09-19")], "list")
    sign("metadata", "GET", f"https://{ACCOUNT}.blob.example.org/records/b?comp=metadata&timeout=3", [
        ("Date", "Mon, 01 Jan 2001 00:00:00 GMT"), ("x-ms-date", DATE)], "metadata")


def by_hand():
    """What no SDK sends: the old Content-Length rule, folded space, joined headers, many values, byte order."""
    def sign(name, method, url, headers, text):
        mac = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
        add("hand " + name, method, url, headers + [
            ("Authorization", f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}")], "SHARED_KEY")

    sign("zero length before 2015-02-21", "PUT", BASE + "/records?restype=container",
         [("Content-Length", "0"), ("x-ms-date", DATE), ("x-ms-version", "2014-02-14")],
         f"PUT\n\n\n0\n\n\n\n\n\n\n\n\nx-ms-date:{DATE}\nx-ms-version:2014-02-14\n/{ACCOUNT}/{ACCOUNT}/records"
         "\nrestype:container")
    sign("date instead of x-ms-date", "GET", BASE + "/records/b", [("Date", DATE), ("Range", "bytes=0-5")],
         f"GET\n\n\n\n\n\n{DATE}\n\n\n\n\nbytes=0-5\n/{ACCOUNT}/{ACCOUNT}/records/b")
    sign("many values and folded space", "GET", BASE + "/records/b?Comp=y&comp=x&a=2%2C3&a=1",
         [("X-Ms-Meta-A", "1  \t2"), ("x-ms-meta-a", "3"), ("X-MS-Date", DATE)],
         f"GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{DATE}\nx-ms-meta-a:1 2,3\n/{ACCOUNT}/{ACCOUNT}/records/b"
         "\na:1,2,3\ncomp:x,y")
    sign("headers in byte order", "GET", BASE + "/records/b",
         [("x-ms-meta-ab", "1"), ("x-ms-meta-a_b", "2"), ("x-ms-meta-a-b", "3"), ("x-ms-date", DATE)],
         f"GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{DATE}\nx-ms-meta-a-b:3\nx-ms-meta-a_b:2\nx-ms-meta-ab:1\n"
         f"/{ACCOUNT}/{ACCOUNT}/records/b")


def javascript():
    script = pathlib.Path(__file__).with_name("auth_vectors.js")
    out = subprocess.run(["node", script, ACCOUNT, KEY, DATE], check=True, capture_output=True, text=True).stdout
    vectors.extend(json.loads(line) for line in out.splitlines())


def c_string(s):
    text = "".join(c if 32 <= ord(c) < 127 and c not in '"\\' else
                   {'"': '\\"', "\\": "\\\\", "\n": "\\n"}.get(c) or "".join(f"\\{b:03o}" for b in c.encode())
                   for c in s)
    return f'"{text}"'


def where(url):
    """Container and blob that the URL addresses, decoded."""
    parts = urlsplit(url)
    path = parts.path.lstrip("/")
    if parts.scheme == "http":
        path = path.partition("/")[2]
    container, _, blob = path.partition("/")
    return unquote(container), unquote(blob)


def main():
    python_requests()
    python_tokens()
    lite()
    by_hand()
    javascript()
    print("/* Written by auth_vectors.py: requests signed by azure-storage-blob (py), @azure/storage-blob (js), and "
          "by hand.\n * Do not edit. */\n/* clang-format off */")
    print("static const auth_vector auth_vectors[] = {")
    for v in vectors:
        parts = urlsplit(v["url"])
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        container, blob = where(v["url"])
        low = [(n, x) for n, x in v["headers"]
               if n.lower() in ("authorization", "date", "range") or n.lower().startswith(("x-ms-", "content-", "if-"))]
        headers = "".join(f"{n}: {x}\n" for n, x in low)
        print(f'{{{c_string(v["name"])}, {c_string(v["method"])},\n {c_string(target)},\n {c_string(headers)},\n '
              f'{c_string(container)}, {c_string(blob)}, {"true" if "-secondary" in parts.path else "false"}, '
              f'AUTH_{v["kind"]}}},')
    print("};\n/* clang-format on */")
    print(f"{len(vectors)} vectors", file=sys.stderr)


if __name__ == "__main__":
    main()
