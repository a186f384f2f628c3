"""The table of libraries in README.md says what the registry of integrations has."""

from __future__ import annotations

from obskit.integrations import MODULES
from tests.libraries_table import README, table, with_table


def test_the_readme_has_the_table_that_the_registry_makes():
    assert README.read_text() == with_table(), "python -m tests.libraries_table"


def test_each_integration_is_in_the_table():
    made = table()
    assert [name for name in MODULES if f"`{name}`" not in made] == []
    assert "| grpcio | 1.67 | `grpc_aio_client`, `grpc_aio_server`, `grpc_client`, `grpc_server` |" in made
