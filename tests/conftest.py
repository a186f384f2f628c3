"""What all tests share: their order, their reports, and quick garbage collections."""

import gc
import signal
import uuid
from importlib.metadata import version

import pytest

# Shells start background jobs with SIGINT ignored, and every program that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Assertions inside the shipped contracts explain themselves like those of test files.
pytest.register_assert_rewrite("obskit.testing")


def pytest_configure(config):
    """Ignore what old Starlette leaves to the garbage collector: https://github.com/encode/starlette/pull/2813."""
    if tuple(map(int, version("starlette").split(".")[:3])) < (0, 45, 1):
        config.addinivalue_line("filterwarnings", "ignore:Unclosed <MemoryObjectReceiveStream:ResourceWarning")


def pytest_collection_modifyitems(items):
    """The file that takes longest comes first, so that of two workers none waits for the other at the end."""
    items.sort(key=lambda item: item.path.name != "test_packaging.py")


def pytest_collection_finish():
    """Many tests collect garbage: spare them all that was imported, which is none."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Replace lone surrogates, which tests of hostile text print: pytest-xdist cannot pass them on."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="module")
def broker():
    """Run a Kafka broker; skip the test where the machine cannot have one."""
    from tests import kafka_server, zipkin_server

    try:
        with kafka_server.running() as found:
            yield found
    except zipkin_server.Unavailable as error:
        pytest.skip(f"no Kafka broker: {error}")


@pytest.fixture
def topic():
    """Return the name of a topic that no other test uses."""
    return f"test-{uuid.uuid4()}"
