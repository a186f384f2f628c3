"""OpenSearch from Maven Central: one node with HTTP, started by a few lines of Java."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.export.receiver import free_port
from tests.java import SMALL, jars, process

VERSION = "2.19.6"
ARTIFACTS = (
    f"org.opensearch:opensearch:{VERSION}",
    f"org.opensearch.plugin:transport-netty4-client:{VERSION}",
    "org.apache.logging.log4j:log4j-core:2.25.4",
)
_START_TIMEOUT = 90
# Without http.compression=false, Zipkin's reads of large traces were answered 500.
_SOURCE = """
import java.nio.file.Path;
import java.util.*;
import org.opensearch.common.settings.Settings;
import org.opensearch.node.*;
import org.opensearch.transport.Netty4Plugin;

public class OneNode extends Node {
  OneNode(Settings settings) {
    super(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "obskit"),
        List.of(Netty4Plugin.class), false);
  }
  public static void main(String[] arguments) throws Exception {
    Settings settings = Settings.builder().put("path.home", arguments[0]).put("http.port", arguments[1])
        .put("transport.port", arguments[2]).put("discovery.type", "single-node").put("http.type", "netty4")
        .put("transport.type", "netty4").put("http.compression", false).build();
    OneNode node = new OneNode(settings);
    node.start();
    Thread.currentThread().join();
  }
}
"""


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which a Zipkin server uses a new index in ``folder``. Raises Unavailable."""
    lib = jars(f"opensearch-{VERSION}", *ARTIFACTS)
    port = free_port()
    source = folder / "OneNode.java"
    source.write_text(_SOURCE)
    command = ["java", "-Xmx512m", *SMALL, "-cp", f"{lib}/*", str(source), str(folder), str(port), str(free_port())]

    def answers() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    with process(command, answers, _START_TIMEOUT, cwd=folder):
        yield {"STORAGE_TYPE": "elasticsearch", "ES_HOSTS": f"http://127.0.0.1:{port}"}
