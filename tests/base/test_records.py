"""obskit's NamedTuple makes what typing's makes, and costs less when a program starts."""

from __future__ import annotations

import pickle
import subprocess
import sys
import typing

import pytest

from obskit.base.records import NamedTuple


class Point(NamedTuple):
    """A point."""

    x: float
    y: float = 0.0
    unit: str | None = None

    def doubled(self) -> Point:
        """Return it twice as far away."""
        return self._replace(x=2 * self.x, y=2 * self.y)

    @property
    def name(self) -> str:
        """Return its name."""
        return f"{self.x}/{self.y}"

    @classmethod
    def origin(cls) -> Point:
        """Return the origin."""
        return cls(0.0)


class Typing(typing.NamedTuple):
    """A point."""

    x: float
    y: float = 0.0
    unit: str | None = None


@pytest.mark.parametrize("name", ["_fields", "_field_defaults", "__doc__", "__module__", "__slots__"])
def test_it_has_what_typings_has(name):
    assert getattr(Point, name) == getattr(Typing, name)


def test_it_says_what_it_is():
    assert Point.__qualname__ == "Point"
    assert list(Point.__annotations__) == ["x", "y", "unit"]
    assert repr(Point(1.0)) == "Point(x=1.0, y=0.0, unit=None)"


def test_it_is_a_tuple_with_the_methods_of_its_body():
    point = Point(1.0, unit="m")
    assert point == (1.0, 0.0, "m")
    assert point.doubled() == Point(2.0, 0.0, "m")
    assert (point.name, Point.origin()) == ("1.0/0.0", (0.0, 0.0, None))
    assert pickle.loads(pickle.dumps(point)) == point


@pytest.mark.parametrize("arguments", [{}, {"x": 1.0, "z": 2.0}])
def test_wrong_arguments_are_an_error(arguments):
    with pytest.raises(TypeError):
        Point(**arguments)


def test_init_imports_none_of_typings():
    code = """
import sys, typing, obskit
obskit.init(exporter="none")
modules = [(name, vars(module)) for name, module in sys.modules.items() if name.startswith("obskit.")]
print([name for name, names in modules if typing.NamedTuple in names.values()])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
