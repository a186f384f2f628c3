"""Any value becomes JSON's own types: bounded, masked, and never an exception."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import itertools
import logging
import pathlib
import sys
import types
import urllib.parse
import uuid
from collections.abc import Mapping, Sequence

import msgspec
import pydantic
import pytest
from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict
from django.utils.functional import SimpleLazyObject, lazystr
from werkzeug.datastructures import Headers
from werkzeug.local import LocalProxy
from wrapt import ObjectProxy

from obskit.base import plain as module
from obskit.base.named_values import MASK
from obskit.base.plain import Renderer
from obskit.base.redaction import Redactor
from obskit.base.values import error_text, text
from obskit.logs.entry import EntryBuilder
from obskit.logs.formatter import CloudLoggingFormatter
from tests.logs.test_formatter import strict

S = "hunter2"


def shown(value):
    """Return a field as it stands in a line, which has all the rest of what was logged as well."""
    record = {"msg": "m", "value": value, "json_fields": {"inner": [value]}, "labels": {"a": value}, "last": 1}
    entry = strict(CloudLoggingFormatter(EntryBuilder()).format(logging.makeLogRecord(record)))
    assert (entry["message"], entry["last"]) == ("m", 1)
    assert entry["inner"] == [entry["value"]]
    return entry["value"]


class Color(enum.Enum):
    """An enumeration."""

    RED = "red"


class Level(str, enum.Enum):
    """An enumeration of text."""

    HIGH = "high"


class Number(int):
    """A number that says what it likes."""

    def __str__(self):
        raise RuntimeError

    __repr__ = __int__ = __index__ = __lt__ = __le__ = __ge__ = __eq__ = __hash__ = __str__


class Text(str):  # noqa: SLOT000
    """A text that shows itself otherwise."""

    def __str__(self):
        return Text("shown")

    def __len__(self):
        raise RuntimeError


@dataclasses.dataclass
class Order:
    """Fields, one of which its repr leaves out."""

    number: int
    password: str = S
    inner: object = None
    hidden: str = dataclasses.field(default=S, repr=False)
    shared = S


class Model(pydantic.BaseModel):
    """A model of pydantic's."""

    name: str = "bob"
    api_key: str = S
    pin: pydantic.SecretStr = pydantic.SecretStr(S)
    hidden: str = pydantic.Field(default=S, repr=False)


class Struct(msgspec.Struct):
    """A struct of msgspec's."""

    name: str = "bob"
    token: str = S


Row = collections.namedtuple("Row", "name password")
UTC = datetime.timezone.utc

VALUES = [
    (Color.RED, "red"),
    (Level.HIGH, "high"),
    (Number(5), 5),
    (Text("raw"), "shown"),
    (2**70, 2**70),
    (10**400, str(10**400)),
    (decimal.Decimal("1.50"), "1.50"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (datetime.datetime(2026, 1, 2, 3, 4, 5, 6000, UTC), "2026-01-02T03:04:05.006000Z"),
    (datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=2))), "2026-01-02T00:00:00+02:00"),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.timedelta(seconds=90), "PT90S"),
    (datetime.timedelta(), "PT0S"),
    (datetime.timedelta(days=-1, microseconds=500_000), "-PT86399.5S"),
    (datetime.timedelta(days=2, seconds=10), "P2DT10S"),
    (pathlib.PurePosixPath("/a/b"), "/a/b"),
    (bytearray(b"caf\xc3\xa9"), "café"),
    (memoryview(b"ab"), "ab"),
    (collections.deque([1, 2]), [1, 2]),
    (collections.UserList([1]), [1]),
    (collections.UserDict(a=1), {"a": 1}),
    (collections.UserString("ab"), "ab"),
    (collections.ChainMap({"a": 1}), {"a": 1}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (types.SimpleNamespace(a=1, secret=S), {"a": 1, "secret": MASK}),
    (array.array("i", [1, 2]), [1, 2]),
    (range(3), [0, 1, 2]),
    (frozenset([7]), [7]),
    ({"a": 1}.items(), [["a", 1]]),
    ({"a": 1}.values(), [1]),
    ({1: "a", "1": "b", (1, "x"): "c"}, {"1": "a", "1_": "b", "(1, 'x')": "c"}),
    (Row("bob", S), {"name": "bob", "password": MASK}),
    (Order(7), {"number": 7, "password": MASK, "inner": None}),
    (Model(), {"name": "bob", "api_key": MASK, "pin": "**********"}),
    (Struct(), {"name": "bob", "token": MASK}),
    (SimpleLazyObject(lambda: {"a": 1, "token": S}), {"a": 1, "token": MASK}),
    (SimpleLazyObject(lambda: 5), "5"),
    (ObjectProxy(5), 5),
    (LocalProxy(lambda: [1, 2]), [1, 2]),
    (ObjectProxy(Order(7)), {"number": 7, "password": MASK, "inner": None}),
    (ObjectProxy(None), None),
    (lazystr("later"), "later"),
    (ValueError(), "ValueError"),
    (KeyError("order"), "'order'"),
    (ValueError("a", 1), "('a', 1)"),
    (iter([1]), None),
    ((number for number in [1]), None),
    (MultiValueDict({"a": ["1"], "token": [S]}), {"a": "1", "token": MASK}),
]


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_a_value_keeps_its_meaning(number):
    value, expected = VALUES[number]
    found = shown(value)
    assert expected is None or found == expected
    assert S not in str(found)


def test_what_may_be_read_once_only_is_not_read():
    numbers, lines = iter([1]), (line for line in ["a"])
    assert "iterator" in shown(numbers)
    assert "generator" in shown(lines)
    assert [*numbers, *lines] == [1, "a"]


def test_numbers_and_times_of_numpy_and_pandas_are_numbers_and_times():
    np = pytest.importorskip("numpy")
    assert shown([np.int64(7), np.float32(0.5), np.bool_(True), np.str_("a"), np.uint8(3)]) == [7, 0.5, True, "a", 3]
    assert shown(np.float64("nan")) == "nan"
    assert shown(np.array([[1, 2], [3, 4]])) == [[1, 2], [3, 4]]
    assert shown(np.array(5)) == 5
    assert shown(np.datetime64("2026-01-02T03:04:05")) == "2026-01-02T03:04:05Z"
    assert shown(np.datetime64("2026-01-02")) == "2026-01-02"
    assert len(Renderer().plain(np.zeros((3000, 3000)))) < 1002
    assert shown({np.int64(1): 2}) == {"1": 2}


def test_tables_of_pandas_are_masked_by_their_columns():
    pd = pytest.importorskip("pandas")
    assert shown(pd.Timestamp("2026-01-02T03:04:05Z")) == "2026-01-02T03:04:05Z"
    assert shown(pd.Series({"a": 1, "token": S})) == {"a": 1, "token": MASK}
    assert shown(pd.DataFrame({"a": [1], "token": [S]})) == {"a": {"0": 1}, "token": MASK}


def test_fields_of_attrs_are_fields():
    attrs = pytest.importorskip("attrs")
    kind = attrs.make_class("Kind", {"name": attrs.field(), "token": attrs.field(), "x": attrs.field(repr=False)})
    assert shown(kind("bob", S, S)) == {"name": "bob", "token": MASK}


def raising(error=RuntimeError):
    """Return a function that raises, whatever it is called with."""

    def method(*_args, **_named):
        raise error("no")

    return method


def class_that_raises(name, *bases, error=RuntimeError):
    """Return a class one of whose methods raises."""
    value = property(raising(error)) if name in ("__class__", "__dict__") else raising(error)
    return type("Odd", bases, {name: value})


METHODS = ["__str__", "__repr__", "__class__", "__dict__", "__len__", "__iter__", "__getattr__", "__getattribute__"]
METHODS += ["__eq__", "__hash__", "__bool__", "__int__", "__index__", "__format__", "items", "keys", "__getitem__"]
BASES = [(), (dict,), (list,), (str,), (int,), (float,), (bytes,), (ValueError,), (Mapping,), (Sequence,), (set,)]


@pytest.mark.parametrize("error", [RuntimeError, RecursionError, LookupError, AttributeError])
@pytest.mark.parametrize("bases", BASES, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_a_value_that_raises_costs_that_value_only(name, bases, error):
    kind = class_that_raises(name, *bases, error=error)
    kind.__abstractmethods__ = frozenset()
    value = kind()
    shown(value)
    shown({"a": [value]})
    if name != "__hash__" and kind.__hash__ is not None:
        shown({value: 1})


PROXIES = {
    "django": lambda: SimpleLazyObject(raising(ConnectionError)),
    "werkzeug": lambda: LocalProxy(raising(RuntimeError)),
    "wrapt": lambda: ObjectProxy(class_that_raises("__str__")()),
}


@pytest.mark.parametrize("library", PROXIES)
def test_a_proxy_whose_loading_fails_costs_that_value_only(library):
    value = PROXIES[library]()
    assert "unprintable" in shown(value)
    strict(CloudLoggingFormatter().format(logging.makeLogRecord({"msg": value})))
    strict(CloudLoggingFormatter().format(logging.makeLogRecord({"msg": "%s", "args": (value,)})))


SECRETIVE = [
    ValueError(f"no route to postgres://bob:{S}@db"),
    types.SimpleNamespace(options=f"password={S}"),
    f"password={S}".encode(),
    Text(f"password={S}"),
    {f"password={S}": 1},
    {(f"password={S}", 1): 1},
    {f"password={S}".encode(): [1]},
    {b"password": S},
    [("Authorization", f"Token {S}")],
    [(b"cookie", S.encode())],
    [["X-Api-Key", S]],
    {"headers": [{"name": "Authorization", "value": S}]},
    {"environment": [{"Name": "DB_PASSWORD", "Value": S}]},
    ["psql", "--password", S],
    ("login", "--api-key", S, "--verbose"),
    Headers({"Cookie": f"sid={S}"}),
    urllib.parse.urlsplit(f"postgres://bob:{S}@db/x"),
    SimpleLazyObject(lambda: f"password={S}"),
    ValueError({"password": S}),
    KeyError(Order(1)),
    "x" * 400_000 + f" password={S}",
    "x" * (module.MAX_CHARACTERS - 20) + f" a://bob:{S}@host",
]


PLACES = ["extra", "list", "labels", "httpRequest", "json_fields", "message", "operation", "insert_id"]


@pytest.mark.parametrize("number", range(len(SECRETIVE)))
@pytest.mark.parametrize(
    "place", ["extra", "list", "labels", "httpRequest", "json_fields", "message", "operation", "insert_id"]
)
def test_secrets_are_masked_in_whatever_becomes_text(number, place):
    value = SECRETIVE[number]
    record = {"msg": "m", place: value}
    if place == "message":
        record = {"msg": {"message": value, "value": value}}
    elif place in ("list", "json_fields", "labels"):
        record[place] = {"value": [value], "again": value}
    assert S not in CloudLoggingFormatter(EntryBuilder()).format(logging.makeLogRecord(record))


def test_a_message_that_cannot_be_formatted_keeps_its_secrets():
    record = logging.makeLogRecord({"msg": "password=%s for %d", "args": (S,)})
    assert S not in CloudLoggingFormatter(EntryBuilder()).format(record)


def test_djangos_request_loses_the_secrets_of_its_query():
    request = HttpRequest.__new__(HttpRequest)
    request.method, request.path = "GET", f"/reset?page=2&token={S}"
    request.get_full_path = lambda: request.path
    assert S not in str(shown(request))


def tree():
    """A tree whose nodes know their parents: along every path there are factorially many."""
    root = {"children": []}
    root["children"] = [{"n": number, "parent": root} for number in range(13)]
    return root


def net(kind):
    """Objects of which each knows all others."""
    nodes = [kind() for _ in range(40)]
    for node in nodes:
        vars(node)["others"] = nodes
    return nodes[0]


class Endless(Sequence):
    """A sequence without an end."""

    def __len__(self):
        return sys.maxsize

    def __getitem__(self, index):
        return index


class Everything(Mapping):
    """A mapping without an end."""

    def __len__(self):
        return sys.maxsize

    def __iter__(self):
        return itertools.count()

    def __getitem__(self, key):
        return [key] * 1000


def doubled(depth):
    """Nested tuples that are one object each, and 2**depth if they are printed."""
    found = ()
    for _ in range(depth):
        found = (found, found)
    return found


@dataclasses.dataclass
class Node:
    """A dataclass that may hold anything."""

    others: object = None


GRAPHS = {
    "tree": tree(),
    "lists": [[number] * 1000 for number in range(1000)],
    "namespaces": net(types.SimpleNamespace),
    "dataclasses": net(Node),
    "doubled": doubled(60),
    "in an error": ValueError(doubled(40)),
    "in a namespace": types.SimpleNamespace(a=doubled(40)),
    "wide": dict.fromkeys(range(1_000_000), "x"),
    "endless": Endless(),
    "everything": Everything(),
    "one text a thousand times": ["x" * 1_000_000] * 1000,
    "long text": "password=" * 2_000_000,
    "long bytes": b"x" * 50_000_000,
    "range": range(10**12),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize(
    "around", [lambda value: value, lambda value: [value] * 1000, lambda value: {"a": {"b": value}}]
)
def test_the_work_for_any_graph_is_bounded(name, around):
    """Counted in calls, which a busy machine does not change."""
    record = logging.makeLogRecord({"msg": "m", "value": around(GRAPHS[name]), "last": 1})
    formatter = CloudLoggingFormatter(EntryBuilder())
    formatter.format(record)
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        line = formatter.format(record)
    finally:
        sys.setprofile(None)
    assert calls < 400_000
    entry = strict(line)
    assert (entry["message"], entry["last"]) == ("m", 1)
    assert entry["value"]
    assert len(line) < 256 * 1024


def test_what_was_left_out_is_said():
    renderer = Renderer()
    assert renderer.plain([0] * 1001)[-1] == module.TRUNCATED
    assert renderer.plain(dict.fromkeys(range(1001)))["..."] == module.TRUNCATED
    assert renderer.truncated
    renderer = Renderer(Redactor())
    itself: list = [1]
    itself.append(itself)
    assert renderer.plain(itself) == [1, "...[circular]"]
    assert renderer.plain([itself, itself]) == [[1, "...[circular]"], [1, "...[circular]"]]
    assert not renderer.truncated


@pytest.mark.parametrize("error", [ValueError, KeyError, OSError, type("Odd", (ValueError,), {})])
@pytest.mark.parametrize("graph", ["doubled", "dataclasses", "namespaces"])
def test_the_text_of_an_exception_or_an_object_takes_bounded_work(error, graph):
    """Printed along every path it would never end."""
    value = {"doubled": doubled(60)}.get(graph, GRAPHS[graph])
    for found in (text(error(value)), text(types.SimpleNamespace(a=value)), error_text(error("x", value))):
        assert 0 < len(found) < 2_000_000


def test_the_text_of_what_is_small_is_its_own():
    for value in (ValueError(("a", 1)), KeyError(Order(1)), Order(7), types.SimpleNamespace(a=[1]), OSError(2, "no")):
        assert text(value) == str(value)


def test_an_errors_text_is_not_cut_within_a_password():
    message = "x" * 1000 + f" postgres://bob:{S}@db"
    for size in range(1000, 1030):
        assert S[:3] not in Redactor().error_text(error_text(ValueError("y" * (size - 1000) + message)))


def test_a_traceback_is_masked_before_its_middle_is_left_out():
    formatter = CloudLoggingFormatter(EntryBuilder())
    for size in range(44_940, 45_000, 5):
        text = "x " * 40_000 + f"password='{'a' * 40}{S}'" + "y" * size
        record = logging.makeLogRecord({"msg": "m", "exc_text": text})
        assert S not in formatter.format(record)
