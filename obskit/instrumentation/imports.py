"""Runs a function when a module has been imported, however the program comes to import it.

wrapt has such hooks, but importing wrapt costs more than all of ``obskit.init()`` (it imports asyncio), cannot
take a hook back, and holds a lock while hooks run.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import dropwhile
from types import ModuleType
from typing import TYPE_CHECKING, Any

from obskit.base.failures import failed

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

Hook = Callable[[ModuleType], object]


class ImportHooks:
    """A finder that finds nothing itself: it adds our hook to what the finders behind it found."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[Hook]] = {}
        self._unfinished: deque[tuple[str, ModuleType, Hook]] = deque()
        self._asking = threading.local()

    def when_imported(self, module_name: str, hook: Hook) -> None:
        """Call ``hook`` with the module: now if it is imported already, else right after each execution of its code.

        A namespace package has no code: its hook runs only if it is imported already.
        """
        self._hooks.setdefault(module_name, []).append(hook)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        module = sys.modules.get(module_name)
        if module is not None:
            self._unfinished.append((module_name, module, hook))
            self._run_finished()

    def remove(self) -> None:
        """Remove all hooks."""
        self._hooks.clear()
        self._unfinished.clear()
        # A new list: another thread's import would skip a finder if one vanished from the list it is going through.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the finders behind this one give, prepared to run the hooks; None otherwise."""
        if self._unfinished:
            self._run_finished()
        if fullname not in self._hooks or fullname in vars(self._asking):
            return None
        vars(self._asking)[fullname] = True  # finders like wrapt's ask all of sys.meta_path again, us included
        try:
            spec = self._ask_others(fullname, path, target)
        finally:
            del vars(self._asking)[fullname]
        loader: Any = None if spec is None else spec.loader
        if spec is not None and hasattr(loader, "exec_module") and type(loader) is not _Loader:
            spec.loader = _Loader(spec, self._hooks)  # type: ignore[assignment]
        return spec

    def _ask_others(self, *wanted: Any) -> ModuleSpec | None:
        for finder in list(dropwhile(lambda finder: finder is not self, sys.meta_path))[1:]:
            find_spec = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find_spec is None else find_spec(*wanted)
            if spec is not None:
                return spec
        return None

    def _run_finished(self) -> None:
        """Run hooks whose modules were half imported (by a thread, or in a circle) when they were registered.

        Waiting for the import here could be waiting for ourselves, so the next import of anything looks again.
        """
        for _ in range(len(self._unfinished)):
            try:
                name, module, hook = self._unfinished.popleft()
            except IndexError:  # another thread looks at them too
                return
            if getattr(getattr(module, "__spec__", None), "_initializing", False):
                self._unfinished.append((name, module, hook))
            elif sys.modules.get(name) is module:
                _run(hook, name, module)


class _Loader:
    """Stands in for a module's loader until its code runs, and answers every question as that loader."""

    def __init__(self, spec: ModuleSpec, hooks: dict[str, list[Hook]]) -> None:
        self._spec = spec
        self._loader: Any = spec.loader
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __reduce_ex__(self, protocol: Any) -> Any:  # a copy is one of the loader
        return self._loader.__reduce_ex__(protocol)

    @property  # type: ignore[misc] # read-only, so that isinstance() sees the real loader
    def __class__(self) -> Any:
        return self._loader.__class__

    def exec_module(self, module: ModuleType) -> None:
        """Put the loader back, have it run the module's code, then run the hooks."""
        self._step_back(module)
        self._loader.exec_module(module)
        name = self._spec.name
        for hook in list(self._hooks.get(name, ())):
            _run(hook, name, sys.modules.get(name, module))

    def _step_back(self, module: ModuleType) -> None:
        """Put the real loader back, as a module's code may look at it."""
        try:
            for holder, attribute in ((self._spec, "loader"), (module, "__loader__")):
                if getattr(holder, attribute, None) is self:
                    setattr(holder, attribute, self._loader)
        except Exception:
            failed(f"watching the import of {self._spec.name}")


def _run(hook: Hook, name: str, module: ModuleType) -> None:
    try:
        hook(module)
    except Exception:
        failed(f"instrumenting {name}")
