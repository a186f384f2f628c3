"""Entry points are found as importlib.metadata finds them."""

from __future__ import annotations

import importlib.metadata
import os
import sys

from obskit.base.distributions import EntryPoint, entry_points


def test_what_is_installed_here_is_found_as_importlib_metadata_finds_it():
    for group in ("console_scripts", "opentelemetry_instrumentor", "pytest11", "no_such_group"):
        expected = {(one.name, one.value) for one in importlib.metadata.entry_points(group=group)}
        assert {(one.name, one.value) for one in entry_points(group)} == expected


def test_a_package_that_comes_or_goes_is_noticed_and_the_first_of_two_counts(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, value in ((first, "os:path.join [extra]"), (second, "os:sep")):
        (metadata := folder / "My.Package-1.0.dist-info").mkdir(parents=True)
        (metadata / "entry_points.txt").write_text(f"# one\n[ other ]\nx = y\n[mine]\n\njoin = {value}\n")
    monkeypatch.setattr(sys, "path", [tmp_path / "none", str(first), str(second), *sys.path])
    (found,) = entry_points("mine")
    assert (found, found.load()) == (EntryPoint("mine", "join", "os:path.join [extra]"), os.path.join)
    (first / "My.Package-1.0.dist-info").rename(tmp_path / "away")
    (found,) = entry_points("mine")
    assert found.load() == os.sep


def test_a_folder_that_cannot_be_listed_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "a-1.dist-info").write_text("a file")
    monkeypatch.setattr(sys, "path", [str(tmp_path), 5, None])
    assert entry_points("mine") == []
