"""A machine of no cloud's, and the fake of Google's API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.logs.cloud import google_fakes

if TYPE_CHECKING:
    from tests.export.cloud_trace.fake import CloudTrace
    from tests.logs.cloud.google_fakes import Certificate

pytest.importorskip("google.cloud.trace_v2", reason="needs the extra gcp")

CLOUD = ("KUBERNETES_SERVICE_HOST", "K_SERVICE", "CLOUD_RUN_JOB", "GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*CLOUD, "GOOGLE_CLOUD_PROJECT", "PROJECT_ID", *(n for n in os.environ if n.startswith("OBSKIT_"))]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudTrace]:
    """The API without TLS, where nobody's credentials go, and OBSKIT_CLOUDTRACE_ENDPOINT naming it."""
    from tests.export.cloud_trace import fake

    with fake.serve() as server:
        monkeypatch.setenv("OBSKIT_CLOUDTRACE_ENDPOINT", server.address)
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return google_fakes.make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch, certificate: Certificate, tmp_path: Path) -> Iterator[CloudTrace]:
    """The API with TLS, and a service account's key file whose tokens it hands out without TLS."""
    from tests.export.cloud_trace import fake

    with fake.serve(certificate) as server, google_fakes.serve_http(server.answer) as tokens:
        monkeypatch.setenv("OBSKIT_CLOUDTRACE_ENDPOINT", server.address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
        key_file = google_fakes.make_key_file(tmp_path, f"http://{tokens}")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
        yield server
