"""A real Kafka broker: one node without ZooKeeper, from Maven Central, on free ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from obskit.testing.client_cases.tls import certificate_file
from tests.export.receiver import free_port
from tests.java import SMALL, jars, process

VERSION = "3.9.1"
USER, PASSWORD = "obskit", "wiI1Oe+x/4&%"
_CLUSTER = "AAAAAAAAAAAAAAAAAAAAAQ"
CERTIFICATE = Path(certificate_file())
_START_TIMEOUT = 90


class Broker(NamedTuple):
    """``address`` is plain; ``secure`` wants TLS, trusting CERTIFICATE, and USER with PASSWORD.

    What comes to ``inside`` is told to go to ``via``, where a test has a proxy.
    """

    address: str
    secure: str
    inside: int
    via: int
    process: subprocess.Popen[bytes]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Have the broker answer nothing, although connections to it are established."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)  # all its threads have stopped
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def running() -> Iterator[Broker]:
    """A broker which is up. Raises tests.zipkin_server.Unavailable."""
    lib = jars(f"kafka-{VERSION}", f"org.apache.kafka:kafka_2.13:{VERSION}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain, secure, inside, via, controller = (free_port() for _ in range(5))
        properties = folder / "server.properties"
        properties.write_text(_properties(folder, plain, secure, inside, via, controller))
        java = ["java", "-Xmx256m", *SMALL, "-cp", f"{lib}/*"]
        format_command = [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties)]
        subprocess.run(format_command, check=True, capture_output=True)
        command = [*java, "kafka.Kafka", str(properties)]
        with process(command, _listens(plain), _START_TIMEOUT, cwd=folder) as started:
            yield Broker(f"127.0.0.1:{plain}", f"127.0.0.1:{secure}", inside, via, started)


def _listens(port: int) -> Callable[[], Any]:
    def connects() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return connects


def _properties(folder: Path, plain: int, secure: int, inside: int, via: int, controller: int) -> str:
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAIN",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,VIA:PLAINTEXT,SECURE:SASL_SSL",
        "listeners": f"PLAIN://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},VIA://127.0.0.1:{inside},"
        f"CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAIN://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},VIA://127.0.0.1:{via}",
        "listener.name.secure.ssl.keystore.type": "PEM",
        "listener.name.secure.ssl.keystore.location": CERTIFICATE,
        "listener.name.secure.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secure.plain.sasl.jaas.config": f'{module} required user_{USER}="{PASSWORD}";',
        "log.dirs": folder / "data",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
