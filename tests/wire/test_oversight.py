"""The oversight listener: who may look at the record from another machine, what they see, and that they are seen."""
import json
import pathlib
import select
import socket
import subprocess
import threading
import time
from urllib.parse import quote, urlencode

import pytest
import wire

FORMATS = {"azure": "application/x-ndjson", "fhir": "application/x-ndjson", "premis": "application/xml",
           "csv": "text/csv; charset=utf-8"}


@pytest.fixture
def api(own):
    a = wire.Api(own)
    yield a
    a.close()


def command(server, *words, ok=True):
    r = subprocess.run([server.program, *words, "--data", server.folder, "--json"], text=True, capture_output=True,
                       timeout=wire.TIMEOUT_S)
    assert (r.returncode == 0) == ok, (words, r.stdout, r.stderr)
    return json.loads(r.stdout) if ok else r.stderr


def overseer(server, name, *flags):
    """A new token; one that another test made for the name goes."""
    if name in [o["overseer"] for o in command(server, "oversight", "list")["overseers"]]:
        command(server, "oversight", "remove", name)
    return command(server, "oversight", "add", name, *flags)["token"]


def raw(server, method, target, headers=()):
    with wire.Connection(server.port + 3) as c:
        lines = "".join(f"{n}: {v}\r\n" for n, v in headers)
        c.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        return c.read(method)


def ask(server, token, what, headers=(), **params):
    query = "?" + urlencode(params, quote_via=quote) if params else ""
    bearer = [("Authorization", f"Bearer {token}")] if token else []
    return raw(server, "GET", f"/oversight/v1/{what}{query}", [*bearer, *headers])


def lines(answer):
    """The entries of an answer, and its last line, which tells that it is whole."""
    assert answer.status == 200, answer
    *found, end = [json.loads(line) for line in answer.text.splitlines()]
    assert set(end) - {"later"} == {"after", "more", "size"}, end
    return found, end


def record(server, first=0):
    r = subprocess.run([server.program, "audit", "search", "--open", "--from", str(first), "--data", server.folder],
                       text=True, capture_output=True, timeout=wire.TIMEOUT_S)
    assert r.returncode == 0, r.stderr
    return [json.loads(line) for line in r.stdout.splitlines()]


def test_who_has_no_token_sees_nothing_and_is_recorded(own, api):
    token = overseer(own, "auditor")
    name, secret = token.split(".")
    api.put_ok(api.create_container(), "meier-1971", b"x")
    other = "A" * len(secret)
    tries = [([], 401), ([("Authorization", f"Basic {token}")], 401), ([("Authorization", "Bearer")], 401),
             ([("Authorization", f"Bearer {name}.{other}")], 403), ([("Authorization", f"Bearer {name}")], 403),
             ([("Authorization", f"Bearer {name}.")], 403), ([("Authorization", f"Bearer nobody.{secret}")], 403),
             ([("Authorization", f"Bearer {token}x")], 403), ([("Authorization", f"Bearer .{secret}")], 403),
             ([("Authorization", "Bearer " + "x" * 9000 + f".{secret}")], 403)]
    start = record(own)[-1]["index"] + 1
    for what in ("entries", "export?format=csv", "receipts", "watch", "witnesses"):
        for headers, status in tries:
            r = raw(own, "GET", f"/oversight/v1/{what}", headers)
            assert r.status == status and "meier" not in r.text and '"index"' not in r.text, (what, r)
            assert (r.get("www-authenticate") == "Bearer") == (status == 401)
            assert json.loads(r.text)["error"]["message"]
    found = [e["entry"] for e in record(own, start) if e["entry"]["actor"]["kind"] == "anonymous"]
    assert len(found) == 5 * len(tries)
    assert {(e["class"], e["decision"], e["outcome"]["result"]) for e in found} == {("refused", "refused", "refused")}
    assert {e["outcome"]["status"] for e in found} == {401, 403}


def test_the_token_is_kept_nowhere(own):
    token = overseer(own, "auditor")
    for path in pathlib.Path(own.folder).rglob("*"):
        if path.is_file():
            assert token.split(".")[1].encode() not in path.read_bytes(), path
    assert token.split(".")[1] not in "".join(own.output)


def test_a_look_is_recorded_before_it_is_answered(own, api):
    token = overseer(own, "auditor", "--rights", "openings")
    name = api.create_container()
    api.put_ok(name, "meier-1971", b"x")
    r = ask(own, token, "entries", [("x-ms-purpose", "REVIEW; complaint of 3 May")], account=wire.ACCOUNT, container=name,
            blob="meier-1971", action="Put Blob", openings="true")
    found, end = lines(r)
    assert [e["opening"]["blob"] for e in found] == ["meier-1971"] and not end["more"]
    me = record(own)[int(r.get("x-strongroom-record"))]
    entry, opening = me["entry"], me["opening"]
    assert (entry["action"], entry["class"], entry["decision"]) == ("audit search", "oversight", "oversight token")
    assert (entry["actor"]["kind"], opening["actor"]) == ("overseer", "overseer auditor")
    assert entry["purpose"]["code"] == "REVIEW" and opening["reason"] == "complaint of 3 May"
    assert (opening["account"], opening["container"], opening["blob"]) == (wire.ACCOUNT, name, "meier-1971")
    assert opening["asked"] == "action=Put Blob; open=yes" and len(entry["asked"]) == 64
    assert "auditor" not in json.dumps(entry) and "meier" not in json.dumps(entry)
    assert opening["address"] == "127.0.0.1" and entry["outcome"] == {"result": "ok", "status": 200}
    exported = ask(own, token, "export", format="csv", account=wire.ACCOUNT)
    entry = record(own)[int(exported.get("x-strongroom-record"))]["entry"]
    assert entry["class"] == "disclosure" and entry["recipient"] == entry["actor"]["id"]


def test_what_a_token_permits(own, api):
    token = overseer(own, "entries-only")
    name = api.create_container()
    api.put_ok(name, "meier-1971", b"x")
    found, _ = lines(ask(own, token, "entries", account=wire.ACCOUNT, container=name))
    assert len(found) == 2 and all("opening" not in e for e in found)
    start = record(own)[-1]["index"] + 1
    refused = [ask(own, token, "entries", openings="true"), ask(own, token, "export", format="csv", openings="true"),
               ask(own, token, "receipts"), ask(own, token, "watch", openings="true"),
               ask(own, token, "entries", account=wire.ACCOUNT, container=name, blob="meier-1971"),
               ask(own, token, "entries", actor=f"key 1 of {wire.ACCOUNT}")]
    assert [r.status for r in refused] == [403] * 6
    found = [e for e in record(own, start) if e["entry"]["actor"]["kind"] == "overseer"]
    assert [e["entry"]["class"] for e in found] == ["refused"] * 6
    assert {e["opening"]["actor"] for e in found} == {"overseer entries-only"}


def test_some_accounts_only(own, api):
    command(own, "account", "create", "another")
    command(own, "account", "create", "third")
    one = overseer(own, "one", "--accounts", wire.ACCOUNT)
    two = overseer(own, "two", "--accounts", f"another,{wire.ACCOUNT}", "--rights", "openings")
    api.create_container()
    everything = record(own)
    mine = next(e["entry"]["object"]["account"] for e in everything if e["entry"]["action"] == "Create Container")
    for answer in (ask(own, one, "entries"), ask(own, one, "entries", account=wire.ACCOUNT), ask(own, two, "entries",
                                                                                                account=wire.ACCOUNT)):
        found, _ = lines(answer)
        assert found and {e["entry"]["object"]["account"] for e in found} == {mine}
    for answer in (ask(own, two, "entries"), ask(own, two, "receipts"), ask(own, two, "watch"), ask(own, two, "export",
                                                                                                   format="csv"),
                   ask(own, one, "entries", account="another"), ask(own, two, "entries", account="third"),
                   ask(own, two, "entries", account=f"another,{wire.ACCOUNT}"), ask(own, one, "entries", account="")):
        assert answer.status == 403 or (answer.status == 200 and lines(answer)[0][0]["entry"]["object"]["account"] == mine)
    assert ask(own, two, "entries").status == 403
    assert ask(own, one, "entries", account="another").status == 403
    assert "no account 'nowhere'" in command(own, "oversight", "add", "x", "--accounts", "nowhere", ok=False)


def test_disabled_enabled_expired_removed(own):
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 8))
    brief = overseer(own, "brief", "--expires", soon)
    token = overseer(own, "auditor")
    assert ask(own, token, "entries").status == 200 and ask(own, brief, "entries").status == 200
    command(own, "oversight", "disable", "auditor")
    r = ask(own, token, "entries")
    assert r.status == 403 and "disabled" in r.text
    command(own, "oversight", "enable", "auditor")
    assert ask(own, token, "entries").status == 200
    assert "already" in command(own, "oversight", "add", "auditor", ok=False)
    command(own, "oversight", "remove", "auditor")
    assert ask(own, token, "entries").status == 403
    assert overseer(own, "auditor") != token and ask(own, token, "entries").status == 403
    end = time.monotonic() + wire.TIMEOUT_S
    while (r := ask(own, brief, "entries")).status == 200 and time.monotonic() < end:
        time.sleep(0.1)
    assert r.status == 403 and "expired" in r.text
    states = {o["overseer"]: o["state"] for o in command(own, "oversight", "list")["overseers"]}
    assert (states["auditor"], states["brief"]) == ("enabled", "expired")
    for bad in ("A", "a b", "x" * 65, "ä", ""):
        command(own, "oversight", "add", bad, ok=False)
    for flags in (("--rights", "all"), ("--expires", "tomorrow"), ("--expires", "2020-01-01")):
        command(own, "oversight", "add", "good", *flags, ok=False)


def test_more_than_a_page_and_going_on(own, api):
    token = overseer(own, "auditor")
    name = api.create_container()
    for _ in range(2300):
        api("HEAD", f"/{name}?restype=container")
    found, end = lines(ask(own, token, "entries", action="Get Container Properties"))
    assert len(found) == 2300 and not end["more"]
    seen, after, rounds = [], None, 0
    while True:
        params = {"limit": "1100", **({} if after is None else {"after": str(after)})}
        part, end = lines(ask(own, token, "entries", action="Get Container Properties", **params))
        seen += [e["index"] for e in part]
        rounds, after = rounds + 1, end["after"]
        if not end["more"]:
            break
    assert seen == [e["index"] for e in found] and rounds == 3
    r = ask(own, token, "export", format="csv", action="Get Container Properties")
    assert len(r.text.splitlines()) == 2301


def test_forms(own, api):
    token = overseer(own, "auditor", "--rights", "openings")
    name = api.create_container()
    api.put_ok(name, "b", b"x")
    for form, kind in FORMATS.items():
        r = ask(own, token, "export", format=form, account=wire.ACCOUNT, openings="true")
        assert r.status == 200 and r.get("content-type") == kind and name in r.text, r
        shown = subprocess.run([own.program, "audit", "export", "--format", form, "--account", wire.ACCOUNT, "--open",
                                "--until", "2000-01-01", "--data", own.folder], capture_output=True, text=True)
        head = shown.stdout.splitlines()[:1] if form in ("premis", "csv") else []
        assert r.text.splitlines()[:len(head)] == head
    assert ask(own, token, "export").status == 400 and ask(own, token, "export", format="pdf").status == 400
    state = json.loads(ask(own, token, "witnesses").text)
    assert state["witnesses"] == [] and state["alarms"] == [] and state["entries"] > 0


def test_receipts_hold_offline(own, api, tmp_path):
    token = overseer(own, "auditor", "--rights", "openings")
    name = api.create_container()
    api.put_ok(name, "b", b"x")
    end = time.monotonic() + wire.TIMEOUT_S
    while time.monotonic() < end:
        found, last = lines(ask(own, token, "receipts", account=wire.ACCOUNT, container=name, blob="b",
                                action="Put Blob"))
        if found and last["later"] == 0:
            break
        time.sleep(0.2)
    assert len(found) == 1 and found[0]["opening"]["blob"] == "b"
    look = []
    while not look and time.monotonic() < end:  # of the receipts above; they are published within a second
        look, _ = lines(ask(own, token, "receipts", account=wire.ACCOUNT, container=name, **{"class": "disclosure"}))
        time.sleep(0.2)
    (tmp_path / "r").write_text("".join(json.dumps(e) + "\n" for e in found + look))
    key = subprocess.run([own.program, "audit", "key", "--data", own.folder], capture_output=True, text=True).stdout.strip()
    check = [own.program, "audit", "check", str(tmp_path / "r"), "--key", key]
    assert subprocess.run(check, capture_output=True).returncode == 0
    forged = json.loads(json.dumps(look[0]))
    forged["opening"]["asked"] = "class=nothing"
    (tmp_path / "r").write_text(json.dumps(forged) + "\n")
    assert look and subprocess.run(check, capture_output=True).returncode == 1


def test_watching(own, api):
    token = overseer(own, "auditor", "--rights", "openings")
    found, end = lines(ask(own, token, "watch"))
    assert found == []
    answers = []
    found, end = lines(ask(own, token, "watch", after=end["after"]))  # of its own first look: nothing
    assert found == []
    t = threading.Thread(target=lambda: answers.append(ask(own, token, "watch", after=end["after"], openings="true")))
    t.start()
    time.sleep(0.5)
    assert t.is_alive()
    name = api.create_container()
    t.join(wire.TIMEOUT_S)
    found, end = lines(answers[0])
    assert [(e["entry"]["action"], e["opening"]["container"]) for e in found] == [("Create Container", name)]
    assert record(own)[int(answers[0].get("x-strongroom-record"))]["entry"]["action"] == "audit watch"


def test_what_cannot_be(own):
    token = overseer(own, "auditor", "--rights", "openings")
    bearer = [("Authorization", f"Bearer {token}")]
    start = record(own)[-1]["index"] + 1
    entries = "/oversight/v1/entries"
    tries = [("HEAD", entries, (), 405), ("POST", entries, (("Content-Length", "0"),), 405), ("GET", "/", (), 404),
             ("GET", "/oversight/v1/", (), 404), ("GET", "/oversight/v1/entries/", (), 404), ("GET", "/metrics", (), 404),
             ("GET", "/oversight/v2/entries", (), 404), ("GET", entries + "?x=1", (), 400),
             ("GET", entries + "?class=key&class=admin", (), 400), ("GET", entries + "?limit=0", (), 400),
             ("GET", entries + "?limit=-1", (), 400), ("GET", entries + "?after=x", (), 400),
             ("GET", entries + "?after=18446744073709551615", (), 400), ("GET", entries + "?openings=yes", (), 400),
             ("GET", entries + "?since=now", (), 400), ("GET", entries + "?blob=x", (), 400),
             ("GET", entries + "?container=x", (), 400), ("GET", entries + "?class=%ff", (), 400),
             ("GET", entries + "?from=1", (), 400), ("GET", entries + "?format=csv", (), 400),
             ("GET", "/oversight/v1/witnesses?class=key", (), 400), ("GET", "/oversight/v1/export?limit=1", (), 400),
             ("GET", entries, (("x-ms-purpose", "two words"),), 400),
             ("GET", entries, (("Content-Length", "3000000"),), 400)]
    for method, target, headers, status in tries:
        r = raw(own, method, target, [*bearer, *headers])
        assert r.status == status, (method, target, r)
    found = [e["entry"]["outcome"]["status"] for e in record(own, start) if "client" in e["entry"]]
    assert found == [status for *_, status in tries]
    found, end = lines(ask(own, token, "entries", after=10**12))
    assert found == [] and not end["more"]
    assert lines(ask(own, token, "entries", action='x"},"object'))[0] == []
    for what in ({"class": "keys"}, {"result": "refusd"}, {"class": 'x"},"object'}):
        r = ask(own, token, "entries", **what)
        assert r.status == 400 and "and not" in r.text


def there(server, token, *words, ok=True, **env):
    r = subprocess.run([server.program, "audit", *words, "--url", f"http://127.0.0.1:{server.port + 3}/"], text=True,
                       capture_output=True, timeout=wire.TIMEOUT_S, env={"STRONGROOM_TOKEN": token, **env})
    assert (r.returncode == 0) == ok, (words, r.stdout, r.stderr)
    return r.stdout if ok else r.stderr


def test_the_commands_from_another_machine(own, api, tmp_path):
    token = overseer(own, "auditor", "--rights", "openings")
    name = api.create_container()
    for i in range(3):
        api.put_ok(name, f"b {i}&", b"x")
    what = ("--account", wire.ACCOUNT, "--container", name, "--class", "collection")
    here = subprocess.run([own.program, "audit", "search", *what, "--open", "--data", own.folder], text=True,
                          capture_output=True).stdout
    assert there(own, token, "search", *what, "--open", "--why", "REVIEW; complaint") == here and here.count("\n") == 3
    looked = [e for e in record(own) if e["opening"] != "destroyed" and e["opening"].get("reason") == "complaint"]
    assert [(e["opening"]["actor"], e["opening"]["container"], e["entry"]["purpose"]["code"], e["entry"]["action"])
            for e in looked] == [("overseer auditor", name, "REVIEW", "audit search")]
    one = there(own, token, "search", *what, "--blob", "b 1&", "--open")
    assert [json.loads(line)["opening"]["blob"] for line in one.splitlines()] == ["b 1&"]
    assert there(own, token, "search", *what, "--count", "2").count("\n") == 2
    second = json.loads(here.splitlines()[1])["index"]
    assert there(own, token, "search", *what, "--from", str(second)).count("\n") == 2
    assert there(own, token, "search", *what, "--result", "refused") == ""
    assert len(there(own, token, "export", *what, "--format", "csv").splitlines()) == 4
    assert there(own, token, "export", *what).count('"category"') == 3
    (tmp_path / "token").write_text(token + "\n")
    assert there(own, "", "search", *what, "--token-file", str(tmp_path / "token")).count("\n") == 3
    assert "STRONGROOM_TOKEN" in there(own, "", "search", ok=False)
    assert "none that this server gave out" in there(own, token + "x", "search", ok=False)
    assert "'since' is a time" in there(own, token, "search", "--since", "noon", ok=False)
    assert "goes with neither" in there(own, token, "search", "--data", own.folder, ok=False)
    r = subprocess.run([own.program, "audit", "search", "--url", "http://storage.example.org:10003"], text=True,
                       capture_output=True, env={"STRONGROOM_TOKEN": token})
    assert r.returncode == 2 and "https://" in r.stderr
    r = subprocess.run([own.program, "audit", "search", "--why", "X", "--data", own.folder], text=True, capture_output=True)
    assert r.returncode == 2 and "--url" in r.stderr


def test_an_answer_that_is_cut_short_is_an_error(own):
    """A server, or somebody before it, that leaves out the end."""
    body = b'{"index":0,"entry":{}}\n{"index":1,"entry":{}}\n'

    def serve(sock):
        c, _ = sock.accept()
        c.recv(65536)
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        c.close()

    with socket.create_server(("127.0.0.1", 0)) as sock:
        threading.Thread(target=serve, args=(sock,), daemon=True).start()
        r = subprocess.run([own.program, "audit", "search", "--url", f"http://127.0.0.1:{sock.getsockname()[1]}"], text=True,
                           capture_output=True, timeout=wire.TIMEOUT_S, env={"STRONGROOM_TOKEN": "a.b"})
    assert r.returncode == 1 and "cut short" in r.stderr and r.stdout == '{"index":0,"entry":{}}\n'


def test_watching_from_another_machine(own, api):
    token = overseer(own, "auditor", "--rights", "openings")
    p = subprocess.Popen([own.program, "audit", "watch", "--open", "--action", "Create Container", "--url",
                          f"http://127.0.0.1:{own.port + 3}"], stdout=subprocess.PIPE, text=True, env={"STRONGROOM_TOKEN": token})
    try:
        time.sleep(0.5)
        names = [api.create_container() for _ in range(3)]
        got = [json.loads(p.stdout.readline())["opening"]["container"] for _ in range(3)]
        assert got == names
    finally:
        p.kill()
        p.wait()


def test_readers_are_bounded(own):
    """Sixteen at a time: others are told to come again, and are recorded."""
    token = overseer(own, "auditor")
    _, end = lines(ask(own, token, "watch"))
    found, end = lines(ask(own, token, "watch", after=end["after"]))
    def watcher():
        c = wire.Connection(own.port + 3)
        c.send(f"GET /oversight/v1/watch?after={end['after'] + 100000} HTTP/1.1\r\nHost: x\r\n"
               f"Authorization: Bearer {token}\r\n\r\n".encode())
        return c

    waiting = [watcher() for _ in range(16)]
    try:
        limit = time.monotonic() + wire.TIMEOUT_S
        while (r := ask(own, token, "entries", limit=1)).status == 200 and time.monotonic() < limit:
            time.sleep(0.05)
            for i, c in enumerate(waiting):  # one that came while we asked was told to come again, too
                if select.select([c.sock], [], [], 0)[0]:
                    c.close()
                    waiting[i] = watcher()
        assert r.status == 503 and "16" in r.text and r.get("retry-after") == "1"
    finally:
        for c in waiting:
            c.close()
