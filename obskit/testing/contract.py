"""What the server and client contracts share: an integration is installed for one test, then everything is undone."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from opentelemetry.context import Context

from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.integrations import install
from obskit.testing.recorder import Recorder, recording
from obskit.tracing.current import attach, detach, with_span
from obskit.tracing.propagated import PropagatedSpan

TRACE_ID = "463ac35c9f6413ad48485a3953bb6124"
SPAN_ID = "a2fb4a1d1a96d312"
B3 = {"X-B3-TraceId": TRACE_ID, "X-B3-SpanId": SPAN_ID}

_IMPORT_ORDER = """
import sys
from contextlib import suppress
from importlib import import_module
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.integrations import install, modules_of
name, library_first = sys.argv[1], sys.argv[2] == "library first"
patches, hooks = Patches(), ImportHooks()

def import_all():
    for module in modules_of(name):
        with suppress(ImportError):  # part of the library needs another one
            import_module(module)

steps = [lambda: install([name], hooks, patches), import_all]
for step in reversed(steps) if library_first else steps:
    step()
print(sorted(patches.names()))
"""


class Contract:
    """Installs ``integration`` for each test; ``unsupported`` maps names of tests that cannot pass to the reason."""

    integration: ClassVar[str]
    unsupported: ClassVar[Mapping[str, str]] = {}
    recorder: Recorder
    patches: Patches
    hooks: ImportHooks

    @pytest.fixture(autouse=True)
    def _installed(self, request: pytest.FixtureRequest) -> Iterator[None]:
        name = request.function.__name__
        if name in self.unsupported:
            request.applymarker(pytest.mark.xfail(reason=self.unsupported[name], strict=True))
        self.patches, self.hooks = Patches(), ImportHooks()
        token = attach(Context())
        try:
            with recording() as self.recorder:
                self.install()
                yield
        finally:
            self.uninstall()
            detach(token)

    def install(self) -> None:
        """Install the integration. Override with an empty method if it works without patching."""
        install([self.integration], self.hooks, self.patches)

    def uninstall(self) -> None:
        """Undo ``install``."""
        self.hooks.remove()
        self.patches.remove()

    def test_import_order_does_not_matter(self) -> None:
        """The same functions are patched whether the library or obskit comes first."""
        first, second = (_patched(self.integration, order) for order in ("library first", "obskit first"))
        assert first == second != "[]"

    def test_uninstall_restores_the_originals_by_identity(self) -> None:
        """After removal every patched attribute is the very object it was."""
        patched = self.patches.targets()
        self.uninstall()
        before = [vars(owner).get(name) for owner, name in patched]
        self.install()
        assert all(vars(owner).get(name) is not one for (owner, name), one in zip(patched, before, strict=True))
        self.uninstall()
        after = [vars(owner).get(name) for owner, name in patched]
        assert all(one is other for one, other in zip(before, after, strict=True))


@functools.cache  # cached, as many contracts share one integration
def _patched(integration: str, order: str) -> str:
    command = [sys.executable, "-c", _IMPORT_ORDER, integration, order]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def current(span: PropagatedSpan) -> Iterator[None]:
    """Have ``span`` as the current one for the length of the block."""
    token = attach(with_span(span))
    try:
        yield
    finally:
        detach(token)


@contextmanager
def installed(names: tuple[str, ...]) -> Iterator[None]:
    """Install further integrations for the length of the block."""
    patches, hooks = Patches(), ImportHooks()
    install(names, hooks, patches)
    try:
        yield
    finally:
        hooks.remove()
        patches.remove()


def ids(span: Any) -> tuple[str, str, str | None]:
    """Return trace id, span id and parent id of a span."""
    return span.trace_id, span.span_id, span.parent_id
