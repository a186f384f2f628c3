"""Run by PyInstaller where a program imports obskit: the integrations are imported by name, which it cannot see."""

from PyInstaller.utils.hooks import collect_submodules, copy_metadata  # type: ignore[import-untyped, import-not-found, unused-ignore]

# PyInstaller reads these names.
hiddenimports = collect_submodules("obskit.integrations")
datas = copy_metadata("obskit")
