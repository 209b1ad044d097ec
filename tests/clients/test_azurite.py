"""Programs that start Azurite start this one: a JavaScript project and a Python one, with their SDKs."""

import os
import re
import subprocess

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import BlobServiceClient

import server as servers
from server import BINARY, DEV_ACCOUNT, DEV_KEY, ENV, ROOT

pytestmark = pytest.mark.skipif(os.environ.get("STRONGROOM_TEST_SERVER") == "azurite",
                                reason="it is Strongroom that is called azurite here")


@pytest.fixture
def programs(tmp_path):
    for name in ("azurite", "azurite-blob"):
        (tmp_path / name).symlink_to(BINARY)
    return tmp_path


def test_javascript_project(programs):
    script = ENV / "node" / "azurite.test.mjs"  # node finds packages beside the file's real place
    script.write_bytes((ROOT / "tests/clients/azurite.test.mjs").read_bytes())
    done = subprocess.run([ENV / "bin/node", "--test", "--test-reporter=tap", "--test-timeout=60000", script], text=True,
                          env=dict(os.environ, AZURITE_BIN=str(programs)), stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=120)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert int(re.search(r"^# pass (\d+)", done.stdout, re.M)[1]) >= 2


def test_python_project(programs, tmp_path):
    """As pytest fixtures of Azure's own samples do: a connection string, two accounts, data that stays."""
    port = servers.free_port()
    argv = [programs / "azurite", "--silent", "--location", tmp_path / "data", "--blobPort", port]

    def client(account, key):
        return BlobServiceClient.from_connection_string(
            f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{account};", retry_total=0)

    first = servers.Process(argv, env=dict(os.environ))
    first.wait_for_line("Azurite Blob service is successfully listening at http://127.0.0.1:%d" % port)
    with client(DEV_ACCOUNT, DEV_KEY) as service:
        blob = service.create_container("samples").upload_blob("a", b"kept")
        assert blob.download_blob().readall() == b"kept"
    assert first.stop() == 0

    second = servers.Process(argv, env=dict(os.environ, AZURITE_ACCOUNTS=f"mine:bXkga2V5;{DEV_ACCOUNT}:{DEV_KEY}"))
    second.wait_for_line("is successfully listening at")
    with client(DEV_ACCOUNT, DEV_KEY) as service, client("mine", "bXkga2V5") as mine:
        assert service.get_blob_client("samples", "a").download_blob().readall() == b"kept"
        assert list(mine.list_containers()) == []
    with client("mine", DEV_KEY) as wrong, pytest.raises(ClientAuthenticationError):
        list(wrong.list_containers())
    assert second.stop() == 0
