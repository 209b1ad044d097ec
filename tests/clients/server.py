"""Starts the server under test, each with a data folder and ports of its own.

Standard library only: the client tests, the crash tests, the load tests and the bench use it. Azurite
and nginx are started here too, for comparison. STRONGROOM names another binary than build/strongroom;
STRONGROOM_TEST_SERVER=azurite runs the client tests against Azurite, to tell a wrong test from a wrong
server.
"""

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.client
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from ports import free_port  # noqa: E402

BUILD = ROOT / "build"
ENV = BUILD / "test-env"
BINARY = pathlib.Path(os.environ.get("STRONGROOM", BUILD / "strongroom"))
DEV_ACCOUNT = "devstoreaccount1"
DEV_KEY = ("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
           "K1SZFPTOtr/KBHBeksoGMGw==")
START_SECONDS_MAX = 120  # when to give up, not a measure of speed


def scratch(name):
    """A new folder below build/ (STRONGROOM_SCRATCH): the same disk that a user would store on."""
    base = pathlib.Path(os.environ.get("STRONGROOM_SCRATCH", BUILD / "scratch"))
    base.mkdir(parents=True, exist_ok=True)
    return pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=base))


def wait_for_port(port, process=None):
    give_up = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < give_up:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode} before it was ready")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


class Process:
    """A program whose output is kept; stopped at the end of a `with`."""

    def __init__(self, argv, log=None, **kwargs):
        self.argv = [str(a) for a in argv]
        self.lines = []
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)
        self.log = open(log, "ab") if log else None
        self.changed = threading.Condition()
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            if self.log:
                self.log.write(line)
                self.log.flush()
            with self.changed:
                if len(self.lines) < 10000:
                    self.lines.append(line.decode(errors="replace"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    @property
    def output(self):
        return "".join(self.lines)

    @property
    def pid(self):
        return self.process.pid

    def wait_for_line(self, wanted):
        """The first line that holds `wanted`."""
        give_up = time.monotonic() + START_SECONDS_MAX
        with self.changed:
            while True:
                for line in self.lines:
                    if wanted in line:
                        return line.strip()
                if self.ended or time.monotonic() > give_up:
                    raise RuntimeError(f"{self.argv[0]} did not become ready:\n{self.output}")
                self.changed.wait(1)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def stop(self):
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(START_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()
                raise RuntimeError(f"{self.argv[0]} did not stop on SIGTERM") from None
        self.reader.join()
        if self.log:
            self.log.close()
            self.log = None
        return self.process.returncode

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/status") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0


class Server:
    """One server: where it listens, its account, and how to start, kill and stop it."""

    def __init__(self, data=None, port=None, kind=None, extra=()):
        self.kind = kind or os.environ.get("STRONGROOM_TEST_SERVER", "strongroom")
        self.folder = scratch(self.kind) if data is None else None
        self.data = pathlib.Path(data) if data else self.folder / "data"
        self.port = port or free_port()
        self.scheme = "http"
        self.account, self.key = DEV_ACCOUNT, DEV_KEY
        self.ca = self.config = self.root_key = None
        self.extra = list(extra)
        self.process = None

    def argv(self):
        if self.kind == "azurite":
            argv = [ENV / "bin/node", ENV / "node/node_modules/azurite/dist/src/blob/main.js",
                    "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location", self.data,
                    "--blobHost", "127.0.0.1", "--blobPort", self.port]
            if self.scheme == "https":
                argv += ["--cert", self.tls.certificate, "--key", self.tls.key]
            return argv + self.extra
        if self.config:
            return [BINARY, "serve", "--config", self.config] + self.extra
        return [BINARY, "serve", "--dev", "--data", self.data, "--port", self.port] + self.extra

    def launch(self, **kwargs):
        """Starts and does not wait."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.process = Process(self.argv(), log=self.data.parent / "server.log", **kwargs)
        return self

    def start(self):
        self.launch()
        if self.kind == "azurite" or self.config:
            wait_for_port(self.port, self.process.process)
        else:
            self.process.wait_for_line("DefaultEndpointsProtocol=")
        return self

    def with_tls(self, tls):
        """A production server: made by `init`, with a certificate; the account's name is `records`."""
        self.tls = tls
        self.ca = tls.ca
        self.scheme = "https"
        if self.kind == "azurite":
            return self
        self.config = self.data.parent / "strongroom.yaml"
        self.root_key = self.data.parent / "root.key"
        made = subprocess.run([BINARY, "init", "--data", self.data, "--root-key", self.root_key,
                               "--account", "records", "--config", self.config],
                              capture_output=True, text=True)
        if made.returncode != 0:
            raise RuntimeError(made.stdout + made.stderr)
        said = made.stdout + made.stderr
        self.account = "records"
        self.key = said.split("AccountKey=")[1].split(";")[0].strip()
        self.config.write_text(f"""\
data: {self.data}
root_key: {self.root_key}
listen:
  - 127.0.0.1:{self.port}
tls:
  certificate: {tls.certificate}
  key: {tls.key_file}
admin:
  listen: 127.0.0.1:{self.port + 1}
""")
        return self

    def stop(self):
        process, self.process = self.process, None
        return process.stop() if process else 0

    def kill(self):
        process, self.process = self.process, None
        process.kill()

    def close(self):
        """Stops and removes the data folder, unless the test wants to look at it."""
        status = self.stop()
        if self.folder and not os.environ.get("STRONGROOM_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
        return status

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.close()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}/{self.account}"

    @property
    def connection_string(self):
        return (f"DefaultEndpointsProtocol={self.scheme};AccountName={self.account};"
                f"AccountKey={self.key};BlobEndpoint={self.url};")

    def account_sas(self, permissions="rwdlacu", types="sco", minutes=720, protocol=None):
        """An account SAS signed here, for tools that take nothing else."""
        expiry = (datetime.datetime.now(datetime.timezone.utc)
                  + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        version = "2021-12-02"
        order = "rwdxylacuptfi"
        sp = "".join(c for c in order if c in permissions)
        text = "\n".join([self.account, sp, "b", types, "", expiry, "", protocol or "", version,
                          "", ""])
        signature = base64.b64encode(hmac.new(base64.b64decode(self.key), text.encode(),
                                              hashlib.sha256).digest()).decode()
        query = {"sv": version, "ss": "b", "srt": types, "sp": sp, "se": expiry, "sig": signature}
        if protocol:
            query["spr"] = protocol
        return urllib.parse.urlencode(query)

    def metrics(self):
        """The admin listener's /metrics as a dictionary of series."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port + 1, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        series = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                series[name] = float(value)
        return series

    def check(self):
        """`strongroom check` on the stopped folder."""
        key = ["--root-key", self.root_key] if self.root_key else []
        return subprocess.run([BINARY, "check", "--data", self.data, *key], capture_output=True, text=True)


class Tls:
    """A certificate authority that signs one certificate for 127.0.0.1 and localhost."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.ca, self.certificate = folder / "ca.pem", folder / "server.pem"
        self.key_file = self.key = folder / "server.key"
        extensions = folder / "ext.cnf"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n"
                              "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")

        def openssl(*args):
            subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)

        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj",
                "/CN=Strongroom test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", folder / "ca.key", "-out", self.ca)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", self.key,
                "-out", folder / "server.csr")
        openssl("x509", "-req", "-in", folder / "server.csr", "-CA", self.ca, "-CAkey",
                folder / "ca.key", "-CAcreateserial", "-days", 2, "-extfile", extensions, "-out",
                self.certificate)
        os.chmod(self.key, 0o600)


def digest(path):
    """The SHA-256 of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def tree(folder):
    """{relative name: SHA-256} of the plain files below a folder."""
    folder = pathlib.Path(folder)
    return {str(p.relative_to(folder)): digest(p) for p in sorted(folder.rglob("*"))
            if p.is_file() and not p.is_symlink()}


def content(seed, length):
    """Bytes that do not compress and are the same for the same seed."""
    return random.Random(f"{seed}").randbytes(length)
