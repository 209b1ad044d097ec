"""One server for all wire tests, a client and a container for each."""
import collections
import re

import pytest

pytest.register_assert_rewrite("wire")

import wire  # noqa: E402  (rewritten first, so that its asserts tell what they saw)


@pytest.fixture(scope="session")
def server():
    s = wire.Server()
    yield s
    assert s.alive(), "the server died:\n" + "".join(s.output)
    assert s.stop() == 0, "SIGTERM did not end it cleanly:\n" + "".join(s.output)


@pytest.fixture(scope="module")
def own():
    """A server of the module's own, for what tests of other modules must not see."""
    s = wire.Server()
    yield s
    assert s.stop() == 0


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


# ---- docs/operations.md says which file sees an operation succeed and be refused ------------------------------

def answers(server):
    """{operation: {status: count}} of this server and of those that have stopped."""
    found = collections.defaultdict(dict)
    for (operation, status), n in (wire.answered(server.port) + wire.ANSWERED).items():
        found[operation][status] = n
    return found


def tested_by(name):
    """The operations that the page says this file tests."""
    page = (wire.ROOT / "docs/operations.md").read_text()
    return re.findall(rf"^\| ([^|]+) \| yes \| [^|]* \| \[{re.escape(name)}\]", page, re.M)


@pytest.fixture(scope="module", autouse=True)
def page_is_true(request):
    """When a file has run whole, what the page says of it was so."""
    operations = tested_by(request.path.name)
    options = request.config.option
    if not operations or options.keyword or options.markexpr or any("::" in a for a in request.config.args):
        yield
        return
    server = request.getfixturevalue("server")
    before = answers(server)
    yield
    after = answers(server)
    untrue = []
    for operation in operations:
        seen = {s for s, n in after[operation].items() if n > before[operation].get(s, 0)}
        untrue += [f"{operation} did not succeed once"] if not any(s < 400 for s in seen) else []
        untrue += [f"{operation} was not refused once"] if not any(400 <= s < 500 for s in seen) else []
    assert request.session.testsfailed or not untrue, f"docs/operations.md, {request.path.name}: {'; '.join(untrue)}"
