"""Secrets stay where they belong: not in the log at its most verbose, answers, metrics, the record, arguments of processes,
or a core. What the server holds is known here: the root key's file opens the vault's slots, whose keys open the next."""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import struct
import subprocess
import time
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

import wire
from test_copy_elsewhere import Configured, listening
from wire import ROOT, account_sas, block_id, service_sas

SANITIZED = "/asan/" in os.environ.get("STRONGROOM", "") or "/tsan/" in os.environ.get("STRONGROOM", "")
CUSTOMER = bytes(range(200, 232))
PASSWORD, BEARER, FAR_SIGNATURE = "Pa55wordOfASource", "BearerTokenOfASource", "SignatureOfASourceElsewhere"


def forms(secret):
    """Every way in which bytes could stand in a text or in memory."""
    coded = base64.b64encode(secret).decode()
    ways = {secret, coded.encode(), coded.rstrip("=").encode(), quote(coded, safe="").encode(),
            base64.urlsafe_b64encode(secret).rstrip(b"="), secret.hex().encode(), secret.hex().upper().encode()}
    return {w for w in ways if len(w) >= 12}


def found(secrets, where):
    """The names of those that stand in `where` (bytes)."""
    return sorted({name for name, secret in secrets.items() for way in forms(secret) if way in where})


def vault_keys(root_line, vault):
    """{what: key} of all keys that the vault holds: the root key opens accounts' and the log's, these open containers'."""
    root = bytes.fromhex(root_line.split()[1])
    slots = [vault[i:i + 128] for i in range(0, len(vault), 128)]
    wrapped = [(struct.unpack(">Q", s[8:16])[0], s[20:60]) for s in slots if s[:4] == b"SRVS"]
    known, left = {"root": root}, wrapped
    above = [root]
    while above:
        level, rest = [], []
        for number, w in left:
            for kek in above:
                with contextlib.suppress(InvalidUnwrap):
                    level.append((number, aes_key_unwrap(kek, w)))
                    break
            else:
                rest.append((number, w))
        known.update({f"key {number} of the vault": k for number, k in level})
        above, left = [k for _, k in level], rest
    return known


class Verbose(Configured):
    """A production server that logs all it can, to a file."""

    def _init(self):
        self.lines = self.lines.format(folder=self.folder)
        return super()._init()

    @property
    def log(self):
        return pathlib.Path(self.folder, "server.log").read_bytes()

    def operate(self, *words):
        p = subprocess.run([self.program, *words, "--data", self.folder + "/data"], capture_output=True)
        assert p.returncode == 0, (words, p.stderr)
        return p.stdout

    def secrets(self):
        data = pathlib.Path(self.folder, "data")
        return vault_keys((data / "root.key").read_text(), (data / "vault").read_bytes())


@pytest.fixture(scope="module")
def busy():
    """A server that has been asked for all kinds of things, with everything that has come back."""
    with listening() as other:
        s = Verbose(f"copy_sources_private:\n  - http://127.0.0.1:{other}/\n  - http://127.0.0.1:1/\n"
                    "log:\n  level: debug\n  file: {folder}/server.log\n")
        s.seen, s.sent = [], {"an account's first key": base64.b64decode(s.key)}
        try:
            keep_busy(s, other)
            yield s
            assert s.alive(), "".join(s.output)
        finally:
            assert s.stop() == 0, "".join(s.output)


def keep_busy(s, other):
    api = wire.Api(s)
    sent, seen = s.sent, s.seen

    def ask(method, path, headers=(), body=b"", **how):
        r = api(method, path, headers, body, **how)
        seen.append((r, f"{method} {path.split('?')[0]}"))
        for name, value in dict(headers).items():
            if name.lower() == "authorization" and ":" in value:
                sent[f"signature {len(sent)}"] = value.rsplit(":", 1)[1].encode()
        return r

    def token(**fields):
        t = account_sas(s.key, s.account, srt="sco", **fields)
        sent[f"signature of a token {len(sent)}"] = base64.b64decode(wire.unquote(t.split("sig=")[1]))
        return t

    sent["a customer's key"] = CUSTOMER
    sent["a source's customer's key"] = CUSTOMER[::-1]
    for name in ("PASSWORD", "BEARER", "FAR_SIGNATURE"):
        sent[name] = globals()[name].encode()
    mine = {"x-ms-encryption-key": base64.b64encode(CUSTOMER).decode(), "x-ms-encryption-algorithm": "AES256",
            "x-ms-encryption-key-sha256": base64.b64encode(wire.hashlib.sha256(CUSTOMER).digest()).decode()}
    c = api.create_container()
    for i in range(20):
        api.put_ok(c, f"b{i}", os.urandom(100 << (i % 10)))
        assert ask("GET", f"/{c}/b{i}").status == 200
    s.operate("scope", "create", s.account, "kept")
    api.put_ok(c, "scoped", b"x", {"x-ms-encryption-scope": "kept"})
    # what is signed, well and badly
    assert ask("GET", f"/{c}/b1", sas=token()).status == 200
    assert ask("GET", f"/{c}/b1", sas=token(se=wire.iso(-60))).status == 403
    assert ask("GET", f"/{c}/b1", sas=token().replace("sp=", "sp=x")).status == 403
    assert ask("GET", f"/{c}/b1", sas=token() + "&sv=1").status in (400, 403)
    assert ask("GET", f"/{c}/b1", sas=token() + "%ZZ").status in (400, 403)
    assert ask("GET", f"/{c}/b1", sas=service_sas(c, "b1", s.key, s.account)).status == 200
    assert ask("GET", f"/{c}/b1", sas=service_sas(c, "b2", s.key, s.account)).status == 403
    for pasted in (f"SharedKey {s.account}:{s.key}", f"SharedKey {s.key}", f"Bearer {s.key}", s.key, f"Basic {s.key}",
                   f"SharedKey {s.account} {s.key}", f"SharedKeyLite {s.account}:{s.key}"):
        assert ask("GET", f"/{c}/b1", {"Authorization": pasted}, sign=False).status in (400, 401, 403)
    assert ask("GET", f"/{c}/b1?sig={quote(s.key, safe='')}", sign=False).status in (400, 401, 403)
    # customers' keys, which plain HTTP refuses, so these are not used; and broken ones
    for headers in (mine, mine | {"x-ms-encryption-key-sha256": "AAAA"}, mine | {"x-ms-encryption-algorithm": "DES"},
                    mine | {"x-ms-encryption-key": mine["x-ms-encryption-key"] + "AAAA"},
                    {"x-ms-encryption-key": mine["x-ms-encryption-key"]}):
        assert api_status(ask, c, headers) in (400, 403, 409)
        assert ask("PUT", f"/{c}/own", headers | {"x-ms-blob-type": "BlockBlob"}, b"x", sas=token()).status in (400, 403, 409)
    # sources of copies
    user = f"http://user:{PASSWORD}@127.0.0.1:{other}"
    copies = [f"{user}/data", f"http://127.0.0.1:{other}/401?sig={FAR_SIGNATURE}", f"http://127.0.0.1:1/x?sig={FAR_SIGNATURE}",
              f"http://10.0.0.1/x?sig={FAR_SIGNATURE}", f"http://user:{PASSWORD}@host.invalid/x?sig={FAR_SIGNATURE}",
              f"http://127.0.0.1:{other}/data?sig={FAR_SIGNATURE}", f"ftp://user:{PASSWORD}@x/?sig={FAR_SIGNATURE}",
              f"http://127.0.0.1:{s.port}/{s.account}/{c}/b1?{token()}", f"http://127.0.0.1:{s.port}/{s.account}/{c}/no?{token()}",
              f"http://127.0.0.1:{s.port}/{s.account}/{c}/b1?{token(se=wire.iso(-60))}", f"http:// /?sig={FAR_SIGNATURE}"]
    for i, source in enumerate(copies):
        for kind in ({"x-ms-requires-sync": "true"}, {}, {"x-ms-blob-type": "BlockBlob"}):
            headers = {"x-ms-copy-source": source, "x-ms-copy-source-authorization": f"Bearer {BEARER}",
                       "x-ms-source-encryption-key": base64.b64encode(CUSTOMER[::-1]).decode(),
                       "x-ms-source-encryption-algorithm": "AES256"} | kind
            ask("PUT", f"/{c}/copy{i}", headers, b"", sas=token())
            ask("PUT", f"/{c}/copy{i}", {"x-ms-copy-source": source} | kind, b"")
    for source in copies:  # signed wrongly: what it was told
        assert ask("PUT", f"/{c}/copy", {"x-ms-copy-source": source, "x-ms-copy-source-authorization": f"Bearer {BEARER}"},
                   b"", key=base64.b64encode(b"another").decode()).status in (400, 403)
    r = ask("GET", f"/{c}/b1?sig={FAR_SIGNATURE}", key=base64.b64encode(b"another").decode())
    assert r.status == 403 and "sig:(not repeated)" in r.text
    for i in range(len(copies)):
        ask("GET", f"/{c}/copy{i}")
        ask("HEAD", f"/{c}/copy{i}")
    ask("GET", f"/{c}?restype=container&comp=list&include=copy,metadata")
    # requests in a request
    part = f"DELETE /{s.account}/{c}/none?{token()} HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    batch = f"--b\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\n{part}\r\n--b--\r\n".encode()
    assert ask("POST", "/?comp=batch", {"Content-Type": "multipart/mixed; boundary=b"}, batch).status == 202
    # what the server does not understand
    assert ask("PUT", f"/{c}/b1?comp=block&blockid={quote(block_id(1))}&sig={FAR_SIGNATURE}", sign=False).status in (400, 401, 403)
    assert ask("GET", f"/{c}/b1?comp=nothing", sas=token()).status >= 400
    # keys that were
    s.operate("key", "rotate", s.account, "--key", "2")
    shown = json.loads(s.operate("key", "show", s.account, "--json"))["keys"]
    sent["an account's second key"] = base64.b64decode(shown[1])
    assert ask("GET", f"/{c}/b1", key=shown[1]).status == 200
    s.operate("account", "create", "second")
    time.sleep(1.2)  # the record is published
    api.close()


def api_status(ask, c, headers):
    return ask("PUT", f"/{c}/own", headers | {"x-ms-blob-type": "BlockBlob"}, b"x").status


def asked(s, port, path):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=wire.TIMEOUT_S)
    c.request("GET", path)
    body = c.getresponse().read()
    c.close()
    return body


def all_secrets(s):
    secrets = s.secrets()
    assert len(secrets) >= 5  # the root's, two accounts', the log's, a container's and a scope's at least
    return secrets | s.sent


def test_the_search_finds(busy):
    """This file's own eyes: what is planted in each form is found."""
    secrets = all_secrets(busy)
    for name, secret in secrets.items():
        for way in forms(secret):
            assert name in found(secrets, b'{"x":"' + way + b'"}')
    assert not found(secrets, b"nothing here")


def test_log(busy):
    log = busy.log + "".join(busy.output).encode()
    assert log.count(b"\n") > 100 and b'"level":"debug"' in log
    assert not found(all_secrets(busy), log)


def test_answers(busy):
    """Nobody is told a key, and the sender of a refused request not what it brought: its log may keep it."""
    for r, what in busy.seen:
        text = r.body + "".join(f"{n}: {v}\n" for n, v in r.headers).encode()
        assert not found(busy.secrets(), text), what
        assert not found(busy.sent, text), (what, r)


def test_customers_keys_that_are_used():
    """In development mode, as plain HTTP does not take them otherwise."""
    def headers(key, prefix="x-ms-"):
        digest = base64.b64encode(wire.hashlib.sha256(key).digest()).decode()
        return {f"{prefix}encryption-key": base64.b64encode(key).decode(), f"{prefix}encryption-algorithm": "AES256",
                f"{prefix}encryption-key-sha256": digest}

    log = []
    s = wire.Server(arguments=["--log-level", "debug"])
    s.output = log  # all of it
    try:
        api, mine, other = wire.Api(s), headers(CUSTOMER), headers(CUSTOMER[::-1])
        c = api.create_container()
        api.put_ok(c, "own", b"x" * 100000, mine)
        answers = [api("GET", f"/{c}/own", h) for h in (mine, other, {})]
        assert [r.status for r in answers] == [200, 409, 409]
        source = {"x-ms-copy-source": f"http://127.0.0.1:{s.port}/{s.account}/{c}/own?{account_sas()}"}
        for more in (headers(CUSTOMER, "x-ms-source-"), headers(CUSTOMER[::-1], "x-ms-source-"), {}):
            answers.append(api("PUT", f"/{c}/copy", source | mine | more | {"x-ms-blob-type": "BlockBlob"}))
        assert 201 in [r.status for r in answers[3:]] and any(r.status >= 400 for r in answers[3:])
        answers.append(api("PUT", f"/{c}/own", mine | {"x-ms-blob-type": "BlockBlob"}, b"x", key=wire.base64.b64encode(b"no").decode()))
        assert answers[-1].status == 403
        api.close()
    finally:
        assert s.stop() == 0
    text = "".join(log).encode()
    secrets = {"mine": CUSTOMER, "other": CUSTOMER[::-1]}
    assert text.count(b'"level":"debug"') + text.count(b"DEBUG") > 5
    assert not found(secrets, text)
    for r in answers:
        assert not found(secrets, r.body + repr(r.headers).encode()), r


def test_metrics(busy):
    metrics = asked(busy, busy.port + 1, "/metrics")
    assert b"strongroom_requests_total" in metrics
    assert not found(all_secrets(busy), metrics)


def test_record(busy):
    told = busy.operate("audit", "search", "--json")
    assert len(json.loads(told)["entries"]) > 50
    published = b"".join(p.read_bytes() for p in pathlib.Path(busy.folder, "data", "log").rglob("*") if p.is_file())
    assert len(published) > 1000
    assert not found(all_secrets(busy), told + published)


def test_arguments_and_environment(busy):
    proc = pathlib.Path("/proc", str(busy.process.pid))
    line = (proc / "cmdline").read_bytes()
    assert b"serve" in line
    assert not found(all_secrets(busy), line + (proc / "environ").read_bytes())
    for command in ("account create", "account set", "key rotate", "key show", "init", "scope create"):
        flags = subprocess.run([busy.program, "help", *command.split()], capture_output=True, text=True).stdout
        taken = re.findall(r"^  --(\S+) [A-Z]", flags, re.M)
        assert taken and not {f for f in taken if re.search("secret|password|token|sas", f)}, command


def test_not_dumpable(busy):
    proc = pathlib.Path("/proc", str(busy.process.pid))
    limits = (proc / "limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.M), limits


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can run a server as another user")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's runtime needs more")
def test_not_traceable_by_its_own_user(tmp_path_factory):
    """Of a process that may not be dumped /proc shows root as the owner, whoever runs it (proc(5)): its own user cannot
    read its memory."""
    nobody = 65534
    folder = pathlib.Path(subprocess.run(["mktemp", "-d", "/tmp/strongroom-wire-XXXXXXXX"], capture_output=True,
                                         text=True, check=True).stdout.strip())
    os.chown(folder, nobody, nobody)
    program = shutil.copy(os.environ.get("STRONGROOM", ROOT / "build/strongroom"), folder / "strongroom")
    os.chown(program, nobody, nobody)
    port = wire.free_base_port()
    alone = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups"]
    try:
        subprocess.run([*alone, program, "init", "--data", folder / "data", "--account", "records"], check=True,
                       capture_output=True)
        config = folder / "c.yaml"
        config.write_text(f"data: {folder}/data\nlisten: ['127.0.0.1:{port}']\n")
        os.chmod(config, 0o644)
        owners = {}
        for name, words in {"production": ["--config", config], "development": ["--dev", "--data", folder / "dev", "--port", port]}.items():
            p = subprocess.Popen([*alone, program, "serve", *map(str, words)], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                end = time.monotonic() + wire.TIMEOUT_S
                while time.monotonic() < end:
                    with contextlib.suppress(OSError):
                        wire.socket.create_connection(("127.0.0.1", port), 1).close()
                        break
                    time.sleep(0.05)
                owners[name] = os.stat(f"/proc/{p.pid}/environ").st_uid
                assert f"\nUid:\t{nobody}\t" in pathlib.Path(f"/proc/{p.pid}/status").read_text()
                reads = subprocess.run([*alone, "head", "-c", "1", f"/proc/{p.pid}/environ"], capture_output=True)
                assert (reads.returncode == 0) == (name == "development"), reads.stderr
            finally:
                p.terminate()
                p.wait(wire.TIMEOUT_S)
        assert owners == {"production": 0, "development": nobody}  # the latter: this test can tell
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def mappings(pid):
    """[(from, to, {flags})] of a process's memory."""
    got, at = [], None
    for line in pathlib.Path("/proc", str(pid), "smaps").read_text().splitlines():
        if m := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            at = int(m[1], 16), int(m[2], 16)
        elif line.startswith("VmFlags:"):
            got.append((*at, set(line.split()[1:])))
    return got


def places(pid, secrets):
    """{name: [flags of the mapping]} of every place in a process's private memory where a secret stands raw."""
    where = {}
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for start, end, flags in mappings(pid):
            if "rd" not in flags or "wr" not in flags or end - start > 1 << 30:
                continue
            with contextlib.suppress(OSError):
                memory.seek(start)
                content = memory.read(end - start)
                for name, secret in secrets.items():
                    if secret in content:
                        where.setdefault(name, []).append(flags)
    return where


def held(s):
    """What the server needs again and again, raw: keys of the vault and accounts' shared keys."""
    return s.secrets() | {n: v for n, v in s.sent.items() if n.startswith("an account's")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read the memory of a process that may not be dumped")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's memory is another")
def test_keys_in_memory(busy):
    """They are there, as they are in use, and nowhere but in memory that is locked (where it may be) and not dumped."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    may_lock = limit == resource.RLIM_INFINITY or limit >= 4 << 20
    where = places(busy.process.pid, held(busy))
    assert {"root", "an account's first key"} <= set(where) and len(where) >= 5, where.keys()
    for name, all_flags in where.items():
        for flags in all_flags:
            assert ({"dd", "lo"} if may_lock else {"dd"}) <= flags, (name, flags)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("gcore"), reason="needs root and gcore (gdb)")
@pytest.mark.skipif(SANITIZED, reason="a core of a sanitizer's memory has no end")
def test_core(busy):
    """Even a core that root makes holds none of the keys."""
    made = subprocess.run(["gcore", "-o", busy.folder + "/core", str(busy.process.pid)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=300)
    core = pathlib.Path(f"{busy.folder}/core.{busy.process.pid}")
    if not core.exists():
        pytest.skip("this system lets nobody make a core: " + (made.stderr.strip().splitlines() or ["?"])[-1])
    content = core.read_bytes()
    assert busy.account.encode() in content and len(content) > 1 << 20  # it is one of this process
    keys = held(busy)
    shown = keys.pop("an account's second key")  # an operator's command has asked for it: its answer, in base64, may linger
    assert shown not in content
    assert not found(keys, content)
