"""The real input: Debian's Linux source package, more than 50,000 files and 1 GB, goes up with azcopy, is
listed and comes down, identical by checksum, over plain HTTP and over TLS. The folder is verified after.

STRONGROOM_TREE names another tree (a folder) to use; the package is kept in build/cache."""

import os
import pathlib
import shutil
import subprocess

import pytest
from azure.storage.blob import BlobServiceClient

import server as servers
from server import BUILD, ENV, tree

PACKAGE = "linux-source-6.1"


def unpack():
    """The package's tree below build/cache."""
    cache = BUILD / "cache"
    folder, done = cache / PACKAGE, cache / (PACKAGE + ".done")
    if done.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if not list(cache.glob(PACKAGE + "_*.deb")):
        command = ["apt-get", "download", "-q", PACKAGE]
        if subprocess.run(command, cwd=cache, stdin=subprocess.DEVNULL).returncode != 0:
            sudo = [] if os.getuid() == 0 else ["sudo", "-n"]
            subprocess.run(sudo + ["apt-get", "update", "-q"], check=True, stdin=subprocess.DEVNULL)
            subprocess.run(command, cwd=cache, check=True, stdin=subprocess.DEVNULL)
    package = next(cache.glob(PACKAGE + "_*.deb"))
    subprocess.run(["dpkg-deb", "-x", package, cache / "deb"], check=True)
    archive = next((cache / "deb/usr/src").glob("*.tar.xz"))
    subprocess.run(["tar", "-xf", archive, "-C", folder, "--strip-components=1"], check=True)
    shutil.rmtree(cache / "deb")
    done.touch()
    return folder


@pytest.fixture(scope="module")
def source():
    folder = pathlib.Path(os.environ.get("STRONGROOM_TREE") or unpack())
    files = tree(folder)
    if "STRONGROOM_TREE" not in os.environ:
        assert len(files) > 50000
        assert sum((folder / f).stat().st_size for f in files) > 1 << 30
    return folder, files


@pytest.mark.not_azurite
@pytest.mark.parametrize("how", ["http", "tls"])
def test_tree(source, workdir, tmp_path, how):
    folder, files = source
    server = servers.Server()
    if how == "tls":
        server.with_tls(servers.Tls(tmp_path))
    with server:
        environment = dict(os.environ, HOME=str(workdir), AZCOPY_DISABLE_SYSLOG="true",
                           AZCOPY_LOG_LOCATION=str(workdir / "log"),
                           AZCOPY_JOB_PLAN_LOCATION=str(workdir / "plan"))
        if server.ca:
            environment["SSL_CERT_FILE"] = str(server.ca)
        with BlobServiceClient.from_connection_string(
                server.connection_string, connection_verify=str(server.ca) if server.ca else True) as service:
            container = service.create_container("tree")
            where = f"{server.url}/tree?{server.account_sas()}"
            down = workdir / "down"

            def azcopy(*args):
                done = subprocess.run([ENV / "bin/azcopy", "copy", *args, "--recursive", "--log-level", "ERROR",
                                       "--skip-version-check", "--output-level", "essential"],
                                      env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
                print(done.stdout[-3000:], done.stderr[-3000:])
                assert done.returncode == 0

            azcopy(f"{folder}/*", where, "--from-to", "LocalBlob")
            assert sorted(container.list_blob_names()) == sorted(files)
            azcopy(where.replace("?", "/*?"), down, "--from-to", "BlobLocal")
        assert tree(down) == files
        assert server.stop() == 0
        checked = server.check()
        assert checked.returncode == 0, checked.stdout + checked.stderr
