"""Leaving a span's ``with`` block, also when a generator is dropped or closed in another context.

Python gives a generator no context of its own: what its ``with`` block makes current stays current where the generator
was last read, and the block may be left while another span is current, in another task or in another thread. Each entry
knows the context it replaced, and its own context knows the entry, so that leaving it can tell these cases apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextvars import Token
from weakref import ref

from opentelemetry.context import Context

from obskit.tracing.current import SPAN_KEY, AnySpan, detach
from obskit.tracing.others import own_key

ENTRY_KEY = own_key("obskit-entry")


class Entry:
    """A block in which ``span`` is current, by ``context``; before it, ``outer`` was.

    ``token`` is None before it was entered and after it was left. ``outer`` and ``context`` are, too, where it was left
    as it was entered; where it was left otherwise ``outer`` stays, for those who still have ``context`` as their
    current one. Contexts of such blocks show the span of the next one around them that is still open: that one has
    them in ``followers``, and its own context there instead of in ``context``.
    """

    # Without slots: CPython makes an instance of such a class in half the time, and of class attributes it copies none.
    # None that instances set, too: CPython looks such a one up four times as long.
    span: AnySpan
    context: Context | None
    outer: Context | None
    token: Token[Context] | None
    followers: Sequence[ref[Context]] = ()

    def leave(self, current: Context) -> None:
        """Restore what was current before, if this entry or one within it still is ``current`` here.

        All who see this one in their context, or will see it when they leave theirs, see the one around it instead.
        """
        token, self.token = self.token, None
        if token is None or self.outer is None:
            return
        if _within(current, self):
            detach(token)
        seen = self._seen_in()
        if entry_of(current) is self:
            seen.append(current)
        self.outer = outer = _open(self.outer)
        self.context, self.followers = None, ()
        _show(outer, seen)

    def follow(self, contexts: Iterable[Context]) -> None:
        """Have ``contexts`` show another span as soon as this one is no longer current."""
        self.followers = [ref(context) for context in (*self._seen_in(), *contexts)]
        self.context = None

    def _seen_in(self) -> list[Context]:
        followers = (follower() for follower in self.followers)
        return [context for context in (self.context, *followers) if context is not None]


def entry_of(context: Context) -> Entry | None:
    """Return the entry in whose block ``context`` was made."""
    found = context.get(ENTRY_KEY)
    return found if isinstance(found, Entry) else None


def _show(outer: Context, contexts: Sequence[Context]) -> None:
    """Change the span of ``contexts`` to that of ``outer``, and again when that one is left."""
    span = outer.get(SPAN_KEY)
    for context in contexts:
        dict.__setitem__(context, SPAN_KEY, span)
    around = entry_of(outer)
    if around is not None:
        around.follow(contexts)


def _open(context: Context) -> Context:
    """Return ``context`` or, where its block was left meanwhile, the first around it whose block was not."""
    entry = entry_of(context)
    while entry is not None and entry.token is None and entry.outer is not None:
        context = entry.outer
        entry = entry_of(context)
    return context


def _within(context: Context, entry: Entry) -> bool:
    """Return whether ``context`` was made within the block of ``entry``."""
    inner = entry_of(context)
    while inner is not None and inner is not entry:
        inner = None if inner.outer is None else entry_of(inner.outer)
    return inner is entry
