"""Fakes of Google's servers, and a certificate for a whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logs.cloud import google_fakes
from tests.logs.cloud.google_fakes import Certificate, CloudLogging

pytest.importorskip("google.cloud.logging_v2", reason="needs the extra gcp")

PLATFORM = ("KUBERNETES_SERVICE_HOST", "K_SERVICE", "CLOUD_RUN_JOB", "GOOGLE_CLOUD_PROJECT", "GCE_METADATA_HOST")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as on a machine of no cloud's."""
    for name in [*PLATFORM, "GOOGLE_APPLICATION_CREDENTIALS", "OTEL_RESOURCE_ATTRIBUTES"]:
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("OBSKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def cloud() -> Iterator[CloudLogging]:
    with google_fakes.rest() as server:
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return google_fakes.make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("account")
