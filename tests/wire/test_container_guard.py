"""Retention policies and legal holds of a container, as an operator sets them and clients meet them. Each rule is in
tests/unit/store_immutable_test.c."""
import json
import subprocess

import pytest
import wire
from wire import assert_error, block_list


def ask(server, *words):
    r = subprocess.run([server.program, "container", *words, "--data", server.folder], text=True, capture_output=True,
                       timeout=wire.TIMEOUT_S)
    return r.returncode, r.stdout, r.stderr


@pytest.fixture
def guard(server, container):
    """Sets one thing of the container; at the end nothing protects it."""
    used = []

    def put(setting):
        code, _, err = ask(server, "set", wire.ACCOUNT, container, setting)
        assert code == 0, err
        used.append(setting)
    yield put
    for setting in used:
        if setting.startswith("hold="):
            ask(server, "set", wire.ACCOUNT, container, setting.replace("hold=", "release="))
    ask(server, "set", wire.ACCOUNT, container, "immutable_days=0")


def assert_guarded(api, container, code, container_code):
    path, before = f"/{container}/b", api("HEAD", f"/{container}/b")
    assert_error(api.put(container, "b", b"new"), 409, code)
    assert_error(api("DELETE", path), 409, code)
    assert_error(api("PUT", path + "?comp=metadata", {"x-ms-meta-a": "1"}), 409, code)
    assert_error(api("PUT", path + "?comp=properties", {"x-ms-blob-content-type": "a/b"}), 409, code)
    assert_error(api("PUT", path + "?comp=snapshot"), 409, code)
    assert_error(api("PUT", path + "?comp=expiry", {"x-ms-expiry-option": "RelativeToNow", "x-ms-expiry-time": "1"}),
                 409, code)
    assert_error(api("PUT", path + "?comp=blocklist", body=block_list()), 409, code)
    source = f"http://127.0.0.1:{api.server.port}/{api.account}/{container}/other"
    for how in ({}, {"x-ms-requires-sync": "true"}, {"x-ms-blob-type": "BlockBlob"}):
        assert_error(api("PUT", path, {"x-ms-copy-source": source} | how), 409, code)
    assert_error(api("DELETE", f"/{container}?restype=container"), 409, container_code)
    after = api("GET", path)
    assert (after.body, after.get("etag")) == (b"hello", before.get("etag"))
    assert api("PUT", path + "?comp=tags", body=b"<Tags><TagSet/></Tags>").status == 204
    assert api("PUT", path + "?comp=tier", {"x-ms-access-tier": "Cool"}).status == 200


def properties(api, container):
    r = api("HEAD", f"/{container}?restype=container")
    listed = api("GET", f"/?comp=list&prefix={container}").xml.find("Containers/Container/Properties")
    names = (("x-ms-has-immutability-policy", "HasImmutabilityPolicy"), ("x-ms-has-legal-hold", "HasLegalHold"))
    assert [r.get(h) for h, _ in names] == [listed.findtext(x) for _, x in names]
    return tuple(r.get(h) for h, _ in names)


@pytest.mark.parametrize("setting, shown, code, container_code", [
    ("immutable_days=1", ("true", "false"), "BlobImmutableDueToPolicy", "ContainerImmutableDueToPolicy"),
    ("hold=case17", ("false", "true"), "BlobImmutableDueToLegalHold", "ContainerHasLegalHold")])
def test_guarded(api, container, guard, setting, shown, code, container_code):
    api.put_ok(container, "b", b"hello")
    api.put_ok(container, "other", b"other")
    assert properties(api, container) == ("false", "false")
    guard(setting)
    assert properties(api, container) == shown
    assert_guarded(api, container, code, container_code)
    api.put_ok(container, f"new{setting[:4]}", b"new blobs come")


def test_policy_is_removed_and_hold_is_released(api, container, guard):
    api.put_ok(container, "b", b"hello")
    guard("immutable_days=1")
    guard("hold=case17")
    guard("immutable_days=0")
    assert_error(api("DELETE", f"/{container}/b"), 409, "BlobImmutableDueToLegalHold")
    guard("release=case17")
    api.put_ok(container, "b", b"new")
    assert api("DELETE", f"/{container}/b").status == 202


def test_appending(api, container, guard):
    assert api("PUT", f"/{container}/log", {"x-ms-blob-type": "AppendBlob"}).status == 201
    append = lambda: api("PUT", f"/{container}/log?comp=appendblock", body=b"line\n")  # noqa: E731
    guard("immutable_days=1")
    assert_error(append(), 409, "BlobImmutableDueToPolicy")
    guard("immutable_append=on")
    assert append().status == 201
    assert_error(api("DELETE", f"/{container}/log"), 409, "BlobImmutableDueToPolicy")


def test_what_an_operator_sees(server, api, container, guard):
    guard("immutable_days=3")
    guard("hold=case17")
    code, out, _ = ask(server, "show", wire.ACCOUNT, container, "--json")
    assert code == 0 and json.loads(out)["protection"] == {"immutable_days": 3, "immutable_append": "off",
                                                           "locked": False, "holds": "case17", "purpose": "optional",
                                                           "acknowledge": "durable"}
    for setting, says in (("immutable_days=x", "number from 0"), ("colour=red", "no setting 'colour'"),
                          ("release=other", "no hold 'other'"), ("hold=a", "3 to 23"),
                          ("acknowledge=later", "witnessed or durable")):
        code, _, err = ask(server, "set", wire.ACCOUNT, container, setting)
        assert code == 1 and says in err, err
    assert ask(server, "set", wire.ACCOUNT, "nosuchcontainer", "hold=case")[0] == 1
    assert ask(server, "set", wire.ACCOUNT, container)[0] == 2


def test_witnesses_that_nobody_has_named(server, api, container, guard):
    """Its answers wait for witnesses; without any, nobody is let in, by no way."""
    api.put_ok(container, "b", b"abc")
    other = api.create_container()
    guard("acknowledge=witnessed")
    for method, path in (("GET", f"/{container}/b"), ("HEAD", f"/{container}/b"), ("DELETE", f"/{container}/b"),
                         ("GET", f"/{container}?restype=container&comp=list"), ("GET", f"/{container}/none")):
        assert_error(api(method, path), 503, "WitnessesRequired", head=method == "HEAD")
    source = {"x-ms-copy-source": f"http://127.0.0.1:{server.port}/{api.account}/{container}/b"}
    for extra in ({}, {"x-ms-requires-sync": "true"}, {"x-ms-blob-type": "BlockBlob"}):
        r = api("PUT", f"/{other}/copy", source | extra)
        assert r.status >= 400 and not api.exists(other, "copy"), r
    assert api.put(other, "b", b"x").status == 201
    guard("acknowledge=durable")
    assert api("GET", f"/{container}/b").body == b"abc"
