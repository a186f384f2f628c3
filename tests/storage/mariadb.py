"""MariaDB from Debian's packages, unpacked and not installed, with Zipkin's schema."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import zipkin_server
from tests.export.receiver import free_port
from tests.java import CACHE, process
from tests.zipkin_server import Unavailable

PACKAGES = ("mariadb-server-core", "mariadb-client-core", "libmariadb3", "liburing2", "libaio1")
_ROOT = CACHE / "mariadb"
_SCHEMA_JAR = f"BOOT-INF/lib/zipkin-storage-mysql-v1-{zipkin_server.VERSION}.jar"
_USER = "CREATE USER zipkin@'127.0.0.1' IDENTIFIED BY 'zipkin'; GRANT ALL ON zipkin.* TO zipkin@'127.0.0.1';"


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which a Zipkin server uses a new database in ``folder``. Raises Unavailable."""
    jar, root = zipkin_server.fetch(), _packages()
    port = free_port()
    options = folder / "my.cnf"
    options.write_text(_options(folder, root, port))
    environ = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, root.glob("**/*-linux-gnu")))}
    install = ["--auth-root-authentication-method=normal", "--skip-test-db", f"--basedir={root}/usr"]
    command = [f"{root}/usr/bin/mariadb-install-db", f"--defaults-file={options}", *install]
    subprocess.run(command, check=True, capture_output=True, env=environ)
    server = [f"{root}/usr/sbin/mariadbd", f"--defaults-file={options}"]
    with process(server, (folder / "socket").exists, 60, env=environ):
        client = [f"{root}/usr/bin/mariadb", f"--socket={folder}/socket", "--user=root"]
        script = f"CREATE DATABASE zipkin; {_USER} USE zipkin;\n{_schema(jar)}"
        subprocess.run(client, input=script.encode(), check=True, capture_output=True, env=environ)
        yield {
            "STORAGE_TYPE": "mysql",
            "MYSQL_HOST": "127.0.0.1",
            "MYSQL_TCP_PORT": str(port),
            "MYSQL_USER": "zipkin",
            "MYSQL_PASS": "zipkin",
            "MYSQL_DB": "zipkin",
        }


def _packages() -> Path:
    """The folder in which the packages are unpacked, downloaded once."""
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unavailable(f"{tool} is not installed")
    if not _ROOT.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            done = subprocess.run(["apt-get", "download", *PACKAGES], cwd=temporary, capture_output=True, text=True)
            if done.returncode:
                raise Unavailable(f"apt-get did not download MariaDB: {done.stderr.strip()[-200:]}")
            for package in Path(temporary).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", str(package), f"{temporary}/root"], check=True)
            Path(temporary, "root").rename(_ROOT)
    return _ROOT


def _options(folder: Path, root: Path, port: int) -> str:
    settings = {
        "basedir": root / "usr",
        "lc_messages_dir": root / "usr/share/mysql",
        "character_sets_dir": root / "usr/share/mysql/charsets",
        "datadir": folder / "data",
        "socket": folder / "socket",
        "port": port,
        "bind_address": "127.0.0.1",
        "user": "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody"),
    }
    return "[mariadbd]\n" + "".join(f"{name}={value}\n" for name, value in settings.items())


def _schema(jar: Path) -> str:
    """Zipkin's schema, for all of Unicode: its own ``utf8`` loses the span that has a four-byte character."""
    with zipfile.ZipFile(jar) as outer, zipfile.ZipFile(io.BytesIO(outer.read(_SCHEMA_JAR))) as inner:
        return inner.read("mysql.sql").decode().replace("utf8", "utf8mb4")
