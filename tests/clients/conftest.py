"""What the client tests share: one server a session, plain and (when a test asks) with TLS."""

import os
import pathlib
import shutil
import sys
import uuid

import pytest
from azure.storage.blob import BlobServiceClient

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import server as servers  # noqa: E402

AZURITE = os.environ.get("STRONGROOM_TEST_SERVER") == "azurite"


def pytest_configure(config):
    config.addinivalue_line("markers", "not_azurite: Azurite does otherwise, and is wrong")


def pytest_collection_modifyitems(items):
    for item in items:
        if AZURITE and item.get_closest_marker("not_azurite"):
            item.add_marker(pytest.mark.skip(reason="Azurite does otherwise"))


@pytest.fixture(scope="session")
def server():
    with servers.Server() as s:
        yield s


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory):
    with servers.Server().with_tls(servers.Tls(tmp_path_factory.mktemp("tls"))) as s:
        yield s


@pytest.fixture(scope="session")
def service(server):
    # retry_total=0: an error that a retry would hide is an error
    with BlobServiceClient.from_connection_string(server.connection_string, retry_total=0) as s:
        yield s


@pytest.fixture
def container(service):
    """A new container, deleted at the end."""
    c = service.create_container("t" + uuid.uuid4().hex)
    yield c
    c.delete_container()


@pytest.fixture
def workdir():
    folder = servers.scratch("work")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
