"""Run by PyInstaller where a program imports obskit: what it cannot see are imports by name, and files of pages."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata  # type: ignore[import-untyped, import-not-found, unused-ignore]

# PyInstaller reads these names.
hiddenimports = collect_submodules("obskit.integrations")
datas = copy_metadata("obskit") + collect_data_files("obskit.collector.pages")
