"""Runs a function when a module has been imported, however the program comes to import it.

wrapt has such hooks, but importing wrapt costs more than all of ``obskit.init()`` (it imports asyncio), cannot
take a hook back, and holds a lock while hooks run. wrapt is imported by the first hook that runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from obskit.tracing.failures import failed

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

Hook = Callable[[ModuleType], object]


class ImportHooks:
    """A finder that finds nothing itself: it adds our hook to what the other finders found."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[Hook]] = {}

    def when_imported(self, module_name: str, hook: Hook) -> None:
        """Call ``hook`` with the module: now if it is imported already, else right after its first import."""
        self._hooks.setdefault(module_name, []).append(hook)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        module = sys.modules.get(module_name)
        if module is not None:
            _run([hook], module)

    def remove(self) -> None:
        """Forget all hooks."""
        self._hooks.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the finders behind this one give, prepared to run the hooks; None otherwise."""
        if fullname not in self._hooks:
            return None
        for finder in [other for other in sys.meta_path if other is not self]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                self._prepare(spec)
                return spec
        return None

    def _prepare(self, spec: ModuleSpec) -> None:
        """Shadow ``exec_module`` on the loader's instance for one call, so that the loader stays what it is."""
        loader = spec.loader
        execute = getattr(loader, "exec_module", None)
        if loader is None or execute is None:
            return

        def execute_then_run(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)
            execute(module)
            _run(self._hooks.get(module.__name__, []), module)

        try:
            loader.exec_module = execute_then_run  # type: ignore[method-assign]
        except Exception:
            failed(f"watching the import of {spec.name}")


def _run(hooks: list[Hook], module: ModuleType) -> None:
    for hook in hooks:
        try:
            hook(module)
        except Exception:
            failed(f"instrumenting {module.__name__}")
