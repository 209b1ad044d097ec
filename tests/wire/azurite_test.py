"""Called as `azurite` or `azurite-blob`: its flags, its lines, its exit codes; what is not done is said."""
import base64
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest
import wire

PROGRAM = os.environ.get("STRONGROOM", str(wire.ROOT / "build" / "strongroom"))
TIMEOUT_S = 60
OWN = base64.b64encode(b"a key of my own").decode()
OTHER = base64.b64encode(b"another one").decode()


@pytest.fixture
def place():
    """A folder with the links that `make install` makes, and one to run in."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="sr-az-"))
    for name in ("azurite", "azurite-blob", "azurite-queue", "azurite-table"):
        (path / name).symlink_to(PROGRAM)
    (path / "here").mkdir()
    (path / "tmp").mkdir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


def environment(place, env):
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("AZURITE_", "STRONGROOM_AZURITE"))}
    return {**clean, "TMPDIR": str(place / "tmp"), **(env or {})}


def run(place, name, *flags, env=None):
    """To its end: exit code, standard output, standard error."""
    r = subprocess.run([place / name, *map(str, flags)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=TIMEOUT_S, cwd=place / "here", env=environment(place, env))
    return r.returncode, r.stdout, r.stderr


class Running:
    def __init__(self, place, name, *flags, env=None):
        self.process = subprocess.Popen([place / name, *map(str, flags)], stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=place / "here",
                                        env=environment(place, env))
        self.out, self.err = [], []
        self.readers = [threading.Thread(target=to.extend, args=(stream,), daemon=True)
                        for stream, to in ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for reader in self.readers:
            reader.start()
        end = time.monotonic() + TIMEOUT_S
        while not self.ready and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert self.ready, self.out + self.err
        self.scheme, self.host, port = self.ready.groups()
        self.port = int(port)
        self.account, self.key = wire.ACCOUNT, wire.KEY

    @property
    def ready(self):
        return next((m for line in self.out for m in
                     [re.search(r"(?:listening at|listens on) (https?)://(.+):(\d+)$", line.strip())] if m), None)

    def api(self, account=None, key=None):
        return wire.Api(self, account, key)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(TIMEOUT_S)
        for reader in self.readers:
            reader.join()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def listing(api):
    r = api("GET", "/?comp=list")
    assert r.status == 200, r
    return [n.text for n in r.xml.iter("Name")]


# ---- lines and ends ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, lines", [
    ("azurite", ["Azurite Blob service is starting at http://127.0.0.1:PORT",
                 "Azurite Blob service is successfully listening at http://127.0.0.1:PORT"]),
    ("azurite-blob", ["Azurite Blob service is starting on 127.0.0.1:PORT",
                      "Azurite Blob service successfully listens on http://127.0.0.1:PORT"]),
])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_lines_of_a_start_and_an_end(place, name, lines, number):
    port = wire.free_base_port()
    with Running(place, name, "--silent", "--blobPort", port) as a:
        assert listing(a.api()) == []
        assert a.stop(number) == 0
    assert [line.strip().replace(str(port), "PORT") for line in a.out] == \
        lines + ["Azurite Blob service is closing...", "Azurite Blob service successfully closed"]


def test_port_zero_is_any_port_and_is_printed(place):
    with Running(place, "azurite-blob", "--blobPort", "0", "-s") as a, \
            Running(place, "azurite-blob", "--blobPort=0", "-s", "-l", "other") as b:
        assert a.port != b.port
        assert listing(a.api()) == [] and listing(b.api()) == []


def test_port_in_use_is_exit_1_with_nodes_word(place):
    with Running(place, "azurite-blob", "--blobPort", "0", "-s") as a:
        code, _, err = run(place, "azurite-blob", "-l", "other", "--blobPort", a.port)
    assert code == 1
    assert f"Exit due to unhandled error: listen EADDRINUSE: address already in use 127.0.0.1:{a.port}" in err


def test_location_in_use_is_exit_1_and_no_address_is_blamed(place):
    with Running(place, "azurite-blob", "--blobPort", "0", "-s"):
        code, _, err = run(place, "azurite-blob", "--blobPort", "0", "-s")
    assert code == 1 and "Exit due to unhandled error: " in err and "EADDRINUSE" not in err


def test_no_admin_listener_takes_the_next_port(place):
    """Programs give 10001 to queues, or run several emulators on neighbouring ports."""
    port = wire.free_base_port()
    with Running(place, "azurite-blob", "-s", "--blobPort", port), \
            Running(place, "azurite-blob", "-s", "--blobPort", port + 1, "-l", "other") as b:
        assert listing(b.api()) == []


# ---- flags ---------------------------------------------------------------------------------------------------

def test_every_flag_of_azurite_is_taken(place):
    with Running(place, "azurite", "-L", "--blobHost", "localhost", "--blobPort", "0", "--blobKeepAliveTimeout", "5",
                 "--queueHost", "127.0.0.1", "--queuePort", "0", "--queueKeepAliveTimeout", "5", "--tableHost",
                 "127.0.0.1", "--tablePort", "0", "--tableKeepAliveTimeout", "5", "--skipApiVersionCheck",
                 "--disableProductStyleUrl", "--disableTelemetry", "--oauth", "basic", "--silent", "--debug",
                 "logs/deep/debug.log", "--location", "a/b") as a:
        assert listing(a.api()) == []
        assert a.stop() == 0
    assert (place / "here/a/b/__strongroom__").is_dir()
    assert (place / "here/logs/deep/debug.log").stat().st_size > 0


def test_letters_stand_together(place):
    with Running(place, "azurite-blob", "-sLl", "w", "--blobPort", "0"):
        assert (place / "here/w/__strongroom__").is_dir()


def test_the_current_folder_is_the_default_location(place):
    with Running(place, "azurite-blob", "-s", "--blobPort", "0"):
        assert [p.name for p in (place / "here").iterdir()] == ["__strongroom__"]


def test_data_stays_and_memory_does_not(place):
    for flags, stays in ((["-l", "w"], True), (["--inMemoryPersistence"], False)):
        with Running(place, "azurite-blob", "-s", "--blobPort", "0", *flags) as a:
            assert a.api()("PUT", "/kept?restype=container").status == 201
            assert a.stop() == 0
        with Running(place, "azurite-blob", "-s", "--blobPort", "0", *flags) as a:
            assert listing(a.api()) == (["kept"] if stays else [])
            assert a.stop() == 0
    assert list((place / "tmp").iterdir()) == [], "the temporary folders are gone"


def test_silent_says_nothing_and_not_silent_logs(place):
    for flags, said in (([], True), (["--silent"], False)):
        with Running(place, "azurite-blob", "--blobPort", "0", *flags) as a:
            assert a.api()("GET", "/nothere/blob").status == 404
            assert a.stop() == 0
        assert bool(a.err) == said, a.err


def test_certificate_makes_it_https(place):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "1", "-subj", "/CN=localhost", "-keyout", place / "k.pem", "-out", place / "c.pem"], check=True,
                   capture_output=True)
    with Running(place, "azurite-blob", "-s", "--blobPort", "0", "--cert", place / "c.pem", "--key", place / "k.pem") as a:
        assert a.scheme == "https"
        out = subprocess.run(["curl", "-sk", "-o", os.devnull, "-w", "%{http_code}",
                              f"https://127.0.0.1:{a.port}/{wire.ACCOUNT}?comp=list"], capture_output=True, text=True)
        assert out.stdout in ("403", "404", "401"), out


@pytest.mark.parametrize("flags, says", [
    (["--blobPrt", "1"], "Did you mean --blobPort"),
    (["--blobPort", "70000"], "from 0 to 65535"),
    (["--blobPort", "ten"], "from 0 to 65535"),
    (["--debug"], "Must provide a value for parameter --debug"),
    (["-d"], "Must provide a value for parameter --debug"),
    (["surplus"], "'surplus' is no option"),
    (["--cert", "c.pem"], "--cert and --key"),
    (["--cert", "c.pfx", "--pwd", "x"], "openssl pkcs12"),
    (["--cert", "nowhere.pem", "--key", "nowhere.key"], "nowhere"),
    (["--inMemoryPersistence", "-l", "w"], "not supported when the --location option is set"),
    (["--extentMemoryLimit", "10"], "only supported when the --inMemoryPersistence option is set"),
    (["--blobHost", "no.such.name"], "is not an IP address"),
])
def test_bad_flags_are_exit_1_and_said(place, flags, says):
    code, out, err = run(place, "azurite-blob", "--blobPort", "0", *flags) if "--blobPort" not in flags else \
        run(place, "azurite-blob", *flags)
    assert code == 1 and says in err and "listens on" not in out, (out, err)
    assert list((place / "tmp").iterdir()) == []


def test_version_is_azurites_and_who_answers_is_said(place):
    for flag in ("--version", "-v", "version"):
        code, out, err = run(place, "azurite", flag)
        assert code == 0 and re.fullmatch(r"3\.\d+\.\d+\n", out) and "Strongroom" in err


def test_help_names_every_flag(place):
    for flag in ("--help", "-h", "help"):
        code, out, _ = run(place, "azurite", flag)
        assert code == 0
        for name in ("blobHost", "blobPort", "location", "silent", "loose", "debug", "oauth", "cert", "key", "pwd",
                     "inMemoryPersistence", "extentMemoryLimit", "queuePort", "tablePort", "disableTelemetry"):
            assert f"--{name}" in out


def test_the_same_as_a_command(place):
    r = subprocess.run([PROGRAM, "azurite", "--version"], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert r.returncode == 0 and r.stdout == run(place, "azurite", "--version")[1]


# ---- what is not done ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["azurite-queue", "azurite-table"])
def test_only_another_service_is_refused(place, name):
    code, out, err = run(place, name, "--silent")
    assert code == 1 and "only the Blob service" in err and out == ""


@pytest.mark.parametrize("name, flags, env, says", [
    ("azurite", [], {}, "Queue and Table services are not part"),
    ("azurite-blob", ["--oauth", "basic"], {}, "--oauth is not supported"),
    ("azurite-blob", ["--inMemoryPersistence", "--extentMemoryLimit", "10"], {}, "--extentMemoryLimit is not supported"),
    ("azurite-blob", [], {"AZURITE_DB": "mysql://x"}, "AZURITE_DB is not supported"),
])
def test_what_is_not_done_is_one_line(place, name, flags, env, says):
    with Running(place, name, "-s", "--blobPort", "0", *flags, env=env) as a:
        assert listing(a.api()) == []
        assert a.stop() == 0
    assert len(a.err) == 1 and says in a.err[0] and a.err[0].startswith(name + ": ")


# ---- accounts ------------------------------------------------------------------------------------------------

def test_accounts_variable(place):
    with Running(place, "azurite-blob", "-s", "--blobPort", "0",
                 env={"AZURITE_ACCOUNTS": f"first1:{OWN};second2:{OWN}:{OTHER};"}) as a:
        assert listing(a.api("first1", OWN)) == []
        assert a.api("second2", OTHER)("PUT", "/two?restype=container").status == 201
        assert listing(a.api("second2", OWN)) == ["two"]
        assert a.api("first1", OTHER)("GET", "/?comp=list").status == 403
        assert a.api()("GET", "/?comp=list").status in (403, 404), "the well-known account is not served"


def test_accounts_follow_the_variable_and_data_stays(place):
    """"Default storage account devstoreaccount1 will be disabled when providing customized storage accounts"."""
    def start(env):
        return Running(place, "azurite-blob", "-s", "--blobPort", "0", "-l", "w", env=env)
    with start({}) as a:
        assert a.api()("PUT", "/old?restype=container").status == 201
        assert a.stop() == 0
    with start({"AZURITE_ACCOUNTS": f"first1:{OWN}"}) as a:
        assert a.api()("GET", "/?comp=list").status == 403
        assert listing(a.api("first1", OWN)) == []
        assert a.stop() == 0
    with start({"AZURITE_ACCOUNTS": f"first1:{OTHER};{wire.ACCOUNT}:{wire.KEY}"}) as a:
        assert listing(a.api()) == ["old"]
        assert listing(a.api("first1", OTHER)) == []
        assert a.api("first1", OWN)("GET", "/?comp=list").status == 403
        assert a.stop() == 0


@pytest.mark.parametrize("value, says", [
    ("name", "has no key"), ("name:a:b:c", "not base64"), (f"name:{OWN}:{OWN}:{OWN}", "more than two keys"),
    ("Name:" + OWN, "no account's name"), (":" + OWN, "no account's name"), ("name:???", "not base64"),
    (";", "names no account"), ("name:", "not base64"),
])
def test_bad_accounts_are_refused(place, value, says):
    code, _, err = run(place, "azurite-blob", "--blobPort", "0", env={"AZURITE_ACCOUNTS": value})
    assert code == 1 and says in err, err
    assert OWN not in err, "keys are not printed"


def test_account_in_the_host_unless_switched_off(place):
    for flags, status in (([], 200), (["--disableProductStyleUrl"], 400)):
        with Running(place, "azurite-blob", "-s", "--blobPort", "0", *flags) as a:
            api = a.api()
            r = api("GET", "/?comp=list", base="", host=f"{wire.ACCOUNT}.blob.localhost:{a.port}")
            assert r.status == status, r
            for host in (f"localhost:{a.port}", f"[::1]:{a.port}", "host.docker.internal", "azurite"):
                assert api("GET", "/?comp=list", host=host).status == 200, host


# ---- who is served -------------------------------------------------------------------------------------------

def listens_on(port):
    """Local addresses of the listening sockets on that port, as /proc/net/tcp and tcp6 write them."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net/" + name).read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.split(":")[1], 16) == port:
                found.add(address.split(":")[0])
    return found


LOOPBACK, ANY = {"0100007F"}, {"00000000"}


@pytest.mark.parametrize("env, where", [
    ({}, LOOPBACK),
    ({"AZURITE_ACCOUNTS": f"first1:{OWN};second2:{wire.KEY}"}, LOOPBACK),
    ({"STRONGROOM_AZURITE_REMOTE": "1"}, LOOPBACK),
    ({"STRONGROOM_AZURITE_REMOTE": "true"}, ANY),
    ({"AZURITE_ACCOUNTS": f"first1:{OWN}"}, ANY),
])
def test_public_keys_are_not_served_to_others(place, env, where):
    with Running(place, "azurite-blob", "-s", "--blobPort", "0", "--blobHost", "0.0.0.0", env=env) as a:
        assert listens_on(a.port) == where
        assert a.host == ("127.0.0.1" if where == LOOPBACK else "0.0.0.0"), "the line tells where"
        assert a.stop() == 0
    assert any("STRONGROOM_AZURITE_REMOTE=true" in line for line in a.err) == (where == LOOPBACK)
    assert any("plain HTTP" in line for line in a.err) == (where == ANY)


def test_an_address_of_others_is_refused(place):
    code, _, err = run(place, "azurite-blob", "--blobPort", "0", "--blobHost", "192.0.2.1")
    assert code == 1 and "key is public" in err and "STRONGROOM_AZURITE_REMOTE=true" in err
    assert list((place / "here").iterdir()) == []


def test_the_address_of_a_loopback_of_version_six(place):
    for host in ("::1", "[::1]"):
        if not pathlib.Path("/proc/net/if_inet6").exists() or not pathlib.Path("/proc/net/if_inet6").read_text():
            pytest.skip("this machine has no IPv6")
        with Running(place, "azurite-blob", "-s", "--blobPort", "0", "--blobHost", host) as a:
            assert a.host == "[::1]"


def test_install_puts_the_links_and_leaves_others(place):
    for name in ("azurite", "azurite-blob"):
        (place / name).unlink()
    (place / "bin").mkdir()
    (place / "bin/azurite-blob").write_text("somebody else's")
    r = subprocess.run(["make", "-s", "install", f"PREFIX={place}", "DESTDIR="], cwd=wire.ROOT, capture_output=True,
                       text=True)
    assert r.returncode == 0, r.stderr
    assert os.readlink(place / "bin/azurite") == "strongroom"
    assert (place / "bin/azurite-blob").read_text() == "somebody else's" and "left alone" in r.stderr
