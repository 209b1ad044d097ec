"""The record of accesses: every request leaves one entry, allowed or refused, and no entry names anyone."""
import csv
import io
import json
import pathlib
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import xml.etree.ElementTree as ElementTree

import pytest
import wire
from wire import assert_error

SECRET_NAMES = ("meier-1971-04-02", "ward-seven")


@pytest.fixture
def api(own):
    a = wire.Api(own)
    yield a
    a.close()


def entries(server, *flags, first=0):
    """The entries from `first` on, opened; those of listing the record itself left out."""
    r = subprocess.run([server.program, "audit", "search", "--open", "--from", str(first), "--data", server.folder, *flags],
                       text=True, capture_output=True, timeout=wire.TIMEOUT_S)
    assert r.returncode == 0, r.stderr
    found = [json.loads(line) for line in r.stdout.splitlines()]
    assert [e["index"] for e in found] == list(range(first, first + len(found)))
    return [e for e in found if e["entry"]["action"] != "audit search"]


def mark(server):
    """Where the record ends now."""
    r = subprocess.run([server.program, "audit", "search", "--json", "--count", "1", "--data", server.folder], text=True,
                       capture_output=True, timeout=wire.TIMEOUT_S)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)["size"]


def by_request(found):
    ids = [e["entry"]["client"]["request"] for e in found if "client" in e["entry"]]
    assert len(ids) == len(set(ids)), "two entries of one request"
    return {e["entry"]["client"]["request"]: e for e in found if "client" in e["entry"]}


def test_what_the_server_does_by_itself_leaves_entries(own, api):
    """A lifecycle policy's deletion and the end of a copy; expiry and purges stand in tests/unit/store_entry_test.c."""
    start, name = mark(own), api.create_container()
    api.put_ok(name, "old", b"abc")
    policy = {"rules": [{"name": "sweep", "enabled": True, "type": "Lifecycle", "definition": {
        "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"{name}/old"]},
        "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 0}}}}}]}
    for words in (["set", wire.ACCOUNT, "-"], ["run", wire.ACCOUNT], ["remove", wire.ACCOUNT]):
        r = subprocess.run([own.program, "lifecycle", *words, "--data", own.folder], text=True, capture_output=True,
                           input=json.dumps(policy), timeout=wire.TIMEOUT_S)
        assert r.returncode == 0, r.stderr
    assert not api.exists(name, "old")
    ids = [wire.block_id(i) for i in range(3)]
    for block in ids:
        api("PUT", f"/{name}/large?comp=block&blockid={block}", (), b"x" * (8 << 20))
    assert api("PUT", f"/{name}/large?comp=blocklist", (), wire.block_list(*(("Latest", i) for i in ids))).status == 201
    source = f"http://127.0.0.1:{own.port}/{wire.ACCOUNT}/{name}/large"
    r = api("PUT", f"/{name}/copy", {"x-ms-copy-source": source})
    assert (r.status, r.get("x-ms-copy-status")) == (202, "pending"), r
    end = time.monotonic() + wire.TIMEOUT_S
    while api("HEAD", f"/{name}/copy").get("x-ms-copy-status") == "pending" and time.monotonic() < end:
        time.sleep(0.02)
    deeds = [e for e in entries(own, first=start) if e["entry"]["actor"]["kind"] == "server"]
    deletion, copied = deeds
    assert (deletion["entry"]["action"], deletion["entry"]["class"]) == ("Delete Blob", "erasure")
    assert deletion["entry"]["decision"] == "lifecycle policy" and deletion["entry"]["object"]["bytes"] == 3
    assert deletion["opening"]["blob"] == "old" and deletion["opening"]["actor"] == "sweep"
    assert (copied["entry"]["action"], copied["entry"]["class"]) == ("Copy Blob", "collection")
    assert copied["entry"]["decision"] == "pending copy" and copied["entry"]["object"]["bytes"] == 24 << 20
    assert copied["opening"]["blob"] == "copy" and copied["entry"]["outcome"] == {"result": "ok"}


def test_each_request_leaves_one_entry(own, api):
    start = mark(own)
    name = api.create_container()
    answers = [
        ("Put Blob", "ok", api.put(name, "a", b"x" * 100)),
        ("Put Blob", "ok", api.put(name, "large", b"y" * 300000)),
        ("Get Blob", "ok", api("GET", f"/{name}/a")),
        ("Get Blob", "ok", api("GET", f"/{name}/large")),
        ("Get Blob Properties", "ok", api("HEAD", f"/{name}/a")),
        ("List Blobs", "ok", api("GET", f"/{name}?restype=container&comp=list")),
        ("Get Blob", "refused", api("GET", f"/{name}/none")),
        ("Get Blob", "refused", api("GET", f"/{name}/a", {"If-None-Match": "*"})),
        ("Put Blob", "refused", api.put(name, "a", b"z", {"If-None-Match": "*"})),
        ("Get Blob", "refused", api("GET", f"/{name}/a", key=wire.KEY[::-1].replace("=", "A")[:86] + "==")),
        ("Get Blob", "refused", api("GET", f"/{name}/a", sign=False)),
        ("Get Blob", "refused", api("GET", f"/{name}/a", sas=wire.account_sas(sp="w"))),
        ("unknown", "refused", api("PUT", f"/{name}/a?comp=nonsense")),
        ("Set Blob Metadata", "ok", api("PUT", f"/{name}/a?comp=metadata", {"x-ms-meta-k": "v"})),
        ("Get Blob Service Properties", "ok", api("GET", "/?restype=service&comp=properties")),
        ("Delete Blob", "ok", api("DELETE", f"/{name}/a")),
        ("Delete Container", "ok", api("DELETE", f"/{name}?restype=container")),
    ]
    found = by_request(entries(own, first=start))
    for action, result, answer in answers:
        e = found.pop(answer.get("x-ms-request-id"))
        assert e["entry"]["action"] == action, (action, answer)
        assert e["entry"]["outcome"]["result"] == result, (action, answer)
        assert str(e["index"]) == answer.get("x-strongroom-record"), (action, answer)
        if result == "refused":
            assert e["entry"]["outcome"]["status"] == answer.status
            assert e["entry"]["outcome"]["code"] == answer.get("x-ms-error-code", e["entry"]["outcome"]["code"])
    assert [e["entry"]["action"] for e in found.values()] == ["Create Container"]


def test_what_an_entry_says(own, api):
    start = mark(own)
    name = api.create_container()
    put = api.put_ok(name, "dir/b", b"hello", {"x-ms-purpose": "TREAT; follow-up of 3 May"})
    api("GET", f"/{name}/dir/b", sas=wire.account_sas(sp="r"))
    e, g = entries(own, first=start)[1:3]
    entry, opening = e["entry"], e["opening"]
    assert entry["class"] == "collection" and entry["actor"]["kind"] == "key" and entry["decision"] == "account key"
    assert entry["object"]["bytes"] == 5 and entry["object"]["etag"] == put.get("etag").strip('"')
    assert entry["object"]["md5"] == wire.md5(b"hello")
    assert entry["client"]["network"] == "127.0.0.0/24"
    assert entry["purpose"]["code"] == "TREAT"
    assert opening["blob"] == "dir/b" and opening["container"] == name and opening["account"] == wire.ACCOUNT
    assert opening["actor"] == f"key 1 of {wire.ACCOUNT}" and opening["address"] == "127.0.0.1"
    assert opening["reason"] == "follow-up of 3 May"
    import hashlib
    for what, salt, commitment in (("blob", "name_salt", entry["object"]["name"]),
                                   ("reason", "reason_salt", entry["purpose"]["reason"])):
        value = opening[what].encode()
        assert hashlib.sha256(bytes.fromhex(opening[salt]) + value).hexdigest() == commitment
    # The same blob and the same caller, but another commitment; the token is another actor than the key.
    assert g["entry"]["object"]["name"] != entry["object"]["name"]
    assert g["entry"]["object"]["container"] == entry["object"]["container"]
    assert g["entry"]["actor"]["kind"] == "sas" and g["entry"]["actor"]["id"] != entry["actor"]["id"]
    assert g["entry"]["decision"] == "token, permissions r"
    # RFC 9562: the id's time is the entry's, to the millisecond.
    ms = int(entry["id"].replace("-", "")[:12], 16)
    assert time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) == entry["time"][:19]


def test_a_purpose_that_is_none(api):
    name = api.create_container()
    for bad in ("two words", "", "x" * 65, "A;" + "r" * 1025):
        assert_error(api("GET", f"/{name}?restype=container", {"x-ms-purpose": bad}), 400, "InvalidHeaderValue")


def test_no_entry_names_anyone(own, api):
    """Entries are what outsiders may see: of names, addresses and keys nothing stands there."""
    start = mark(own)
    name = api.create_container()
    for blob in SECRET_NAMES:
        api.put_ok(name, blob, b"content of " + blob.encode(), {"x-ms-meta-patient": "erika", "x-ms-tags": "illness=flu",
                                                                "x-ms-purpose": "TREAT; because of erika"})
        api("GET", f"/{name}/{blob}")
        api("GET", f"/{name}/{blob}", sas=wire.service_sas(name, blob, sp="r"))
        api("GET", f"/{name}/{blob}-none")
    public = "\n".join(json.dumps(e["entry"]) for e in entries(own, first=start))
    assert len(public) > 4000
    for secret in (*SECRET_NAMES, name, wire.ACCOUNT, wire.KEY, "127.0.0.1", "erika", "illness", "flu", "sig="):
        assert secret not in public, secret
    opened = json.dumps([e["opening"] for e in entries(own, first=start)])
    for told in (*SECRET_NAMES, name, "127.0.0.1", "because of erika"):
        assert told in opened
    assert wire.KEY not in opened and "sig=" not in opened


def test_openings_go_with_their_container(own, api):
    start = mark(own)
    name = api.create_container()
    api.put_ok(name, "b", b"x")
    assert entries(own, first=start)[1]["opening"]["blob"] == "b"
    api("DELETE", f"/{name}?restype=container")
    found = entries(own, first=start)
    assert found[1]["opening"] == "destroyed" and found[1]["entry"]["action"] == "Put Blob"


def test_refused_before_it_is_read(own, api):
    """Requests that never come to an operation: a broken head, a body that is refused while it comes."""
    start = mark(own)
    name = api.create_container()
    seen = []
    for head in (b"GET /devstoreaccount1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                 b"PUT /devstoreaccount1/x/y HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nContent-Length: 11\r\n\r\n"):
        with wire.Connection(own.port) as c:
            c.send(head)
            answer = c.read()
            assert answer.status == 400
            seen.append(answer.get("x-ms-request-id"))
    with wire.Connection(own.port) as c:
        data = api.build("PUT", f"/{name}/b", {"x-ms-blob-type": "BlockBlob", "If-Match": '"0x1"'}, b"x" * (3 << 20),
                         key=wire.KEY.replace("E", "F"))
        c.send(data[:1 << 20])
        answer = c.read("PUT")
        assert answer.status == 403
        seen.append(answer.get("x-ms-request-id"))
    found = by_request(entries(own, first=start))
    for one in seen:
        if one is not None:  # libmicrohttpd answers some broken heads itself
            assert found[one]["entry"]["outcome"]["result"] == "refused"
            assert found[one]["entry"]["class"] == "refused"
    assert seen[-1] is not None


def test_names_longer_than_any_valid_one(own, api):
    """Whoever asks, and whatever for: the entry is made of what the request says before it is looked at."""
    start = mark(own)
    long = "x" * 14000
    seen = []
    for path, host in ((f"/{wire.ACCOUNT}/c/{long}", None), (f"/{wire.ACCOUNT}/{long}/b", None), (f"/{wire.ACCOUNT}/{long}", None),
                       (f"/{long}/c/b", None), (f"/{wire.ACCOUNT}/c/" + "%E2%82%AC" * 1500, None), ("/", long + ".web.localhost"),
                       ("/" + long, f"{wire.ACCOUNT}.web.localhost"), ("/", "\xff.web.localhost")):
        r = api("GET", "", base=path, sign=False, host=host)
        assert 400 <= r.status < 500, (path[:40], host and host[:40], r)
        seen.append(r.get("x-ms-request-id"))
    r = subprocess.run([own.program, "account", "show", "n" * 100000, "--data", own.folder], text=True, capture_output=True,
                       timeout=wire.TIMEOUT_S)
    assert r.returncode == 1 and own.alive()
    found = by_request(entries(own, first=start))
    assert all(found[one]["entry"]["outcome"]["result"] == "refused" for one in seen)
    assert found[seen[0]]["opening"]["blob"] == "x" * 3072
    assert found[seen[4]]["opening"]["blob"] == "\u20ac" * 1024


def test_batches_and_copies(own, api):
    start = mark(own)
    name = api.create_container()
    for i in range(3):
        api.put_ok(name, f"b{i}", b"x" * i)
    boundary = "batch_1"
    parts = ""
    for i in range(2):
        headers = [("x-ms-date", wire.http_date()), ("x-ms-version", wire.VERSION), ("Content-Length", "0")]
        target = f"/{wire.ACCOUNT}/{name}/b{i}"
        headers.append(("Authorization", wire.authorization("DELETE", target, headers)))
        parts += (f"--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
                  f"Content-ID: {i}\r\n\r\nDELETE {target} HTTP/1.1\r\n" +
                  "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n")
    batch = api("POST", f"/{name}?restype=container&comp=batch",
                {"Content-Type": f"multipart/mixed; boundary={boundary}"}, (parts + f"--{boundary}--\r\n").encode())
    assert batch.status == 202 and batch.body.count(b" 202 ") == 2
    source = f"http://127.0.0.1:{own.port}/{wire.ACCOUNT}/{name}/b2?" + wire.account_sas(sp="r")
    copy = api("PUT", f"/{name}/copy", {"x-ms-copy-source": source, "x-ms-requires-sync": "true"})
    assert copy.status == 202
    actions = [(e["entry"]["action"], e["opening"].get("blob")) for e in entries(own, first=start)]
    assert actions[4:] == [("Delete Blob", "b0"), ("Delete Blob", "b1"), ("Submit Batch", None), ("Get Blob", "b2"),
                           ("Copy Blob From URL", "copy")]


def test_operators_leave_entries(own):
    start = mark(own)

    def run(*words, code=0):
        r = subprocess.run([own.program, *words, "--data", own.folder], text=True, capture_output=True,
                           timeout=wire.TIMEOUT_S)
        assert r.returncode == code, r.stderr

    run("account", "create", "cardiology")
    run("key", "show", "cardiology")
    run("account", "set", "cardiology", "versioning=on")
    run("container", "create", "cardiology", "scans")
    run("container", "set", "cardiology", "scans", "hold=case7")
    run("scope", "create", "cardiology", "ward7")
    run("account", "show", "nobody", code=1)
    run("account", "rotate", "cardiology", "--key", "2")
    found = entries(own, first=start)
    assert [(e["entry"]["action"], e["entry"]["class"], e["entry"]["outcome"]["result"]) for e in found] == [
        ("account create", "admin", "ok"), ("key show", "key", "ok"), ("account set", "policy", "ok"),
        ("container create", "admin", "ok"), ("container set", "policy", "ok"), ("scope create", "key", "ok"),
        ("account show", "consultation", "refused"), ("account rotate", "key", "ok")]
    assert all(e["entry"]["actor"]["kind"] == "operator" for e in found)
    assert found[3]["opening"] == {"account": "cardiology", "container": "scans"}
    assert found[5]["opening"].items() >= {"account": "cardiology", "blob": "ward7"}.items()
    assert "cardiology" not in json.dumps([e["entry"] for e in found])


def test_listing_is_recorded(own):
    start = mark(own)
    mark(own)
    r = subprocess.run([own.program, "audit", "search", "--from", str(start), "--data", own.folder], text=True,
                       capture_output=True, timeout=wire.TIMEOUT_S)
    found = [json.loads(line)["entry"] for line in r.stdout.splitlines()]
    assert found and all(e["action"] == "audit search" and e["class"] == "oversight" for e in found)


def test_answers_outlive_kill_9_in_the_record():
    """Whatever was answered, reads and refusals included, is in the record after the server was killed."""
    own = wire.Server()
    answered, lock = set(), threading.Lock()
    stop = threading.Event()
    first = wire.Api(own)
    name = first.create_container()
    first.put_ok(name, "b", b"x" * 1000)

    def client(n):
        api = wire.Api(own)
        i = 0
        while not stop.is_set():
            i += 1
            try:
                kind = i % 4
                r = (api("GET", f"/{name}/b") if kind == 0 else api("GET", f"/{name}/none") if kind == 1 else
                     api.put(name, f"p{n}-{i}", b"y" * (i % 50)) if kind == 2 else api("HEAD", f"/{name}/b", sign=False))
            except (wire.Closed, OSError):
                return
            with lock:
                answered.add(r.get("x-ms-request-id"))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    while len(answered) < 1500:
        time.sleep(0.02)
    own.process.send_signal(signal.SIGKILL)
    own.process.wait()
    stop.set()
    for t in threads:
        t.join()
    found = by_request(entries(own))
    missing = answered - set(found)
    assert not missing, f"{len(missing)} of {len(answered)} answered requests left no entry"
    # One to one: a put that has an entry is there, and one that is there has its entry.
    put = {e["opening"]["blob"] for e in found.values()
           if e["entry"]["action"] == "Put Blob" and e["entry"]["outcome"]["result"] == "ok"}
    check = subprocess.run([own.program, "check", "--data", own.folder], text=True, capture_output=True,
                           timeout=wire.TIMEOUT_S)
    assert check.returncode == 0, check.stdout + check.stderr
    blobs = int(re.search(r"clean: (\d+) blobs", check.stdout.replace(",", "")).group(1))
    assert blobs == len(put)
    own.stop()


def operate(server, *words):
    r = subprocess.run([server.program, *words, "--data", server.folder], text=True, capture_output=True,
                       timeout=wire.TIMEOUT_S)
    return r.returncode, r.stdout + r.stderr


# ---- looking for entries ----------------------------------------------------------------------------------------------

def search(server, *flags, command="search"):
    code, out = operate(server, "audit", command, *flags)
    assert code == 0, out
    return out


def found_by(server, start, *flags):
    return [json.loads(line) for line in search(server, "--from", str(start), *flags).splitlines()]


@pytest.fixture(scope="module")
def busy(own):
    """What somebody did, and from which entry on."""
    api, start = wire.Api(own), mark(own)
    one, two = api.create_container(), api.create_container()
    api.put_ok(one, 'a "b"/c', b"abc", {"x-ms-purpose": "TREAT; visit"})
    api.put_ok(two, "=1+1", b"abc")
    for name, blob in ((one, "a%20%22b%22/c"), (two, "%3D1%2B1"), (one, "none")):
        api("GET", f"/{name}/{blob}", {"x-ms-purpose": "RESEARCH; study"})
    api("DELETE", f"/{two}/%3D1%2B1", sas=wire.account_sas(), sign=False)
    api.close()
    return own, start, one, two


def test_entries_are_found_by_what_they_say(busy):
    own, start, one, two = busy
    this = ["--account", wire.ACCOUNT, "--container"]

    def actions(*flags):
        return [e["entry"]["action"] for e in found_by(own, start, *flags) if not e["entry"]["action"].startswith("audit")]
    assert actions("--class", "erasure") == ["Delete Blob"]
    assert actions("--action", "Get Blob") == ["Get Blob"] * 3
    assert actions("--action", "Get Blob", "--result", "refused") == ["Get Blob"]
    assert actions("--purpose", "TREAT") == ["Put Blob"] and actions("--purpose", "TREA") == []
    assert actions(*this, one) == ["Create Container", "Put Blob", "Get Blob", "Get Blob"]
    assert actions(*this, two, "--blob", "=1+1") == ["Put Blob", "Get Blob", "Delete Blob"]
    assert actions(*this, one, "--blob", 'a "b"/c', "--class", "consultation") == ["Get Blob"]
    assert actions("--actor", f"key 1 of {wire.ACCOUNT}") and not actions("--actor", "nobody")
    assert len(actions("--since", "2026-01-01")) == 8 and not actions("--until", "2026-01-01")
    middle = found_by(own, start)[4]["entry"]["time"]
    assert len(actions("--since", middle)) + len(actions("--until", middle)) == 8
    assert len(found_by(own, start, "--count", "2")) == 2
    for flags, says in ((["--blob", "x"], "say which one"), (["--container", "x"], "say which one"),
                        (["--since", "now"], "a time in UTC"), (["--from", "x"], "a number")):
        code, out = operate(own, "audit", "search", *flags)
        assert code == 1 and says in out, out


def test_a_search_is_recorded_with_what_it_was_for(busy):
    own, _, one, _ = busy
    start = mark(own)
    search(own, "--account", wire.ACCOUNT, "--container", one, "--blob", "b")
    e, = (e for e in found_by(own, start, "--open", "--action", "audit search") if "blob" in e["opening"])
    assert e["entry"]["class"] == "oversight"
    assert e["opening"]["container"] == one and e["opening"]["blob"] == "b"


def test_entries_are_shown_as_they_come(busy, api):
    own, _, one, _ = busy
    watch = subprocess.Popen([own.program, "audit", "watch", "--open", "--action", "Get Blob", "--data", own.folder],
                             stdout=subprocess.PIPE, text=True)
    seen, deadline = [], time.monotonic() + wire.TIMEOUT_S
    reader = threading.Thread(target=lambda: seen.extend(json.loads(line) for line in watch.stdout), daemon=True)
    reader.start()
    while not seen and time.monotonic() < deadline:
        api("GET", f"/{one}/watched")
        time.sleep(0.2)
    end = mark(own)
    time.sleep(1)
    after = mark(own)
    watch.terminate()
    watch.wait(wire.TIMEOUT_S)
    reader.join(wire.TIMEOUT_S)
    assert seen and all(e["opening"]["blob"] == "watched" for e in seen)
    assert after - end <= 2, "watching what does not happen fills the record"


def test_exports_can_be_read_by_others(busy):
    own, start, one, two = busy
    flags = ("--from", str(start), "--open", "--account", wire.ACCOUNT)

    def exported(name):
        return search(own, "--format", name, *flags, command="export")
    rows = list(csv.DictReader(io.StringIO(exported("csv"))))
    kept = [r for r in rows if r["container"] in (one, two)]
    assert [r["action"] for r in kept][:4] == ["Create Container", "Create Container", "Put Blob", "Put Blob"]
    assert kept[2]["blob"] == 'a "b"/c' and kept[2]["reason"] == "visit" and kept[2]["bytes"] == "3"
    assert kept[3]["blob"] == "'=1+1"  # no formula

    azure = [json.loads(line) for line in exported("azure").splitlines()]
    by_name = {}
    for e in azure:
        by_name.setdefault(e["operationName"], []).append(e)
    get = by_name["GetBlob"][0]
    assert get["category"] == "StorageRead" and get["statusCode"] == 200 and get["statusText"] == "Success"
    assert get["properties"]["objectKey"] == f'/{wire.ACCOUNT}/{one}/a "b"/c' and get["callerIpAddress"] == "127.0.0.1"
    assert get["uri"].endswith(f"/{wire.ACCOUNT}/{one}/a%20%22b%22/c")
    assert by_name["GetBlob"][2]["statusText"] == "BlobNotFound"
    assert by_name["DeleteBlob"][0]["category"] == "StorageDelete" and by_name["DeleteBlob"][0]["identity"]["type"] == "SAS Key"

    name = "{http://www.loc.gov/premis/v3}"
    root = ElementTree.fromstring(exported("premis"))
    events = root.findall(name + "event")
    assert root.tag == name + "premis" and len(events) >= 8
    put = next(e for e in events if e.findtext(f"{name}eventDetailInformation/{name}eventDetail") == "Put Blob")
    assert [c.tag.replace(name, "") for c in put] == [
        "eventIdentifier", "eventType", "eventDateTime", "eventDetailInformation", "eventOutcomeInformation",
        "linkingAgentIdentifier", "linkingObjectIdentifier"]
    assert put.findtext(name + "eventType") == "ingestion"

    fhir = [json.loads(line) for line in exported("fhir").splitlines()]
    read = next(e for e in fhir if e["subtype"][1]["code"] == "Get Blob")
    assert read["action"] == "R" and read["purposeOfEvent"][0]["coding"][0]["code"] == "RESEARCH"
    assert read["meta"]["profile"][0].endswith("IHE.BasicAudit.Read") and read["outcome"] == "0"
    refused = next(e for e in fhir if e["outcome"] == "4")
    assert "meta" not in refused and refused["outcomeDesc"]
    closed = search(own, "--format", "csv", "--from", str(start), command="export")
    for secret in (one, two, 'b""/c', "127.0.0.1", "visit"):
        assert secret not in closed
    assert operate(own, "audit", "export", "--format", "pdf")[0] == 1


def test_a_blobs_history_is_proved_to_somebody_else(own, api, tmp_path):
    """With the log's key alone: what was done to the blob, in its names, and that it was erased."""
    name = api.create_container()
    for blob in ("patients/7.json", "patients/8.json"):
        api.put_ok(name, blob, b"abc", {"x-ms-purpose": "TREAT; visit"})
        assert api("GET", f"/{name}/{blob}").status == 200
    assert api("DELETE", f"/{name}/patients/7.json").status == 202
    end, key = mark(own), operate(own, "audit", "key")[1].strip()
    checkpoint = pathlib.Path(own.folder, "log/checkpoint")
    deadline = time.monotonic() + wire.TIMEOUT_S
    while not checkpoint.exists() or int(checkpoint.read_text().split("\n")[1]) < end:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    which = ["--account", wire.ACCOUNT, "--container", name, "--blob", "patients/7.json"]
    history = search(own, *which, command="receipts")
    lines = [json.loads(line) for line in history.splitlines()]
    assert len(lines) == 3 and all(x["opening"]["blob"] == "patients/7.json" for x in lines)
    file = tmp_path / "history"

    def check(text, *flags):
        file.write_text(text)
        r = subprocess.run([own.program, "audit", "check", str(file), "--key", key, *flags], capture_output=True, text=True)
        return r.returncode, r.stdout, r.stderr
    code, out, err = check(history)
    assert code == 0 and "genuine: 3 entries" in err
    assert [json.loads(x.rsplit("}  ", 1)[0] + "}")["action"] for x in out.splitlines()] == ["Put Blob", "Get Blob", "Delete Blob"]
    assert out.count(f"{wire.ACCOUNT}/{name}/patients/7.json") == 3
    erased = search(own, *which, "--class", "erasure", command="receipts")
    assert check(erased)[0] == 0 and check(erased)[1].startswith('{"action":"Delete Blob"')
    for change in (lambda x: x["opening"].update(blob="patients/8.json"), lambda x: x["opening"].update(name_salt="00" * 16),
                   lambda x: x["opening"].update(reason="nothing"), lambda x: x.update(receipt=lines[1]["receipt"])):
        forged = json.loads(json.dumps(lines[0]))
        change(forged)
        code, _, err = check(json.dumps(forged) + "\n")
        assert code == 1, err
    assert check("{}\n")[0] == 2 and check("{nonsense\n")[0] == 2


# ---- purposes ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def strict(own, api):
    """A container that asks for a purpose, with one blob."""
    name = api.create_container()
    api.put_ok(name, "b", b"abc", {"x-ms-tags": "kind=secret"})
    assert operate(own, "container", "set", wire.ACCOUNT, name, "purpose=required")[0] == 0
    return name


WHY = {"x-ms-purpose": "TREAT; visit of 3 May"}


def test_a_container_can_ask_for_a_purpose(own, api, strict):
    path = f"/{strict}/b"
    for method, target in (("GET", path), ("HEAD", path), ("DELETE", path), ("PUT", path + "?comp=metadata"),
                           ("GET", f"/{strict}?restype=container&comp=list"), ("DELETE", f"/{strict}?restype=container"),
                           ("GET", f"/{strict}?restype=container&comp=blobs&where=kind%3D'secret'")):
        r = api(method, target)
        assert_error(r, 403, "PurposeRequired", head=method == "HEAD")
        assert api(method, target, {"x-ms-purpose": ""}).status == 400
    assert_error(api.put(strict, "c", b"x"), 403, "PurposeRequired", says="x-ms-purpose")
    assert_error(api("GET", path, sas=wire.account_sas(), sign=False), 403, "PurposeRequired")
    assert api("GET", path, WHY).body == b"abc"
    assert api.put(strict, "c", b"x", WHY).status == 201
    r = api("GET", path)
    refused = by_request(entries(own))[r.get("x-ms-request-id")]["entry"]
    assert refused["class"] == "refused" and refused["outcome"]["code"] == "PurposeRequired"
    assert operate(own, "container", "set", wire.ACCOUNT, strict, "purpose=sometimes")[0] != 0
    assert operate(own, "container", "set", wire.ACCOUNT, strict, "purpose=optional")[0] == 0
    assert api("GET", path).body == b"abc"


def test_no_way_around_the_purpose(own, api, strict):
    """As the source of a copy, as a part of a batch, through a search of the account."""
    source = {"x-ms-copy-source": f"http://127.0.0.1:{own.port}/{wire.ACCOUNT}/{strict}/b"}
    other = api.create_container()
    for extra in ({}, {"x-ms-requires-sync": "true"}, {"x-ms-blob-type": "BlockBlob"}):
        r = api("PUT", f"/{other}/copy", source | extra)
        assert r.status == 403, (extra, r)
        assert not api.exists(other, "copy")
    assert api("PUT", f"/{other}/copy", source | WHY).status == 202

    def found(headers):
        r = api("GET", "/?comp=blobs&where=kind%3D'secret'", headers)
        return [b.findtext("ContainerName") for b in r.xml.iter("Blob")]
    assert strict not in found({}) and strict in found(WHY)
    where = f"/?comp=blobs&where=%40container%3D'{strict}'%20AND%20kind%3D'secret'"
    assert not list(api("GET", where).xml.iter("Blob")) and list(api("GET", where, WHY).xml.iter("Blob"))

    def delete(headers, inner=""):
        body = ("--b\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\n"
                f"DELETE /{wire.ACCOUNT}/{strict}/b?{wire.account_sas()} HTTP/1.1\r\n{inner}\r\n--b--\r\n").encode()
        return api("POST", "/?comp=batch", {"Content-Type": "multipart/mixed; boundary=b"} | headers, body).body
    assert b"403" in delete({}) and api("HEAD", f"/{strict}/b", WHY).status == 200
    assert b"202" in delete(WHY) and api("HEAD", f"/{strict}/b", WHY).status == 404


def test_a_key_can_have_a_purpose_by_default(own, api, strict):
    start = mark(own)
    assert operate(own, "account", "set", wire.ACCOUNT, "purpose_key1=BATCH")[0] == 0
    assert "BATCH" in operate(own, "account", "show", wire.ACCOUNT)[1]
    r = api("GET", f"/{strict}/b")
    token = api("GET", f"/{strict}/b", sas=wire.account_sas(), sign=False)
    said = api("GET", f"/{strict}/b", WHY)
    anonymous = api("GET", f"/{strict}/b", sign=False)
    assert (r.body, token.body, said.body, anonymous.status) == (b"abc", b"abc", b"abc", 404)
    found = by_request(entries(own, first=start))
    for answer in (r, token):
        assert found[answer.get("x-ms-request-id")]["entry"]["purpose"] == {"code": "BATCH", "default": True}
    purpose = found[said.get("x-ms-request-id")]["entry"]["purpose"]
    assert purpose["code"] == "TREAT" and "default" not in purpose
    for bad in ("purpose_key1=with space", "purpose_key1=" + "x" * 65, "purpose_key3=A"):
        assert operate(own, "account", "set", wire.ACCOUNT, bad)[0] != 0
    assert operate(own, "account", "set", wire.ACCOUNT, "purpose_key1=")[0] == 0
    assert_error(api("GET", f"/{strict}/b"), 403, "PurposeRequired")


def test_clients_that_go_while_their_answer_waits(api, own):
    """The record of a read is made all the same, and nothing of the request is used after it."""
    container = api.create_container()
    api.put_ok(container, "left", b"x" * 4000)
    first = mark(own)
    request = api.build("GET", f"/{container}/left") * 2

    def come_and_go():
        for i in range(100):
            with wire.Connection(own.port) as c:
                c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
                c.send(request)
                time.sleep(0.0005 * (i % 4))

    threads = [threading.Thread(target=come_and_go) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert api("GET", f"/{container}/left").status == 200
    read = entries(own, first=first)
    assert len([e for e in read if e["entry"]["action"] == "Get Blob"]) > 100
