"""The command line: what a person or a service manager sees of the program, from `help` to a second server."""
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
import time
from types import SimpleNamespace

import pytest
import wire

PROGRAM = os.environ.get("STRONGROOM", str(wire.ROOT / "build" / "strongroom"))
TIMEOUT_S = 60


def run(*words, **how):
    """The program to its end: exit code, standard output, standard error."""
    r = subprocess.run([PROGRAM, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=TIMEOUT_S, **how)
    return r.returncode, r.stdout, r.stderr


def get(port, path, method="GET"):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    c.request(method, path)
    r = c.getresponse()
    body = r.read().decode()
    c.close()
    return r.status, body


class Running:
    """`strongroom serve …`, ready when a line of its standard output or the port says so."""

    def __init__(self, *words, port, ready="AccountName=", env=None):
        self.account, self.key = wire.ACCOUNT, wire.KEY
        self.port = port
        self.process = subprocess.Popen([PROGRAM, "serve", *map(str, words)], stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})})
        self.out, self.err = [], []
        self.changed = threading.Event()
        for stream, to in ((self.process.stdout, self.out), (self.process.stderr, self.err)):
            threading.Thread(target=self._drain, args=(stream, to), daemon=True).start()
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end and self.process.poll() is None:
            if any(ready in line for line in self.out + self.err):
                return
            time.sleep(0.01)
        self.process.kill()
        raise RuntimeError("not ready:\n" + "".join(self.out + self.err))

    def _drain(self, stream, to):
        for line in stream:
            to.append(line)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def folder():
    """Short, because a Unix socket's address holds 107 bytes."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="sr-cli-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def made(folder):
    """A production folder with one account, and a configuration for it."""
    port = wire.free_base_port()
    code, out, err = run("init", "--data", folder / "data", "--root-key", folder / "root.key", "--account", "records")
    assert code == 0, err
    config = folder / "strongroom.yaml"
    text = (f"data: {folder}/data\nroot_key: {folder}/root.key\nlisten:\n  - 127.0.0.1:{port}\n"
            f"admin:\n  listen: 127.0.0.1:{port + 1}\n")
    config.write_text(text)
    line = next(x for x in out.splitlines() if "AccountKey=" in x)
    return SimpleNamespace(folder=folder, data=folder / "data", key=folder / "root.key", config=config, text=text,
                           port=port, connection_string=line)


def serve_made(made, env=None):
    return Running("--config", made.config, port=made.port, ready='"event":"ready"', env=env)


# ---- words ---------------------------------------------------------------------------------------------------

def test_help_names_every_command():
    code, out, _ = run("help")
    assert code == 0
    for command in ("serve", "init", "account", "container", "key", "check", "version"):
        assert re.search(rf"^  {command} ", out, re.M), command
        code, text, err = run("help", command)
        assert code == 0 and not err and "strongroom" in text
        assert run(command, "--help")[:2] == (0, text)


@pytest.mark.parametrize("words", [("account", "create"), ("account", "rotate"), ("container", "delete"), ("key", "show")])
def test_help_of_subcommands(words):
    code, out, _ = run("help", *words)
    assert code == 0 and out.startswith("usage: strongroom " + " ".join(words)) and "--json" in out


def test_help_config_lists_the_keys_of_the_example():
    out = run("help", "config")[1]
    for key in ("data", "root_key", "listen", "tls.certificate", "admin.listen", "cache", "shutdown_grace"):
        assert re.search(rf"^  {re.escape(key)} ", out, re.M), key


def test_version():
    assert re.fullmatch(r"strongroom \d+\.\d+\.\d+\n", run("version")[1])
    assert run("--version")[1] == run("version")[1]


@pytest.mark.parametrize("words, says", [
    ((), "usage"),
    (("srve",), "did you mean 'serve'"),
    (("serve", "--devv"), "did you mean '--dev'"),
    (("serve",), "--config FILE for production"),
    (("serve", "--dev"), "--data DIR"),
    (("serve", "--dev", "--data", "d", "--port", "70000"), "1 to 65534"),
    (("serve", "--dev", "--data", "d", "extra"), "'extra'"),
    (("serve", "--dev", "--config", "c", "--data", "d"), "exclude"),
    (("account",), "strongroom account create"),
    (("account", "lst"), "did you mean 'list'"),
    (("account", "show"), "NAME"),
    (("key", "rotate", "records", "--data", "d"), "--key 1 or --key 2"),
    (("init",), "--data DIR"),
    (("init", "--data", "d", "--account", "No"), "lower-case"),
])
def test_usage_errors(words, says, folder):
    code, out, err = run(*words, cwd=folder)
    assert code == 2 and says in out + err
    assert list(folder.iterdir()) == [], "a mistyped command leaves nothing behind"


# ---- development mode ----------------------------------------------------------------------------------------

def test_words_of_the_audit_commands(folder):
    """What is mistyped is an error that says what may be meant, and no record that is not genuine."""
    data = folder / "d"
    assert run("init", "--data", data, "--account", "records")[0] == 0
    key = run("audit", "key", "--data", data)[1].strip()
    for words, status, told in (
            (("verify", data, "--key", key), 2, "folder log/"),
            (("prove", data / "log", "first", "--key", key), 2, "INDEX is the number of an entry"),
            (("search", "--data", data, "--class", "keys"), 1, "and not 'keys'"),
            (("search", "--data", data, "--result", "refusd"), 1, "ok, refused or failed"),
            (("search", "--data", data, "--container", "x"), 1, "with account"),
            (("search", "--data", data, "--account", "records", "--blob", "x"), 1, "with account and container")):
        code, out, err = run("audit", *words)
        assert code == status and told in err and out == "", (words, code, err)


def test_development(folder):
    port = wire.free_base_port()
    with Running("--dev", "--data", folder / "d", "--port", port, port=port) as s:
        text = "".join(s.out)
        line = next(x for x in s.out if x.startswith("DefaultEndpointsProtocol="))
        assert line.strip().endswith(f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;") and wire.KEY in line
        socket.create_connection(("127.0.0.1", port), 5).close()  # ready when it says so
        assert "loopback only" in text and "public" in text
        time.sleep(0.2)
        assert all(tool in "".join(s.out) for tool in ("az storage", "python3 -c", "curl "))
        assert get(port + 1, "/healthz") == (200, "ok\n")
        assert get(port + 1, "/readyz") == (200, "ready\n")
        status, metrics = get(port + 1, "/metrics")
        assert status == 200
        for name in ("strongroom_engine_commits_total", "strongroom_store_readers_open", "process_open_fds",
                     "process_resident_memory_bytes", "strongroom_http_connections", "strongroom_info"):
            assert f"# HELP {name} " in metrics and f"# TYPE {name} " in metrics
            assert re.search(rf"^{name}(\{{[^}}]*\}})? \d", metrics, re.M), name
        assert get(port + 1, "/nothing")[0] == 404
        assert get(port + 1, "/healthz", "POST")[0] == 405
        curl = re.search(r"curl '([^']+)'", "".join(s.out)).group(1)
        status, body = get(port, curl.split(str(port), 1)[1])
        assert status == 200 and "EnumerationResults" in body
        assert s.stop() == 0, "".join(s.out + s.err)
    assert stat.S_IMODE(os.stat(folder / "d").st_mode) == 0o700
    assert stat.S_IMODE(os.stat(folder / "d" / "root.key").st_mode) == 0o400
    assert not (folder / "d" / "admin.sock").exists()
    with Running("--dev", "--data", folder / "d", "--port", port, port=port) as s:  # and again
        assert s.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])
def test_development_is_loopback_only(folder, host):
    code, _, err = run("serve", "--dev", "--data", folder / "d", "--port", wire.free_base_port(), "--host", host)
    assert code != 0 and "loopback only" in err and "public" in err
    assert not (folder / "d").exists()


def test_port_in_use(folder):
    port = wire.free_base_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        code, out, err = run("serve", "--dev", "--data", folder / "d", "--port", port)
    assert code == 1 and str(port) in err and "in use" in err and "AccountKey" not in out


def test_second_server_on_the_folder(folder):
    port = wire.free_base_port()
    with Running("--dev", "--data", folder / "d", "--port", port, port=port) as s:
        code, out, err = run("serve", "--dev", "--data", folder / "d", "--port", port + 30)
        assert code == 1 and "in use" in err and "AccountKey" not in out
        assert run("check", "--data", folder / "d")[0] == 2
        assert get(port + 1, "/readyz")[0] == 200
        assert run("account", "list", "--data", folder / "d")[0] == 0, "its socket is still there"
        assert s.stop() == 0


def test_development_and_production_folders_do_not_mix(made):
    code, _, err = run("serve", "--dev", "--data", made.data, "--port", made.port)
    assert code == 1  # its root key is elsewhere
    shutil.copy(made.key, made.data / "root.key")
    code, _, err = run("serve", "--dev", "--data", made.data, "--port", made.port)
    assert code == 1 and "accounts of its own" in err
    assert "devstoreaccount1" not in run("account", "list", "--config", made.config)[1]
    key = "--data", made.folder / "dev"
    with Running("--dev", *key, "--port", made.port, port=made.port) as s:
        assert s.stop() == 0
    made.config.write_text(f"data: {made.folder}/dev\nlisten: ['127.0.0.1:{made.port}']\n")
    code, _, err = run("serve", "--config", made.config)
    assert code == 1 and "public" in err


# ---- production ----------------------------------------------------------------------------------------------

def test_init(folder):
    code, out, err = run("init", "--data", "data", "--config", "c.yaml", "--endpoint", "https://storage.example.org/", cwd=folder)
    assert code == 0 and not err
    assert "BlobEndpoint=https://storage.example.org/records;" in out and "DefaultEndpointsProtocol=https;" in out
    assert stat.S_IMODE(os.stat(folder / "data/root.key").st_mode) == 0o400
    assert f"data: '{folder}/data'" in (folder / "c.yaml").read_text()
    before = (folder / "data/root.key").read_bytes()
    code, _, err = run("init", "--data", "data", cwd=folder)
    assert code == 1 and "already" in err and (folder / "data/root.key").read_bytes() == before
    code, _, err = run("init", "--data", "other", "--root-key", "data/root.key", cwd=folder)
    assert code == 1 and "never overwritten" in err and (folder / "data/root.key").read_bytes() == before


def operate(made, running):
    """The operator's commands, the same with and without a server."""
    def ask(*words, ok=True):
        code, out, err = run(*words, "--config", made.config)
        assert (code == 0) == ok, (words, out, err)
        return out if ok else err

    assert "records" in ask("account", "list")
    created = json.loads(ask("account", "create", "second", "--json"))
    assert created["name"] == "second" and len(created["keys"]) == 2
    assert f"BlobEndpoint=http://127.0.0.1:{made.port}/second;" in created["connection_string"]
    assert "exists" in ask("account", "create", "second", ok=False)
    ask("container", "create", "second", "papers")
    ask("container", "create", "second", "open", "--public", "container")
    listed = json.loads(ask("container", "list", "second", "--json"))["containers"]
    assert [(c["name"], c["public"]) for c in listed] == [("open", "container"), ("papers", "private")]
    assert [c["name"] for c in json.loads(ask("container", "list", "second", "--prefix", "p", "--json"))["containers"]] == ["papers"]
    assert "papers" in ask("container", "show", "second", "papers")
    shown = ask("account", "show", "second") + ask("account", "list")
    assert not any(key in shown for key in created["keys"])
    assert json.loads(ask("key", "show", "second", "--json"))["keys"] == created["keys"]
    rotated = ask("key", "rotate", "second", "--key", "2")
    keys = json.loads(ask("key", "show", "second", "--json"))["keys"]
    assert keys[0] == created["keys"][0] and keys[1] != created["keys"][1] and keys[1] not in rotated
    assert "--yes" in ask("container", "delete", "second", "papers", ok=False)
    ask("container", "delete", "second", "papers", "--yes")
    assert "papers" in ask("container", "show", "second", "papers", ok=False)
    ask("account", "delete", "second", "--yes")
    assert "second" in ask("account", "show", "second", ok=False)
    assert "nobody" in ask("container", "list", "nobody", ok=False)


def test_operating_a_stopped_folder(made):
    operate(made, running=False)
    code, out, err = run("check", "--config", made.config)
    assert code == 0 and out.startswith("clean"), out + err


def test_operating_a_running_server(made):
    with serve_made(made) as s:
        socket_path = made.data / "admin.sock"
        assert stat.S_ISSOCK(os.stat(socket_path).st_mode) and stat.S_IMODE(os.stat(socket_path).st_mode) == 0o600
        operate(made, running=True)
        assert s.stop() == 0
        log = "".join(s.err)
        assert not re.search(r"AccountKey=", log)
        assert all(json.loads(line)["event"] for line in s.err), "every line of the log is JSON"
    operate(made, running=False)


@pytest.mark.skipif("/asan/" in PROGRAM or "/tsan/" in PROGRAM, reason="a sanitizer's runtime needs more")
def test_every_thread_is_sandboxed(made):
    def threads(pid):
        return [dict(re.findall(r"^(\w+):\s*(.*)$", (t / "status").read_text(), re.M))
                for t in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    with serve_made(made) as s:
        found = threads(s.process.pid)
        assert len(found) > 4
        assert {(t["Seccomp"], t["NoNewPrivs"]) for t in found} == {("2", "1")}
    made.config.write_text(made.config.read_text() + "\nsandbox: false\n")
    with serve_made(made) as s:
        assert {t["Seccomp"] for t in threads(s.process.pid)} == {"0"}
        assert any("not_sandboxed" in line for line in s.err)


def test_socket_left_behind_by_a_killed_server(made):
    with serve_made(made) as s:
        s.stop(signal.SIGKILL)
    assert (made.data / "admin.sock").exists()
    assert "records" in run("account", "list", "--config", made.config)[1]
    with serve_made(made) as s:
        assert "records" in run("account", "list", "--config", made.config)[1]
        assert s.stop() == 0


def test_data_folder_with_a_long_path(folder):
    deep = folder / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    port = wire.free_base_port()
    with Running("--dev", "--data", deep / "data", "--port", port, port=port) as s:
        code, out, err = run("account", "list", "--data", deep / "data")
        assert code == 0 and "devstoreaccount1" in out, err
        assert s.stop() == 0


@pytest.mark.parametrize("change, says", [
    (lambda t: t.replace("data:", "dta:"), "did you mean 'data'"),
    (lambda t: t.replace("127.0.0.1:", "0.0.0.0:", 1), "allow_plain_http"),
    (lambda t: t + "workers: many\n", "workers"),
    (lambda t: t + "tls:\n  certificate: /nowhere.pem\n  key: /nowhere.key\n", "nowhere"),
    (lambda t: t + "log:\n  file: /nowhere/at/all.log\n", "/nowhere/at/all.log"),
    (lambda t: re.sub("root_key: .*", "root_key: /nowhere.key", t), "/nowhere.key"),
    (lambda t: re.sub("data: .*", "data: /nowhere", t), "strongroom init"),
])
def test_bad_configuration(made, change, says):
    made.config.write_text(change(made.text))
    code, _, err = run("serve", "--config", made.config)
    assert code == 1 and says in err and err.startswith("strongroom: "), err


def test_root_key_that_others_can_read(made):
    os.chmod(made.key, 0o644)
    code, _, err = run("serve", "--config", made.config)
    assert code == 1 and "chmod 0400" in err
    os.chmod(made.key, 0o400)


def test_wrong_root_key(made):
    other = made.folder / "other"
    assert run("init", "--data", other)[0] == 0
    os.chmod(made.key, 0o600)
    shutil.copy(other / "root.key", made.key)
    os.chmod(made.key, 0o400)
    before = {p: p.stat().st_mtime_ns for p in made.data.rglob("*")}
    for words in (("key", "show", "records"), ("account", "create", "lost"), ("serve",)):
        code, _, err = run(*words, "--config", made.config)
        assert code == 1 and "root key" in err, err
    assert run("check", "--config", made.config)[0] == 2
    assert {p: p.stat().st_mtime_ns for p in made.data.rglob("*")} == before, "nothing was touched"
    (made.data / "ROOT").unlink()  # a folder that was made without: its accounts tell
    for words in (("account", "create", "lost"), ("serve",)):
        code, _, err = run(*words, "--config", made.config)
        assert code == 1 and "root key" in err, err


@pytest.mark.parametrize("words", [("init",), ("serve", "--dev", "--port", "21099")])
def test_folder_with_something_else_in_it(folder, words):
    (folder / "letter.txt").write_text("mine")
    code, _, err = run(*words, "--data", folder)
    assert code == 1 and "letter.txt" in err and str(folder) in err
    assert [p.name for p in folder.iterdir()] == ["letter.txt"]


def test_wrong_format_version(made):
    (made.data / "FORMAT").write_text("strongroom 99\n")
    code, _, err = run("serve", "--config", made.config)
    assert code == 1 and "format 99" in err


def test_check_finds_damage(folder):
    port = wire.free_base_port()
    with Running("--dev", "--data", folder / "d", "--port", port, port=port) as s:
        api = wire.Api(s)
        container = api.create_container()
        api.put_ok(container, "large", os.urandom(3 << 20))
        api.put_ok(container, "small", b"inline")
        api.close()
        assert s.stop() == 0
    code, out, err = run("check", "--data", folder / "d")
    assert code == 0 and "2 blobs" in out and "0 defects" in out, out + err
    extent = max((folder / "d" / "extents").iterdir(), key=lambda p: p.stat().st_blocks)
    with open(extent, "r+b") as f:
        f.seek(1 << 20)
        was = f.read(1)
        f.seek(1 << 20)
        f.write(bytes([was[0] ^ 1]))
    code, out, _ = run("check", "--data", folder / "d")
    assert code == 1 and "large" in out and "damaged" in out and "small" not in out
    shutil.rmtree(folder / "d" / "rows")
    assert run("check", "--data", folder / "d")[0] in (1, 2)


# ---- signals and the service manager --------------------------------------------------------------------------

def test_tells_systemd(made):
    path = str(made.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as n:
        n.bind(path)
        n.settimeout(TIMEOUT_S)
        with serve_made(made, env={"NOTIFY_SOCKET": path}) as s:
            assert n.recv(100) == b"READY=1"
            assert get(made.port + 1, "/readyz")[0] == 200
            s.process.send_signal(signal.SIGHUP)
            assert [n.recv(100), n.recv(100)] == [b"RELOADING=1", b"READY=1"]
            assert s.stop() == 0
            assert n.recv(100) == b"STOPPING=1"


def test_hangup_opens_the_log_again(made):
    log = made.folder / "server.log"
    made.config.write_text(made.text + f"log:\n  file: {log}\n")
    process = subprocess.Popen([PROGRAM, "serve", "--config", made.config])
    try:
        wait_until(lambda: log.exists() and "ready" in log.read_text())
        log.rename(made.folder / "old.log")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.exists() and "reloaded" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        assert "stopped" in log.read_text() and "stopped" not in (made.folder / "old.log").read_text()
        assert stat.S_IMODE(log.stat().st_mode) & 0o077 == 0
    finally:
        process.kill()
        process.wait()


def wait_until(true):
    end = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def certificate(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                    "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "t.key",
                    "-out", folder / "t.crt"], check=True, capture_output=True)


def served_certificate(port):
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=TIMEOUT_S)


def test_hangup_reads_certificates_again(made):
    certificate(made.folder, "first")
    made.config.write_text(made.text + f"tls:\n  certificate: {made.folder}/t.crt\n  key: {made.folder}/t.key\n")
    with serve_made(made) as s:
        first = served_certificate(made.port)
        assert first.strip() == (made.folder / "t.crt").read_text().strip()
        with socket.create_connection(("127.0.0.1", made.port)) as c:
            c.settimeout(TIMEOUT_S)
            c.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                answer = c.recv(100)
            except ConnectionResetError:
                answer = b""
            assert not answer.startswith(b"HTTP/1.1 2"), "plain HTTP is not served on a TLS port"
        assert get(made.port + 1, "/healthz")[0] == 200, "the admin listener is on loopback: plain"
        certificate(made.folder, "second")
        s.process.send_signal(signal.SIGHUP)
        wait_until(lambda: served_certificate(made.port) != first)
        (made.folder / "t.crt").write_text("not a certificate")
        s.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("reload_failed" in line for line in s.err))
        assert served_certificate(made.port) != first, "the old ones stay"
        assert s.stop() == 0


def test_stop_finishes_requests_in_flight(folder):
    port = wire.free_base_port()
    with Running("--dev", "--data", folder / "d", "--port", port, port=port) as s:
        api = wire.Api(s)
        container = api.create_container()
        body = os.urandom(2 << 20)
        head = api.build("PUT", f"/{container}/late", [("x-ms-blob-type", "BlockBlob")], body)
        with socket.create_connection(("127.0.0.1", port)) as c:
            c.settimeout(TIMEOUT_S)
            c.sendall(head[: len(head) // 2])
            time.sleep(0.3)
            s.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            c.sendall(head[len(head) // 2:])
            assert c.recv(100).startswith(b"HTTP/1.1 201")
        api.close()
        assert s.process.wait(TIMEOUT_S) == 0
    with Running("--dev", "--data", folder / "d", "--port", port, port=port) as s:
        api = wire.Api(s)
        assert api("GET", f"/{container}/late").body == body
        api.close()
        assert s.stop() == 0
