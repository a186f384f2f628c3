"""Import hooks, on real modules made for each test."""

from __future__ import annotations

import copy
import importlib
import importlib.resources
import importlib.util
import inspect
import pickle
import pkgutil
import runpy
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import wrapt
from wrapt.importer import ImportHookFinder

from obskit.base.failures import failures
from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches

Write = Callable[..., None]


@pytest.fixture
def hooks() -> Iterator[ImportHooks]:
    """Hooks that are gone after the test."""
    found = ImportHooks()
    yield found
    found.remove()
    assert found not in sys.meta_path


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules, given as name and text, to a folder they are imported from."""
    before = set(sys.modules)
    path, meta_path = list(sys.path), list(sys.meta_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sys.path.insert(0, str(tmp_path))

    def write_files(**files: str) -> None:
        for name, text in files.items():
            file = tmp_path / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        importlib.invalidate_caches()

    yield write_files
    sys.path[:], sys.meta_path[:] = path, meta_path
    for name in set(sys.modules) - before:
        if name.startswith("made"):
            del sys.modules[name]


class Calls:
    """A hook that notes the modules it is called with."""

    def __init__(self) -> None:
        self.modules: list[ModuleType] = []

    def __call__(self, module: ModuleType) -> None:
        self.modules.append(module)


def test_hook_runs_after_the_import(hooks: ImportHooks, write: Write) -> None:
    write(made="value = 1")
    calls = Calls()
    hooks.when_imported("made", calls)
    assert calls.modules == []
    made = importlib.import_module("made")
    assert calls.modules == [made]
    assert made.value == 1
    importlib.import_module("made")
    assert calls.modules == [made]


def test_hook_runs_at_once_for_what_is_imported(hooks: ImportHooks, write: Write) -> None:
    write(made="")
    made = importlib.import_module("made")
    calls = Calls()
    hooks.when_imported("made", calls)
    assert calls.modules == [made]


def test_submodules_and_packages_have_hooks_of_their_own(hooks: ImportHooks, write: Write) -> None:
    write(**{"made_package/__init__": "from made_package import inner", "made_package/inner": ""})
    outer, inner = Calls(), Calls()
    hooks.when_imported("made_package", outer)
    hooks.when_imported("made_package.inner", inner)
    package = importlib.import_module("made_package")
    assert outer.modules == [package]
    assert inner.modules == [package.inner]


def test_module_that_raises_is_its_own_affair(hooks: ImportHooks, write: Write) -> None:
    """The program gets that error and no other, and the next attempt works and has its hook."""
    write(made="raise LookupError('mine')")
    calls = Calls()
    hooks.when_imported("made", calls)
    before = failures.value
    with pytest.raises(LookupError, match="mine") as raised:
        importlib.import_module("made")
    assert raised.value.__context__ is None
    assert (calls.modules, failures.value, "made" in sys.modules) == ([], before, False)
    write(made="value = 12345")
    made = importlib.import_module("made")
    assert calls.modules == [made]


def test_absent_module_is_not_found_as_ever(hooks: ImportHooks) -> None:
    hooks.when_imported("made_nowhere", Calls())
    with pytest.raises(ModuleNotFoundError, match="No module named 'made_nowhere'"):
        importlib.import_module("made_nowhere")
    assert importlib.util.find_spec("made_nowhere") is None


def test_circular_import_runs_the_hook_once_when_the_module_is_whole(hooks: ImportHooks, write: Write) -> None:
    write(made="import made_other\nvalue = 1", made_other="import made\nseen = hasattr(made, 'value')")
    values = []
    hooks.when_imported("made", lambda module: values.append(module.value))
    importlib.import_module("made")
    assert values == [1]
    assert sys.modules["made_other"].seen is False


def test_hook_registered_in_the_middle_of_an_import_waits_for_its_end(hooks: ImportHooks, write: Write) -> None:
    """It runs with the next import of anything."""
    values: list[int] = []
    sys.modules["made_starter"] = starter = ModuleType("made_starter")
    vars(starter)["start"] = lambda: hooks.when_imported("made", lambda module: values.append(module.value))
    write(made="import made_starter\nmade_starter.start()\nvalue = 1", made_next="")
    importlib.import_module("made")
    assert values == []
    importlib.import_module("made_next")
    assert values == [1]


def test_hook_waiting_for_an_import_that_fails_runs_with_the_next_attempt(hooks: ImportHooks, write: Write) -> None:
    sys.modules["made_starter"] = starter = ModuleType("made_starter")
    values: list[int] = []
    vars(starter)["start"] = lambda: hooks.when_imported("made", lambda module: values.append(module.value))
    write(made="import made_starter\nmade_starter.start()\nraise LookupError('mine')")
    with pytest.raises(LookupError):
        importlib.import_module("made")
    before = failures.value
    write(made="value = 12345")
    importlib.import_module("made")
    assert (values, failures.value) == ([12345], before)


def test_reload_runs_the_hook_for_each_execution_and_patches_once(hooks: ImportHooks, write: Write) -> None:
    write(made="def function(): return 'real'\nclass Class:\n    def method(self): return 'real'")
    runs, patches = Calls(), Patches()
    seen: list[str] = []

    def note(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append(wrapped.__name__)
        return wrapped(*args, **kwargs)

    def patch(module: ModuleType) -> None:
        runs(module)
        patches.wrap(module, "function", note)
        patches.wrap(module.Class, "method", note)

    hooks.when_imported("made", patch)
    made = importlib.import_module("made")
    for executions in (1, 2, 3):
        assert (made.function(), made.Class().method()) == ("real", "real")
        assert len(runs.modules) == executions
        assert seen == ["function", "method"]
        seen.clear()
        importlib.reload(made)
    patches.remove()
    made.function()
    made.Class().method()
    assert seen == []
    assert inspect.isfunction(vars(made)["function"])
    assert type(vars(made)["function"]) is type(patch)


def test_many_threads_at_once_patch_once(hooks: ImportHooks, write: Write) -> None:
    write(made="import time\ntime.sleep(0.01)\ndef function(): return 'real'")
    patches, seen = Patches(), []

    def note(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append(1)
        return wrapped(*args, **kwargs)

    barrier = threading.Barrier(16)

    def run(number: int) -> None:
        barrier.wait(10)
        if number % 2:
            hooks.when_imported("made", lambda module: patches.wrap(module, "function", note))
        importlib.import_module("made").function()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    importlib.invalidate_caches()
    importlib.util.find_spec("made_nothing")  # any import looks after hooks that came in the middle
    seen.clear()
    sys.modules["made"].function()
    assert seen == [1]
    patches.remove()


def test_hook_that_raises_is_counted_and_the_others_run(hooks: ImportHooks, write: Write) -> None:
    write(made="")
    calls = Calls()

    def fail(_module: ModuleType) -> None:
        raise LookupError("ours")

    hooks.when_imported("made", fail)
    hooks.when_imported("made", calls)
    before = failures.value
    made = importlib.import_module("made")
    assert calls.modules == [made]
    assert failures.value == before + 1


@pytest.mark.parametrize("ours_first", [True, False])
def test_wrapts_own_hooks_on_the_same_module_run_too(hooks: ImportHooks, write: Write, ours_first: bool) -> None:
    name = f"made_for_wrapt_{ours_first}"
    write(**{name: "loader = __loader__"})
    ours, theirs = Calls(), Calls()
    wrapt.register_post_import_hook(theirs, name)
    hooks.when_imported(name, ours)
    wrapts = ImportHookFinder()
    others = [finder for finder in sys.meta_path if finder is not hooks and type(finder) is not ImportHookFinder]
    sys.meta_path[:] = [hooks, wrapts, *others] if ours_first else [wrapts, hooks, *others]  # type: ignore[list-item]
    made = importlib.import_module(name)
    assert ours.modules == theirs.modules == [made]
    assert type(made.__loader__) is type(made.__spec__.loader) is type(made.loader) is SourceFileLoader


def test_removed_hooks_do_not_run(hooks: ImportHooks, write: Write) -> None:
    write(made="", made_other="")
    calls = Calls()
    hooks.when_imported("made", calls)
    spec = importlib.util.find_spec("made")
    hooks.remove()
    importlib.import_module("made")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(sys.modules["made"])
    assert calls.modules == []
    hooks.when_imported("made_other", calls)
    importlib.import_module("made_other")
    assert len(calls.modules) == 1


def test_removing_does_not_disturb_an_import_that_looks_for_its_finder(hooks: ImportHooks, write: Write) -> None:
    """The import system goes through sys.meta_path while another thread may take us out of it."""
    write(made="")

    class Remover:
        def find_spec(self, fullname: str, path: object, target: object = None) -> None:
            if fullname == "made":
                hooks.remove()

    hooks.when_imported("made_other", Calls())
    sys.meta_path.insert(len(sys.meta_path) - 1, Remover())  # type: ignore[arg-type]
    importlib.import_module("made")


def test_zipped_module_has_its_hook_and_its_neighbours_none(hooks: ImportHooks, write: Write, tmp_path: Path) -> None:
    """All modules of a zip file share one loader."""
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.writestr("made_zipped.py", "value = 1")
        archive.writestr("made_neighbour.py", "import made_zipped")
    sys.path.insert(0, str(tmp_path / "made.zip"))
    calls = Calls()
    hooks.when_imported("made_zipped", calls)
    assert importlib.util.find_spec("made_zipped") is not None
    neighbour = importlib.import_module("made_neighbour")
    assert calls.modules == [neighbour.made_zipped]
    assert "exec_module" not in vars(neighbour.__loader__)
    assert neighbour.__loader__.get_source("made_zipped") == "value = 1"


def test_module_in_a_namespace_package_has_its_hook(hooks: ImportHooks, write: Write, tmp_path: Path) -> None:
    write(**{"made_space/inner": ""})
    calls = Calls()
    hooks.when_imported("made_space", calls)
    hooks.when_imported("made_space.inner", calls)
    inner = importlib.import_module("made_space.inner")
    assert calls.modules == [inner]
    assert list(sys.modules["made_space"].__path__) == [str(tmp_path / "made_space")]


def test_builtin_and_frozen_modules_can_be_hooked(hooks: ImportHooks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their loaders are classes shared by all modules."""
    for name in ("_struct", "__hello__", "xxsubtype"):
        if importlib.util.find_spec(name) is None:
            continue
        calls = Calls()
        monkeypatch.delitem(sys.modules, name, raising=False)
        hooks.when_imported(name, calls)
        module = importlib.import_module(name)
        assert calls.modules == [module]


def test_looking_a_module_up_gives_what_it_gives_without_us(hooks: ImportHooks, write: Write, tmp_path: Path) -> None:
    write(made="value = 1\ndef function(): return value")
    plain = importlib.util.find_spec("made")
    hooks.when_imported("made", Calls())
    spec = importlib.util.find_spec("made")
    assert isinstance(plain, ModuleSpec)
    assert isinstance(spec, ModuleSpec)
    assert isinstance(spec.loader, SourceFileLoader)
    assert (spec.origin, spec.cached, spec.has_location) == (plain.origin, plain.cached, plain.has_location)
    assert spec.loader.get_source("made") == (tmp_path / "made.py").read_text()
    assert spec.loader.get_filename("made") == plain.origin
    assert pkgutil.get_data("made", "made.py") == (tmp_path / "made.py").read_bytes()
    assert runpy.run_module("made")["value"] == 1
    assert "made" in [found.name for found in pkgutil.iter_modules([str(tmp_path)])]


def test_a_module_is_as_if_nobody_had_watched_its_import(hooks: ImportHooks, write: Write, tmp_path: Path) -> None:
    write(**{"made": "seen = __loader__, __spec__.loader\n", "made_package/__init__": ""})
    (tmp_path / "made_package" / "data.txt").write_text("data")
    hooks.when_imported("made", Calls())
    hooks.when_imported("made_package", Calls())
    made, package = importlib.import_module("made"), importlib.import_module("made_package")
    assert [type(loader) for loader in (made.__loader__, made.__spec__.loader, *made.seen)] == [SourceFileLoader] * 4
    assert vars(made.__loader__).keys() == {"name", "path"}
    assert inspect.getsource(made) == (tmp_path / "made.py").read_text()
    assert importlib.resources.files(package).joinpath("data.txt").read_text() == "data"


def test_a_module_that_replaces_itself_is_hooked_as_what_it_became(hooks: ImportHooks, write: Write) -> None:
    write(made="import sys\nclass Other:\n    value = 1\nsys.modules[__name__] = Other()")
    values: list[int] = []
    hooks.when_imported("made", lambda module: values.append(module.value))
    importlib.import_module("made")
    hooks.when_imported("made", lambda module: values.append(module.value + 1))
    assert values == [1, 2]


def test_lazily_loaded_module_has_its_hook(hooks: ImportHooks, write: Write) -> None:
    write(made="value = 1")
    values: list[int] = []
    hooks.when_imported("made", lambda module: values.append(module.value))
    spec = importlib.util.find_spec("made")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    sys.modules["made"] = made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert values == []
    assert made.value == 1
    assert values == [1]


def test_finder_of_the_application_is_asked_and_its_errors_pass(hooks: ImportHooks) -> None:
    class Finder:
        def find_spec(self, fullname: str, path: object, target: object = None) -> None:
            if fullname.startswith("made"):
                raise LookupError(fullname)

    finder = Finder()
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        hooks.when_imported("made", Calls())
        with pytest.raises(LookupError, match="made"):
            importlib.import_module("made")
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]


def test_finder_that_gives_the_same_spec_twice_has_its_hook_run_once(hooks: ImportHooks, write: Write) -> None:
    write(made="")
    spec = importlib.util.find_spec("made")
    calls = Calls()

    class Finder:
        def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
            return spec if fullname == "made" else None

    sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
    hooks.when_imported("made", calls)
    assert importlib.util.find_spec("made") is spec
    made = importlib.import_module("made")
    assert calls.modules == [made]


def test_loader_of_a_module_to_be_hooked_can_be_copied_and_pickled(hooks: ImportHooks, write: Write) -> None:
    write(made="value = 1")
    plain = importlib.util.find_spec("made")
    hooks.when_imported("made", Calls())
    spec = importlib.util.find_spec("made")
    assert plain is not None
    assert spec is not None
    copies = copy.copy(spec.loader), copy.deepcopy(spec).loader, pickle.loads(pickle.dumps(spec.loader))
    assert [(type(one), vars(one)) for one in copies] == [(SourceFileLoader, vars(plain.loader))] * 3
