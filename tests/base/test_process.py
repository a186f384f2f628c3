"""uWSGI itself, which bequests are for, is a case of tests/battery."""

from __future__ import annotations

import os
from pathlib import Path

from obskit.base.process import Inheritance


def claims_of_children(inheritance: Inheritance, count: int) -> list[bool]:
    return [bool(os.waitstatus_to_exitcode(os.waitpid(_child(inheritance), 0)[1])) for _ in range(count)]


def _child(inheritance: Inheritance) -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(inheritance.claim())
    return pid


def test_one_child_of_several_inherits():
    inheritance = Inheritance()
    assert claims_of_children(inheritance, 3) == [True, False, False]
    assert inheritance.claim() is False
    os.close(inheritance._pipe.fileno)


def test_nobody_inherits_where_the_application_closed_all_descriptors(tmp_path: Path):
    """And a file of the application's that has the number now is not read."""
    inheritance = Inheritance()
    path = tmp_path / "theirs"
    path.write_bytes(b"1")
    with path.open("rb", buffering=0) as theirs:
        os.dup2(theirs.fileno(), inheritance._pipe.fileno)
        assert claims_of_children(inheritance, 1) == [False]
        os.close(inheritance._pipe.fileno)
        assert theirs.read() == b"1"
    assert claims_of_children(inheritance, 1) == [False]
