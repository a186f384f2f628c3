"""The folder of profiles: only the program's user can read them, and what others put there stops nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from obskit.profiling.outputs import Assignment, FolderOutput, Schedule, Stop, request_file

WALL = Assignment("WALL", 1.0)


class Once(Stop):
    """Asked as soon as the output has looked once."""

    def wait(self, seconds: float) -> bool:
        found, self.asked = self.asked, True
        return found


def output(folder: Path) -> FolderOutput:
    return FolderOutput(str(folder), "orders", Schedule(("WALL",), 10.0, 80_000.0))


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir() if file.name.endswith(".pprof.gz")}


@pytest.fixture(autouse=True, params=[0o000, 0o022])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.parametrize("name", ["profiles", "var/profiles"])
def test_a_new_folder_and_its_profiles_are_private(name: str, tmp_path: Path) -> None:
    assert output(tmp_path / name).deliver(WALL, b"x")
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    assert modes(tmp_path / name) == {0o600}


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o777])
@pytest.mark.parametrize("name", ["orders-cpu-20260131T120000.000Z.4711.pprof.gz", ".4711.request", None])
def test_a_folder_that_holds_nothing_but_profiles_is_closed_to_others(mode: int, name, tmp_path: Path) -> None:
    tmp_path.chmod(mode)
    if name:
        (tmp_path / name).touch()
    assert output(tmp_path).deliver(WALL, b"x")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_the_mode_of_a_folder_that_holds_other_things_is_not_ours_to_change(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "index.html").touch()
    assert output(tmp_path).deliver(WALL, b"x")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert modes(tmp_path) == {0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_nor_is_the_mode_of_another_users_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    os.chown(tmp_path, 65534, 65534)
    assert output(tmp_path).deliver(WALL, b"x")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o777
    assert modes(tmp_path) == {0o600}


@pytest.mark.parametrize(
    ("content", "seconds"),
    [("2.5", 2.5), ("0", 0.1), ("-3", 0.1), ("inf", 600.0), ("9" * 5_000_000, 600.0), ("nan", None), ("soon", None)],
    ids=str,
)
def test_a_request_is_a_number_of_seconds(content: str, seconds: float | None, tmp_path: Path) -> None:
    request = Path(request_file(str(tmp_path), os.getpid()))
    request.write_text(content)
    assignment = output(tmp_path).wait_turn(Once())
    assert (assignment and assignment.duration) == seconds


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.mkdir()


def put_link(path: Path) -> None:
    (path.parent / "elsewhere").write_text("3")
    path.symlink_to(path.parent / "elsewhere")


def put_loop(path: Path) -> None:
    path.symlink_to(path)


def put_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("this machine does not let its users make devices")


def put_anothers(path: Path) -> None:
    path.write_text("3")
    try:
        os.chown(path, 65534, 65534)
    except PermissionError:
        pytest.skip("only root can give a file away")


@pytest.mark.parametrize("put", [put_pipe, put_folder, put_link, put_loop, put_device, put_anothers])
def test_what_is_no_file_of_this_users_asks_for_nothing_and_is_not_waited_for(put, tmp_path: Path) -> None:
    put(Path(request_file(str(tmp_path), os.getpid())))
    one = output(tmp_path)
    before = len(os.listdir("/dev/fd"))
    assert one.wait_turn(Once()) is None
    assert len(os.listdir("/dev/fd")) == before
    assert one.deliver(WALL, b"x")


def test_a_profile_never_goes_where_a_link_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obskit.profiling.outputs._now", lambda: "NOW")
    target = tmp_path / "target"
    (tmp_path / f".orders-wall-NOW.{os.getpid()}.pprof.gz.part").symlink_to(target)
    with pytest.raises(FileExistsError):
        output(tmp_path).deliver(WALL, b"x")
    assert not target.exists()
