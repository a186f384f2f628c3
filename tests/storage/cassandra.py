"""Cassandra from Maven Central: one node, in which the Zipkin server makes its schema itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.export.receiver import free_port
from tests.java import SMALL, jars, process

VERSION = "5.0.9"
# What Cassandra uses of Java's own, as its jvm17-server.options has it.
_EXPORTS = {
    "java.base": ["jdk.internal.misc", "java.lang.ref"],
    "java.management.rmi": ["com.sun.jmx.remote.internal.rmi"],
    "java.rmi": ["sun.rmi.registry", "sun.rmi.server"],
    "java.sql": ["java.sql"],
    "jdk.unsupported": ["sun.misc"],
}
_OPENS = {
    "java.base": [
        *("java.io", "java.lang", "java.lang.module", "java.lang.reflect", "java.math", "java.net", "java.nio"),
        *("java.util", "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch"),
        *("jdk.internal.loader", "jdk.internal.math", "jdk.internal.module", "jdk.internal.ref"),
        *("jdk.internal.reflect", "jdk.internal.util.jar"),
    ],
    "jdk.management": ["com.sun.management.internal"],
}
_START_TIMEOUT = 120


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which a Zipkin server uses a new database in ``folder``. Raises Unavailable."""
    lib = jars(f"cassandra-{VERSION}", f"org.apache.cassandra:cassandra-all:{VERSION}")
    port = free_port()
    configuration = folder / "cassandra.yaml"
    configuration.write_text(_configuration(port, free_port()))
    properties = {
        "cassandra.config": configuration.as_uri(),
        "cassandra.storagedir": folder,
        "cassandra-foreground": "yes",
        "cassandra.superuser_setup_delay_ms": 0,
        "cassandra.skip_wait_for_gossip_to_settle": 0,
        "cassandra.ring_delay_ms": 1,
    }
    command = ["java", "-Xmx512m", *SMALL, f"-javaagent:{next(lib.glob('jamm-*.jar'))}", "-cp", f"{lib}/*"]
    command += [f"-D{name}={value}" for name, value in properties.items()]
    for option, modules in (("--add-exports", _EXPORTS), ("--add-opens", _OPENS)):
        names = [f"{module}/{package}" for module, packages in modules.items() for package in packages]
        command += [f"{option}={name}=ALL-UNNAMED" for name in names]

    def connects() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with process([*command, "org.apache.cassandra.service.CassandraDaemon"], connects, _START_TIMEOUT, cwd=folder):
        yield {
            "STORAGE_TYPE": "cassandra3",
            "CASSANDRA_CONTACT_POINTS": f"127.0.0.1:{port}",
            "CASSANDRA_LOCAL_DC": "datacenter1",
        }


def _configuration(port: int, storage_port: int) -> str:
    return f"""
cluster_name: obskit
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
commitlog_sync: periodic
commitlog_sync_period: 10000ms
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "127.0.0.1:{storage_port}"}}]
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
start_native_transport: true
native_transport_port: {port}
storage_port: {storage_port}
sasi_indexes_enabled: true
"""
