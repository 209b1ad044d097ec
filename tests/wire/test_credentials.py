"""Every row of the operation table with every kind of credential: let in or refused exactly as the row says.

The rows are read from `strongroom help operations`, so a new one is covered when it is there. What is let in may
still fail, for what it asks; what is refused has one status and one code, and changes nothing."""
import dataclasses
import os
import re
import subprocess

import pytest
from wire import ACCOUNT, ROOT, Api, account_sas, iso, service_sas

LETTERS = "racwdxyltmeopif"
ACCOUNT_LETTERS = "rwdxylacuptfi"  # in the order that tools write them
BLOB = "dir/b"
OTHER = "othercredentials"
WRONG_KEY = "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgd3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgMTIzNA=="

# What a row asks for that a test has to fill in.
PARAMS = {"versionid": "2024-01-01T00:00:00.0000000Z", "deletetype": "permanent"}
HEADERS = {"x-ms-copy-source": "http://127.0.0.1:1/nowhere", "x-ms-blob-type": "BlockBlob"}

# Every way of saying that the caller may not.
AUTHENTICATION = (403, "AuthenticationFailed")
REFUSALS = {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation", "ResourceNotFound",
            "AuthorizationFailure", "AuthorizationPermissionMismatch", "AuthorizationResourceTypeMismatch",
            "AuthorizationServiceMismatch", "AuthorizationProtocolMismatch", "AuthorizationSourceIPMismatch",
            "InsufficientAccountPermissions"}


@dataclasses.dataclass
class Row:
    """A line of the page's second table."""
    name: str
    method: str
    path: str
    headers: dict
    account: str   # letters of an account SAS that let in, any of them
    type: str      # the resource type that it must sign
    service: str   # letters of a service SAS
    anonymous: str
    secondary: str

    @property
    def level(self):
        return 2 if "/BLOB" in self.path else 1 if "/CONTAINER" in self.path else 0

    def target(self, container):
        path = self.path.replace("/ACCOUNT", "", 1).replace("CONTAINER", container, 1).replace("BLOB", BLOB, 1)
        path = re.sub(r"(\w+)=…", lambda m: f"{m[1]}={PARAMS[m[1]]}", path)
        return path if path.startswith("/") else "/" + path


def letters(text):
    text = text.partition(" (")[0]
    return {"–": "", "any": LETTERS}.get(text, text.replace(" or ", ""))


def header_fields(names, value):
    """The headers that a row is told apart by: the last of `names` has `value`, the others any."""
    fields = {n: HEADERS.get(n, "x") for n in names.split(",")} if names else {}
    if value:
        fields[names.split(",")[-1]] = value
    return fields


def table():
    program = os.environ.get("STRONGROOM", str(ROOT / "build/strongroom"))
    page = subprocess.run([program, "help", "operations"], capture_output=True, text=True, check=True).stdout
    cell = r" ([^|]+) \|"
    for m in re.finditer(r"^\| ([^|]+) \| `([A-Z]+) (/[^`]*)`(?:, `([^`:]+)(?:: ([^`]+))?`)? \|" + cell * 5 + "$", page,
                         re.M):
        name, method, path, header, value, account, service, anonymous, _, secondary = m.groups()
        yield Row(name, method, path, header_fields(header, value), letters(account), account[-2], letters(service),
                  anonymous, secondary)


ROWS = list(table())


def identity(row):
    return f"{row.name}-{row.method}-{row.path}-{','.join(row.headers.values())}".replace(" ", "")


# ---- credentials: each gives (what it is, how to ask with it, the refusal to expect or None)

def shared_keys(_row, _container):
    yield "shared key", {}, None
    yield "shared key lite", {"sign": "lite"}, None
    yield "wrong key", {"key": WRONG_KEY}, AUTHENTICATION
    yield "wrong key, lite", {"key": WRONG_KEY, "sign": "lite"}, AUTHENTICATION
    yield "too old", {"date": -16 * 60}, AUTHENTICATION
    yield "from the future", {"date": 16 * 60}, AUTHENTICATION
    for value in ("Bearer abc", "Basic dXNlcjpwYXNz", "SharedKey"):
        yield value, {"sign": False, "more": {"Authorization": value}}, (400, "InvalidAuthenticationInfo")


def account_tokens(row, _container):
    def refusal(sp=ACCOUNT_LETTERS, srt="sco"):
        if row.type != "*" and row.type not in srt:
            return 403, "AuthorizationResourceTypeMismatch"
        if not row.account:
            return 403, "AuthorizationFailure"
        return None if set(sp) & set(row.account) else (403, "AuthorizationPermissionMismatch")

    def token(**fields):
        return {"sas": account_sas(**({"sp": ACCOUNT_LETTERS} | fields))}

    yield "account SAS", token(), refusal()
    for letter in ACCOUNT_LETTERS:
        yield f"account SAS sp={letter}", token(sp=letter), refusal(sp=letter)
    for srt in ("s", "c", "o"):
        yield f"account SAS srt={srt}", token(srt=srt), refusal(srt=srt)
    yield "account SAS of queues", token(ss="q"), (403, "AuthorizationServiceMismatch")
    yield from limited("account SAS", token)
    yield "account SAS of another account", {"sas": account_sas(account=OTHER)}, AUTHENTICATION


def limited(kind, token):
    """Limits that every kind of token can have."""
    yield f"{kind}, expired", token(se=iso(-60)), AUTHENTICATION
    yield f"{kind}, not yet valid", token(st=iso(600)), AUTHENTICATION
    yield f"{kind}, HTTPS only", token(spr="https"), (403, "AuthorizationProtocolMismatch")
    yield f"{kind}, of another address", token(sip="10.0.0.1"), (403, "AuthorizationSourceIPMismatch")
    yield f"{kind}, wrong key", token(key=WRONG_KEY), AUTHENTICATION


def service_tokens(row, container):
    def refusal(sp=LETTERS):
        if row.level == 0:
            return AUTHENTICATION  # a token of a container does not sign what is above it
        if not row.service:
            return 403, "AuthorizationFailure"
        return None if set(sp) & set(row.service) else (403, "AuthorizationPermissionMismatch")

    def token(**fields):
        return {"sas": service_sas(container, **({"sp": LETTERS} | fields))}

    yield "container SAS", token(), refusal()
    for letter in LETTERS:
        yield f"container SAS sp={letter}", token(sp=letter), refusal(sp=letter)
    yield "container SAS of another container", {"sas": service_sas(container + "x", sp=LETTERS)}, AUTHENTICATION
    yield "stored policy", token(sp=None, se=None, si="all"), refusal()
    yield "stored policy that allows reading", token(sp=None, se=None, si="read"), refusal(sp="r")
    yield "stored policy that has expired", token(sp=None, se=None, si="over"), AUTHENTICATION
    yield "stored policy that is gone", token(sp=None, se=None, si="gone"), AUTHENTICATION
    if row.level > 0:
        yield from limited("container SAS", token)
    narrow = refusal() if row.level == 2 else AUTHENTICATION
    yield "blob SAS", {"sas": service_sas(container, BLOB, sp=LETTERS)}, narrow
    yield "blob SAS of another blob", {"sas": service_sas(container, "dir/other", sp=LETTERS)}, AUTHENTICATION
    if row.level == 2:
        yield "directory SAS", {"sas": service_sas(container, "dir", sr="d", sdd="1", sp=LETTERS)}, narrow
        yield "SAS of another directory", {"sas": service_sas(container, "di", sr="d", sdd="1", sp=LETTERS)}, \
            AUTHENTICATION


def others(row, _container):
    unsigned = {"always": None, "never": (401, "NoAuthenticationInformation")}
    yield "nothing", {"sign": False}, unsigned.get(row.anonymous, (404, "ResourceNotFound"))
    yield "another account", {"as": OTHER}, AUTHENTICATION


def credentials(row, container):
    for kind in (shared_keys, account_tokens, service_tokens, others):
        for what, how, refusal in kind(row, container):
            yield what, how, None if row.anonymous == "always" else refusal  # where nobody is asked who they are


# ---- the test

POLICIES = "<SignedIdentifiers>" + "".join(
    f"<SignedIdentifier><Id>{i}</Id><AccessPolicy><Expiry>{iso(t)}</Expiry><Permission>{p}</Permission></AccessPolicy>"
    "</SignedIdentifier>" for i, t, p in (("all", 3600, LETTERS), ("read", 3600, "r"), ("over", -60, LETTERS))) + \
    "</SignedIdentifiers>"


@pytest.fixture(scope="module")
def other(server):
    """Another account of the same server, whose key is right for itself."""
    program = os.environ.get("STRONGROOM", str(ROOT / "build/strongroom"))
    out = subprocess.run([program, "account", "create", OTHER, "--data", server.folder], check=True,
                         capture_output=True, text=True).stdout
    return Api(server, account=OTHER, key=re.search(r"AccountKey=([^;\s]+)", out)[1])


class Place:
    """A container with policies and one blob."""

    def __init__(self, api, access=None):
        self.api = api
        self.container = api.create_container(headers={"x-ms-blob-public-access": access} if access else {})
        headers = {"x-ms-blob-public-access": access} if access else {}
        r = api("PUT", f"/{self.container}?restype=container&comp=acl", headers, POLICIES.encode())
        assert r.status == 200, r
        api.put_ok(self.container, BLOB, b"hello", {"x-ms-tags": "a=b"})

    def state(self):
        """All that a refused request must have left alone. (A request's own id and the date aside.)"""
        answers = [self.api("GET", path) for path in (
            f"/{self.container}/{BLOB}", f"/{self.container}/{BLOB}?comp=tags",
            f"/{self.container}?restype=container", f"/{self.container}?restype=container&comp=acl",
            f"/{self.container}?restype=container&comp=list&include=uncommittedblobs,snapshots,metadata",
            "/?restype=service&comp=properties")]
        own = ("x-ms-request-id", "date", "x-ms-client-request-id", "x-strongroom-record")
        return [(r.status, [h for h in r.headers if h[0].lower() not in own], r.body) for r in answers]


def ask(row, api, other, container, how, secondary):
    """One request of the row, with that credential."""
    how = dict(how)
    sender = other if how.pop("as", None) else api
    base = f"/{ACCOUNT}-secondary" if secondary else f"/{ACCOUNT}"
    return sender(row.method, row.target(container), row.headers | how.pop("more", {}), base=base, **how)


def wrong(what, r, refusal):
    """What is wrong with an answer, or None."""
    if refusal is None:
        return f"{what}: refused, {r.status} {r.code}" if r.status == 401 or r.code in REFUSALS else None
    return None if (r.status, r.code) == refusal else f"{what}: {r.status} {r.code}, and not {refusal}"


def test_the_table_is_read_whole():
    page = (ROOT / "docs/operations.md").read_text()
    assert len(ROWS) == len(re.findall(r"^\| [^|]+ \| `[A-Z]+ /", page, re.M)) > 60
    assert {r.secondary for r in ROWS} == {"refused", "answered", "only there"}


@pytest.mark.parametrize("row", ROWS, ids=identity)
def test_every_credential(api, other, row):
    """Those refused all ask for the same resources, which are as before when all have asked."""
    kept, failures = Place(api), []
    before = kept.state()
    only_there = row.secondary == "only there"
    for what, how, refusal in credentials(row, kept.container):
        if refusal:
            r = ask(row, api, other, kept.container, how, only_there)
            failures.append(wrong(what, r, refusal))
    assert kept.state() == before, "a refused request changed something"
    for what, how, refusal in [c for c in credentials(row, "") if not c[2]]:
        place = Place(api)  # what is let in may delete it
        how = next(c[1] for c in credentials(row, place.container) if c[0] == what)
        failures.append(wrong(what, ask(row, api, other, place.container, how, only_there), None))
    assert not any(failures), "\n".join(f for f in failures if f)


@pytest.mark.parametrize("row", ROWS, ids=identity)
@pytest.mark.parametrize("access", ["blob", "container"])
def test_nobody_at_a_public_container(api, row, access):
    place = Place(api, access)
    refusal = {"never": (401, "NoAuthenticationInformation"), "always": None, "public blob": None,
               "public container": None if access == "container" else (404, "ResourceNotFound")}[row.anonymous]
    r = ask(row, api, None, place.container, {"sign": False}, row.secondary == "only there")
    assert not wrong("nobody", r, refusal)


@pytest.mark.parametrize("row", ROWS, ids=identity)
def test_at_the_secondary_and_the_primary(api, row):
    place = Place(api)
    before = place.state()
    refusal = (403, "InsufficientAccountPermissions") if row.secondary == "refused" else None
    tokens = [{}] + ([{"sas": account_sas(sp=ACCOUNT_LETTERS)}] if row.account else [])
    for how in tokens:
        assert not wrong("secondary", ask(row, api, None, place.container, how, True), refusal)
    assert place.state() == before
    if row.secondary == "only there":
        r = ask(row, api, None, place.container, {}, False)
        assert (r.status, r.code) == (400, "InvalidQueryParameterValue"), r
