"""One server for all wire tests, a client and a container for each."""
import pytest

pytest.register_assert_rewrite("wire")

import wire  # noqa: E402  (rewritten first, so that its asserts tell what they saw)


@pytest.fixture(scope="session")
def server():
    s = wire.Server()
    yield s
    assert s.alive(), "the server died:\n" + "".join(s.output)
    assert s.stop() == 0, "SIGTERM did not end it cleanly:\n" + "".join(s.output)


@pytest.fixture(scope="session")
def production():
    """A server made by init and started with a configuration file that names a host suffix."""
    s = wire.Server(production=True)
    yield s
    assert s.stop() == 0, "SIGTERM did not end it cleanly:\n" + "".join(s.output)


@pytest.fixture
def api(server):
    a = wire.Api(server)
    yield a
    a.close()
    assert server.alive(), "the server died:\n" + "".join(server.output)


@pytest.fixture
def container(api):
    name = api.create_container()
    yield name
    api("DELETE", f"/{name}?restype=container")


@pytest.fixture
def connection(server):
    with wire.Connection(server.port) as c:
        yield c
