"""Assertions inside the shipped contracts explain themselves like those of test files."""

import pytest

pytest.register_assert_rewrite("obskit.testing")
