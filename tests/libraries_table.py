"""The table of instrumented libraries in README.md, made from the registry of integrations and from pyproject.toml.

``python -m tests.libraries_table`` makes it anew; tests/test_libraries_table.py holds that it is what this makes.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import requires
from pathlib import Path

from obskit.integrations import MODULES
from tests.oldest import REQUIREMENT

README = Path(__file__).parents[1] / "README.md"
_TABLE = re.compile(r"(?<=<!-- libraries: begin -->\n).*?(?=<!-- libraries: end -->)", re.DOTALL)
_STANDARD = "standard library"
_PACKAGES = {"grpc": "grpcio"}
"""The packages whose modules have another name."""


def table() -> str:
    """Return a row for each library: the oldest version that the tests meet, and the integrations for it."""
    found: dict[str, list[str]] = {}
    for integration, modules in MODULES.items():
        for library in dict.fromkeys(map(library_of, modules)):
            found.setdefault(library, []).append(f"`{integration}`")
    oldest = oldest_versions()
    lines = ["| library | from version | integrations |", "|---|---|---|"]
    lines += [f"| {library} | {oldest[library]} | {', '.join(found[library])} |" for library in sorted(found)]
    return "\n".join(lines) + "\n"


def library_of(module: str) -> str:
    """Return the name on the package index of what ``module`` belongs to."""
    top = module.partition(".")[0]
    return _STANDARD if top in sys.stdlib_module_names else _PACKAGES.get(top, top)


def oldest_versions() -> dict[str, str]:
    """Return the lower bound of each requirement of obskit and its extras, by name."""
    found = filter(None, map(REQUIREMENT.match, requires("obskit") or []))
    return {_STANDARD: "CPython 3.10"} | {each["name"]: each["version"] for each in found}


def with_table() -> str:
    """Return README.md with the table as it should be."""
    made = table()
    return _TABLE.sub(lambda _: made, README.read_text())


if __name__ == "__main__":
    README.write_text(with_table())
