"""Finds whether a function prints, by its bytecode: a log handler's ``emit`` of the application's."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from types import CodeType

_ENDS = frozenset(["RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_ABSOLUTE"])


@lru_cache(256)
def prints(code: CodeType) -> bool:
    """Return whether ``code`` names ``print``, ``sys.stdout`` or ``sys.stderr`` where no exception was caught.

    Many handlers send a record somewhere, and print only what went wrong.
    """
    names = code.co_names
    if "print" not in names and not ("sys" in names and ("stdout" in names or "stderr" in names)):
        return False
    return not {"print", "stdout", "stderr"}.isdisjoint(_names_reached(code))


def _names_reached(code: CodeType) -> Iterator[str]:
    """Yield the names in the instructions that are reached without an exception."""
    all_of_it = list(dis.get_instructions(code))
    following = {one.offset: after.offset for one, after in pairwise(all_of_it)}
    by_offset, seen, waiting = {one.offset: one for one in all_of_it}, set(), [0]
    while waiting:
        offset = waiting.pop()
        if offset in seen or offset not in by_offset:
            continue
        seen.add(offset)
        one = by_offset[offset]
        if one.opcode in dis.hasname:
            yield one.argval
        if one.opcode in (*dis.hasjrel, *dis.hasjabs) and not one.opname.startswith("SETUP_"):
            waiting.append(one.argval)
        if one.opname not in _ENDS and not one.opname.startswith("JUMP_BACKWARD"):
            waiting.append(following.get(offset, -1))
