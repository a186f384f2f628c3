"""``NamedTuple`` as typing has it, without what that does at import: it compiles the annotation of each field.

That is two thirds of such a class's price, and together they were 6 % of the start of a process.
"""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    _DONE = frozenset(["__module__", "__qualname__", "__annotations__"])

    class _Record(type):
        """Makes of a body with annotated fields the class of ``collections.namedtuple``, with the body's methods."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body["__annotations__"]
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            made.__qualname__, made.__annotations__ = body["__qualname__"], fields
            for key in body.keys() - _DONE:
                setattr(made, key, body[key])
            return made

    class NamedTuple(metaclass=_Record):
        """Base of classes whose annotations name the fields of a tuple; see ``typing.NamedTuple``."""
