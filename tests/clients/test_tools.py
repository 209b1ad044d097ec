"""The command lines that people use, as they come: az, azcopy, rclone. Each copies a small tree up and
down over plain HTTP; azcopy and rclone over TLS as well."""

import json
import os
import subprocess
import uuid

import pytest
from azure.storage.blob import BlobServiceClient

from server import ENV, content, tree


def run(argv, env=None, ok=True):
    done = subprocess.run([str(a) for a in argv], env=dict(os.environ, **(env or {})), text=True,
                          capture_output=True, stdin=subprocess.DEVNULL)
    print(" ".join(map(str, argv)), done.stdout, done.stderr, sep="\n")
    if ok:
        assert done.returncode == 0
    return done


@pytest.fixture
def small_tree(workdir):
    """A tree with the names and sizes that people have."""
    folder = workdir / "up"
    for i, (name, size) in enumerate({
            "empty": 0, "one": 1, "text file with spaces.txt": 1000, "deep/er/est/file.bin": 32769,
            "ümlaut/漢字 😀.txt": 500, "percent%41+plus&and=.txt": 77, "many/blocks.bin": 21 << 20,
            "a'quote\"and;semi#hash.txt": 5}.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(i, size))
    for i in range(120):
        path = folder / f"files/{i % 10}/{i:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(i, i * 37))
    return folder


@pytest.fixture(params=["http", "tls"])
def any_server(request):
    return request.getfixturevalue("server" if request.param == "http" else "tls_server")


# ---- az -----------------------------------------------------------------------------------------------

def test_az(server, workdir, small_tree):
    environment = {"AZURE_STORAGE_CONNECTION_STRING": server.connection_string,
                   "AZURE_CONFIG_DIR": str(workdir / "azure"), "AZURE_CORE_COLLECT_TELEMETRY": "false"}

    def az(*args, ok=True):
        done = run([ENV / "bin/az", "storage", *args, "--only-show-errors", "-o", "json"], environment, ok)
        return json.loads(done.stdout) if ok and done.stdout.strip() else done

    c = "az" + uuid.uuid4().hex
    assert az("container", "create", "-n", c)["created"] is True
    assert az("container", "exists", "-n", c)["exists"] is True
    assert c in [k["name"] for k in az("container", "list")]
    one = small_tree / "deep/er/est/file.bin"
    az("blob", "upload", "-c", c, "-f", one, "-n", "dir/one", "--metadata", "a=b", "--no-progress")
    shown = az("blob", "show", "-c", c, "-n", "dir/one")
    assert shown["properties"]["contentLength"] == one.stat().st_size and shown["metadata"] == {"a": "b"}
    assert az("blob", "exists", "-c", c, "-n", "dir/one")["exists"] is True
    assert az("blob", "exists", "-c", c, "-n", "absent")["exists"] is False
    again = az("blob", "upload", "-c", c, "-f", one, "-n", "dir/one", "--no-progress", ok=False)
    assert again.returncode != 0 and "BlobAlreadyExists" in again.stderr
    az("blob", "metadata", "update", "-c", c, "-n", "dir/one", "--metadata", "k=v")
    assert az("blob", "metadata", "show", "-c", c, "-n", "dir/one") == {"k": "v"}
    az("blob", "download", "-c", c, "-n", "dir/one", "-f", workdir / "one", "--no-progress")
    assert (workdir / "one").read_bytes() == one.read_bytes()

    az("blob", "upload-batch", "-d", c, "-s", small_tree, "--destination-path", "batch", "--no-progress")
    listed = az("blob", "list", "-c", c, "--prefix", "batch/", "--num-results", "*")
    names = tree(small_tree)
    assert sorted(b["name"] for b in listed) == sorted("batch/" + n for n in names)
    down = workdir / "down"
    down.mkdir()
    az("blob", "download-batch", "-s", c, "-d", down, "--pattern", "batch/*", "--no-progress")
    assert tree(down / "batch") == names

    sas = az("blob", "generate-sas", "-c", c, "-n", "dir/one", "--permissions", "r", "--expiry",
             "2040-01-01T00:00Z", "--full-uri")
    import urllib.request
    assert urllib.request.urlopen(sas).read() == one.read_bytes()
    az("blob", "delete", "-c", c, "-n", "dir/one")
    missing = az("blob", "show", "-c", c, "-n", "dir/one", ok=False)
    assert missing.returncode == 3  # how az says: not found
    az("blob", "delete-batch", "-s", c, "--pattern", "batch/files/*")
    assert len(az("blob", "list", "-c", c, "--num-results", "*")) == len(names) - 120
    assert az("container", "delete", "-n", c)["deleted"] is True


def make_container(server, name):
    with BlobServiceClient.from_connection_string(
            server.connection_string, connection_verify=str(server.ca) if server.ca else True) as s:
        s.create_container(name)


# ---- azcopy ---------------------------------------------------------------------------------------------

def azcopy_environment(server, workdir):
    environment = {"AZCOPY_LOG_LOCATION": str(workdir / "azcopy"), "AZCOPY_DISABLE_SYSLOG": "true",
                   "AZCOPY_JOB_PLAN_LOCATION": str(workdir / "azcopy"), "HOME": str(workdir)}
    if server.ca:
        environment["SSL_CERT_FILE"] = str(server.ca)
    return environment


def test_azcopy(any_server, workdir, small_tree):
    server = any_server
    environment = azcopy_environment(server, workdir)
    sas = server.account_sas()
    c = "azcopy" + uuid.uuid4().hex

    def azcopy(*args, ok=True):
        return run([ENV / "bin/azcopy", *args, "--skip-version-check"], environment, ok).stdout

    def where(path=""):
        return f"{server.url}/{c}{path}?{sas}"

    make_container(server, c)
    azcopy("copy", f"{small_tree}/*", where(), "--from-to", "LocalBlob", "--recursive", "--put-md5",
           "--block-size-mb", "4")
    listed = azcopy("list", where(), "--output-type", "json", "--location", "Blob")
    names = tree(small_tree)
    assert listed.count("ContentLength") == len(names)
    down = workdir / "down"
    azcopy("copy", where("/*"), down, "--from-to", "BlobLocal", "--recursive", "--check-md5", "FailIfDifferent")
    assert tree(down) == names

    # sync: what is new or changed goes up, what is gone is removed
    (small_tree / "one").write_bytes(b"changed content")
    os.utime(small_tree / "one", (4000000000, 4000000000))
    (small_tree / "added").write_bytes(b"added")
    (small_tree / "files/0/000").unlink()
    azcopy("sync", small_tree, where(), "--from-to", "LocalBlob", "--delete-destination", "true")
    synced = workdir / "synced"
    synced.mkdir()
    azcopy("sync", where(), synced, "--from-to", "BlobLocal")
    assert tree(synced) == tree(small_tree)
    azcopy("remove", where("/files"), "--from-to", "BlobTrash", "--recursive")
    left = azcopy("list", where(), "--output-type", "json", "--location", "Blob")
    assert left.count("ContentLength") == len(tree(small_tree)) - 119
    azcopy("remove", where(), "--from-to", "BlobTrash", "--recursive")


def test_azcopy_from_service_to_service(any_server, workdir, small_tree):
    """From one container to another: Put Blob From URL, and Put Block From URL for what is large."""
    server = any_server
    environment = azcopy_environment(server, workdir)
    sas = server.account_sas()
    one, two = "azone" + uuid.uuid4().hex, "aztwo" + uuid.uuid4().hex

    def azcopy(*args):
        return run([ENV / "bin/azcopy", *args, "--skip-version-check"], environment).stdout
    for name in (one, two):
        make_container(server, name)
    azcopy("copy", f"{small_tree}/*", f"{server.url}/{one}?{sas}", "--from-to", "LocalBlob", "--recursive", "--put-md5")
    azcopy("copy", f"{server.url}/{one}/*?{sas}", f"{server.url}/{two}?{sas}", "--from-to", "BlobBlob", "--recursive",
           "--block-size-mb", "4")
    down = workdir / "down"
    azcopy("copy", f"{server.url}/{two}/*?{sas}", down, "--from-to", "BlobLocal", "--recursive")
    assert tree(down) == tree(small_tree)


# ---- rclone -----------------------------------------------------------------------------------------------

def rclone_environment(server):
    environment = {"RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_STORE_TYPE": "azureblob",
                   "RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1"}
    # Debian's rclone 1.60 makes a host name of the account, except for an emulator and for a SAS
    if server.scheme == "http":
        environment["RCLONE_CONFIG_STORE_USE_EMULATOR"] = "true"
        environment["RCLONE_CONFIG_STORE_ENDPOINT"] = server.url
    else:
        environment["RCLONE_CONFIG_STORE_SAS_URL"] = f"{server.url}?{server.account_sas()}"
        environment["RCLONE_CA_CERT"] = str(server.ca)
    return environment


def test_rclone(any_server, workdir, small_tree):
    environment = rclone_environment(any_server)
    c = "store:rclone" + uuid.uuid4().hex

    def rclone(*args, ok=True):
        return run(["rclone", *args], environment, ok).stdout

    rclone("mkdir", c)
    rclone("copy", small_tree, c, "--azureblob-upload-cutoff", "4M", "--azureblob-chunk-size", "4M")
    names = tree(small_tree)
    assert sorted(rclone("lsf", "-R", "--files-only", c).splitlines()) == sorted(names)
    assert sorted(rclone("lsf", c + "/files/3").splitlines()) == sorted(f"{i:03}" for i in range(3, 120, 10))
    rclone("check", small_tree, c)
    rclone("check", "--download", small_tree, c)
    (workdir / "text").write_text("some text\n")
    rclone("copyto", workdir / "text", c + "/text")
    assert rclone("cat", c + "/text") == "some text\n"
    rclone("deletefile", c + "/text")
    down = workdir / "down"
    rclone("copy", c, down)
    assert tree(down) == names

    (small_tree / "one").write_bytes(b"changed")
    (small_tree / "added").write_bytes(b"added")
    (small_tree / "files/0/000").unlink()
    rclone("sync", small_tree, c)
    rclone("sync", c, down)
    assert tree(down) == tree(small_tree)
    assert json.loads(rclone("size", "--json", c))["count"] == len(names)
    rclone("deletefile", c + "/added")
    rclone("delete", c + "/files")
    assert rclone("lsf", "-R", "--files-only", c + "/files") == ""
    rclone("purge", c)
    assert run(["rclone", "lsf", c], environment, ok=False).returncode != 0


def test_rclone_copies_inside_the_server(any_server, workdir, small_tree):
    """Between containers rclone asks for Copy Blob and waits for its end; nothing passes through it."""
    environment = rclone_environment(any_server)
    one, two = "store:rcone" + uuid.uuid4().hex, "store:rctwo" + uuid.uuid4().hex

    def rclone(*args):
        return run(["rclone", *args], environment)
    for c in (one, two):
        rclone("mkdir", c)
    rclone("copy", small_tree, one)
    done = rclone("copy", one, two, "-v")
    assert "Copied (server-side copy)" in done.stderr and "Copied (new)" not in done.stderr
    assert sorted(rclone("lsf", "-R", "--files-only", two).stdout.splitlines()) == sorted(tree(small_tree))
    rclone("check", "--download", one, two)
    for c in (one, two):
        rclone("purge", c)
