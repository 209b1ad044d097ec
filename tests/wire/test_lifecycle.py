"""Lifecycle policies as an operator sets them and clients see them. What a policy means is in tests/unit/rules_test.c."""
import http.client
import json
import re
import subprocess
import threading

import pytest
import wire
from wire import assert_error


@pytest.fixture
def api(own):
    a = wire.Api(own)
    yield a
    a.close()


def ask(server, *words, text=None):
    """`strongroom lifecycle …`: exit code, what it printed, what it said on standard error."""
    r = subprocess.run([server.program, "lifecycle", *words, "--data", server.folder], input=text, text=True,
                       capture_output=True, timeout=wire.TIMEOUT_S)
    return r.returncode, r.stdout, r.stderr


def policy(actions, **filters):
    return json.dumps({"rules": [{"name": "r1", "enabled": True, "type": "Lifecycle", "definition": {
        "filters": {"blobTypes": ["blockBlob"]} | filters, "actions": actions}}]}, indent=2)


def run(server, *flags):
    code, out, err = ask(server, "run", wire.ACCOUNT, "--json", *flags)
    assert code == 0, err
    return json.loads(out)


def put_policy(server, text):
    code, _, err = ask(server, "set", wire.ACCOUNT, "-", text=text)
    assert code == 0, err


def test_set_show_run_remove(own, api):
    assert ask(own, "show", wire.ACCOUNT)[0] == 1
    text = policy({"baseBlob": {"tierToCool": {"daysAfterModificationGreaterThan": 0}}})
    put_policy(own, text)
    code, out, err = ask(own, "show", wire.ACCOUNT)
    assert (code, out) == (0, text) and "not yet" in err
    run(own)
    assert re.search(r"last run: 20\d\d-", ask(own, "show", wire.ACCOUNT)[2])
    assert ask(own, "remove", wire.ACCOUNT)[0] == 0
    code, _, err = ask(own, "run", wire.ACCOUNT)
    assert code == 1 and "no lifecycle policy" in err


def test_what_clients_see(own, api):
    c, other = api.create_container(), api.create_container()
    for name in ("logs/old", "logs/kept", "other"):
        api.put_ok(c, name, b"x", {"x-ms-tags": "keep=yes"} if "kept" in name else {})
    api.put_ok(other, "logs/old", b"x")
    zero = {"daysAfterModificationGreaterThan": 0}
    put_policy(own, policy({"baseBlob": {"tierToArchive": zero}}, prefixMatch=[f"{c}/logs/"]))
    dry = run(own, "--dry-run")
    assert (dry["examined"], dry["to Archive"]) == (2, 2)
    assert {e["blob"] for e in dry["examples"]} == {"logs/old", "logs/kept"}
    assert dry["examples"][0]["rule"] == "r1" and dry["examples"][0]["container"] == c
    assert api("HEAD", f"/{c}/logs/old").get("x-ms-access-tier") == "Hot"
    assert run(own)["to Archive"] == 2
    assert_error(api("GET", f"/{c}/logs/old"), 409, "BlobArchived")
    assert api("GET", f"/{c}/other").status == api("GET", f"/{other}/logs/old").status == 200
    # by tag; a soft delete is one
    body = b"<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>1</Days>" \
           b"</DeleteRetentionPolicy></StorageServiceProperties>"
    assert api("PUT", "/?restype=service&comp=properties", body=body).status == 202
    put_policy(own, policy({"baseBlob": {"delete": zero}}, prefixMatch=[c],
                           blobIndexMatch=[{"name": "keep", "op": "==", "value": "yes"}]))
    assert run(own)["deleted"] == 1
    assert not api.exists(c, "logs/kept") and api.exists(c, "logs/old") and api.exists(c, "other")
    assert api("PUT", f"/{c}/logs/kept?comp=undelete").status == 200
    # what has to be clear about a lease
    lease = api("PUT", f"/{c}/logs/kept?comp=lease", {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"})
    assert lease.status == 201
    assert (run(own)["deleted"], run(own)["skipped"]) == (0, 1)
    assert api.exists(c, "logs/kept")


def test_metrics(own, api):
    c = api.create_container()
    api.put_ok(c, "b", b"x")
    put_policy(own, policy({"baseBlob": {"delete": {"daysAfterCreationGreaterThan": 0}}}, prefixMatch=[c + "/"]))

    def metrics():
        m = http.client.HTTPConnection("127.0.0.1", own.port + 1, timeout=wire.TIMEOUT_S)
        m.request("GET", "/metrics")
        text = m.getresponse().read().decode()
        return {n: int(v) for n, v in re.findall(r"^(strongroom_lifecycle_\S+) (\d+)$", text, re.M)}

    before = metrics()
    run(own)
    after = metrics()
    deleted, runs = 'strongroom_lifecycle_actions_total{action="delete"}', "strongroom_lifecycle_runs_total"
    assert after[deleted] == before[deleted] + 1 and after[runs] == before[runs] + 1
    assert after["strongroom_lifecycle_last_run_seconds"] > 1_700_000_000


@pytest.mark.parametrize("text, says", [
    ("{", "line 1"), ("{}", "rules is missing"),
    (policy({"baseBlob": {"delete": {}}}), "rules[0].definition.actions.baseBlob.delete needs exactly one"),
    (policy({"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 1}}}, blobTypes=["pageBlob"]), "blobTypes[0]"),
    ("x" * 140_000, "more bytes")])
def test_refused_and_what_was_set_stays(own, api, text, says):
    kept = policy({"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 9999}}})
    put_policy(own, kept)
    code, _, err = ask(own, "set", wire.ACCOUNT, "-", text=text)
    assert code in (1, 2) and says in err, err
    assert ask(own, "show", wire.ACCOUNT)[1] == kept


def test_a_policy_as_large_as_can_be(own, api):
    rules = [{"name": f"r{i}", "type": "Lifecycle", "definition": {
        "filters": {"blobTypes": ["blockBlob"], "prefixMatch": ["c/" + "x" * 100 + str(j) for j in range(10)]},
        "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 9999}}}}} for i in range(100)]
    text = json.dumps({"rules": rules})
    assert 120_000 < len(text) <= 128 * 1024
    put_policy(own, text)
    assert ask(own, "show", wire.ACCOUNT)[1] == text
    assert run(own)["failed"] == 0


def test_of_nobody(own):
    for words in (("show", "nobody"), ("run", "nobody"), ("remove", "nobody")):
        code, _, err = ask(own, *words)
        assert code == 1 and "nobody" in err
    assert ask(own, "set", wire.ACCOUNT, "/no/such/file")[0] == 2


def test_beside_clients_and_each_other(own, api):
    """Runs while clients write: what they wrote since stays, and two runs at once do not happen."""
    c = api.create_container()
    for i in range(300):
        api.put_ok(c, f"b{i}", b"old")
    put_policy(own, policy({"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 1}}}, prefixMatch=[c]))
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(ask(own, "run", wire.ACCOUNT))) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(300):
        api.put_ok(c, f"b{i}", b"new")
    for t in threads:
        t.join()
    assert {code for code, _, _ in codes} <= {0, 1} and any(code == 0 for code, _, _ in codes)
    assert all("under way" in err for code, _, err in codes if code == 1)
    assert all(api("GET", f"/{c}/b{i}").body == b"new" for i in range(0, 300, 50))
