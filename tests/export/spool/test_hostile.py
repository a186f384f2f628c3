"""What others put into the folder: left alone, never followed, never trusted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.export.spool.disk import new_spool, place, python, read, segments


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def test_folders_and_files_are_for_their_user_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        spool = new_spool(tmp_path)
        assert spool.append([b"secret"])
    finally:
        os.umask(before)
    assert modes(tmp_path) == {0o700, 0o600}
    spool.close()


def test_a_symbolic_link_instead_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to("elsewhere")
    spool = new_spool(tmp_path)
    assert spool.append([b"x"]) is None
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_symbolic_link_instead_of_the_destinations_folder_is_refused(tmp_path: Path) -> None:
    spool = new_spool(tmp_path)
    spool.append([b"x"])
    spool.close()
    found = place(tmp_path)
    found.rename(tmp_path / "elsewhere")
    found.symlink_to(tmp_path / "elsewhere")
    spool = new_spool(tmp_path)
    assert (spool.adopt(), spool.append([b"y"])) == (0, None)
    assert len(list((tmp_path / "elsewhere").glob("*/*.seg"))) == 1


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_folder_that_others_can_look_into_is_refused(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    spool = new_spool(tmp_path)
    spool.append([b"x"])
    spool.close()
    place(tmp_path).chmod(mode)
    spool = new_spool(tmp_path)
    assert (spool.adopt(), spool.append([b"y"])) == (0, None)
    assert f"its mode is {mode:o} and must be 700" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")
def test_users_share_a_folder_without_seeing_each_other(tmp_path: Path) -> None:
    code = """
os.chdir(sys.argv[1])
uid = int(sys.argv[2])
os.setuid(uid)
spool = Spool(Path("spool"), "d", 1 << 20, 3600.0)
print(spool.adopt(), bool(spool.append([b"%d" % uid])), read(spool))
spool.append([b"left"])
spool.close()
"""
    tmp_path.chmod(0o755)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o1777)
    assert python(code, tmp_path, 65533).stdout == "0 True [[b'65533']]\n"
    assert python(code, tmp_path, 65534).stdout == "0 True [[b'65534']]\n"
    assert python(code, tmp_path, 65534).stdout == "1 True [[b'left'], [b'65534']]\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")
def test_folders_and_files_of_another_user_are_refused(tmp_path: Path) -> None:
    spool = new_spool(tmp_path)
    spool.append([b"x"])
    spool.close()
    [file] = segments(tmp_path)
    os.chown(file, 65534, 65534)
    assert new_spool(tmp_path).adopt() == 0
    os.chown(file, 0, 0)
    os.chown(file.parent, 65534, 65534)
    assert new_spool(tmp_path).adopt() == 0
    os.chown(file.parent, 0, 0)
    os.chown(place(tmp_path), 65534, 65534)
    assert (new_spool(tmp_path).adopt(), new_spool(tmp_path).append([b"y"])) == (0, None)
    os.chown(place(tmp_path), 0, 0)
    spool = new_spool(tmp_path)
    assert spool.adopt() == 1
    spool.close()


def test_what_is_not_the_spools_is_left_alone(tmp_path: Path) -> None:
    spool = new_spool(tmp_path)
    spool.append([b"x"])
    spool.close()
    [file] = segments(tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(file.read_bytes())
    directory = file.parent
    names = ["0000000000000001.seg", "0000000000000002.seg", "0000000000000003.seg", "README", "0000000000000004.seg~"]
    (directory / names[0]).symlink_to(victim)
    os.mkfifo(directory / names[1])
    (directory / names[2]).mkdir()
    (directory / names[3]).write_text("notes")
    (directory / names[4]).write_text("backup")
    (directory.parent / "12-xyz").mkdir()
    (directory.parent / "file").write_text("?")
    (directory.parent / "13-0123456789abcdef").write_text("?")
    (directory.parent / "14-0123456789abcdef").symlink_to(tmp_path)
    others = sorted(path.name for path in directory.parent.iterdir())

    spool = new_spool(tmp_path)
    assert spool.adopt() == 1
    assert read(spool) == [[b"x"]]
    assert spool.append([b"y"])
    spool.close()
    assert sorted(path.name for path in directory.iterdir()) == sorted(names)
    assert set(others) < {path.name for path in directory.parent.iterdir()}
    assert victim.stat().st_size > 0


def test_an_empty_directory_of_a_process_that_is_gone_is_removed(tmp_path: Path) -> None:
    spool = new_spool(tmp_path)
    spool.append([b"x"])
    (place(tmp_path) / "1-0123456789abcdef").mkdir(0o700)
    (place(tmp_path) / "2-0123456789abcdef").mkdir(0o700)
    (place(tmp_path) / "2-0123456789abcdef" / "0000000000000001.seg").touch()
    assert spool.adopt() == 0
    assert len(list(place(tmp_path).iterdir())) == 1
    spool.close()


def test_a_huge_empty_file_is_passed_over_in_bounded_memory(tmp_path: Path) -> None:
    code = """
import resource
spool = Spool(Path(sys.argv[1]), "d", 1 << 20, 3600.0)
spool.append([b"x"])
[place] = Path(sys.argv[1]).iterdir()
hole = place / "1-0123456789abcdef"
hole.mkdir(0o700)
with open(hole / "0000000000000001.seg", "wb") as file:
    file.truncate(300 << 20)
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(spool.adopt(), read(spool), spool.adopted.corrupt_bytes >> 20)
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 20_000
spool.close()
"""
    done = python(code, tmp_path / "spool")
    assert done.stdout == "0 [[b'x']] 300\n", done.stderr
