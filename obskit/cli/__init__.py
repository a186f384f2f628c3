"""The ``obskit`` command. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from obskit import __version__
from obskit.cli import collector, demo, profile, run, ship

_BAD_USAGE = 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; argparse's own print the usage, too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Print the error in one line and exit with status 2."""
        self.exit(_BAD_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command named by ``arguments`` (default: the process's own); return its exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if "run" not in args:  # not required here: argparse would report it as missing before a misspelt option
        parser.error("COMMAND is missing")
    status: int = args.run(args)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="obskit", description="Traces for Python services, in one line.")
    parser.add_argument("--version", action="version", version=f"obskit {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    for command in (run, collector, demo, profile, ship):
        command.add_parser(commands)
    return parser
