"""``obskit profile``: writes profiles of a folder, a file or a running process as folded stacks and a flame graph."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from obskit.cli.stop_signals import StopSignals

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from obskit.base.pprof import Profile

_FAILED = 1
_BAD_USAGE = 2
_TYPES = ("cpu", "wall", "heap")
_PATIENCE = 15.0  # seconds to wait for a profile already under way, and for writing
_NEEDS = "it needs obskit.init() with profiler 'builtin' (or 'auto') and a folder in profiler_output"


class _UsageError(Exception):
    """An argument cannot be used: one line that names it and the remedy."""


class _Failure(Exception):
    """The command failed: one line that says why."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command. Values stay text: ``run`` checks them, so that errors name the remedy in one line."""
    parser = subparsers.add_parser("profile", help="show profiles as folded stacks and a flame graph")
    parser.add_argument("what", metavar="WHAT", help="a folder of profiles, a .pprof.gz file, or a process id")
    parser.add_argument("--type", help="cpu, wall or heap (default: the first of these that is there)")
    parser.add_argument("--by", default="total", help="total, endpoint or thread (default: %(default)s)")
    parser.add_argument("--output", metavar="NAME", help="write NAME.folded and NAME.svg (default: profile-TYPE)")
    parser.add_argument("--serve", action="store_true", help="show the collector's page of them, until Ctrl-C")
    parser.add_argument("--seconds", default="10", help="how long a process is sampled (default: %(default)s)")
    parser.add_argument("--folder", help="where a process writes its profiles, if its environment does not say")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write both files and print their names. Return the exit status: 0, 1 for a failure, 2 for bad usage."""
    try:
        _check(args)
        kind, profiles = _profiles(args)
        if args.serve:
            return _serve(args, profiles)
        _write(args, kind, profiles)
    except _UsageError as error:
        return _fail(_BAD_USAGE, str(error))
    except _Failure as error:
        return _fail(_FAILED, str(error))
    except OSError as error:
        return _fail(_FAILED, f"{error.filename or args.what}: {error.strerror or error}")
    except KeyboardInterrupt:
        return _fail(_FAILED, "interrupted")
    return 0


def _check(args: argparse.Namespace) -> None:
    from obskit.cli.flamegraph import GROUPS

    if args.type is not None and args.type not in _TYPES:
        raise _UsageError(f"--type: got {args.type!r}; give one of {', '.join(_TYPES)}")
    if args.by not in GROUPS:
        raise _UsageError(f"--by: got {args.by!r}; give one of {', '.join(GROUPS)}")
    try:
        args.seconds = float(args.seconds)
    except ValueError:
        args.seconds = 0.0
    if not 0.1 <= args.seconds <= 600:
        raise _UsageError("--seconds: give a number from 0.1 to 600")


def _profiles(args: argparse.Namespace) -> tuple[str, list[Profile]]:
    """Return the type and the requested profiles."""
    if os.path.isfile(args.what):
        profile = _read(args.what)
        return profile.sample_types[-1].kind, [profile]
    if os.path.isdir(args.what):
        return _of_folder(args.what, args.type, lambda _name: True)
    if args.what.isascii() and args.what.isdecimal():
        return _of_process(int(args.what), args)
    raise _UsageError(f"{args.what!r} is not a file, a folder or a process id")


def _of_folder(folder: str, wanted: str | None, chosen: Callable[[str], bool]) -> tuple[str, list[Profile]]:
    files = (name for name in sorted(os.listdir(folder)) if os.path.isfile(os.path.join(folder, name)))
    names = [name for name in files if name.endswith(".pprof.gz") and chosen(name)]
    for kind in [wanted] if wanted else _TYPES:
        found = [name for name in names if f"-{kind}-" in name]
        if found:
            return kind, [_read(os.path.join(folder, name)) for name in found]
    raise _Failure(f"{folder} has no{f' {wanted}' if wanted else ''} profiles (*.pprof.gz)")


def _read(path: str) -> Profile:
    from obskit.base.pprof import UnreadableProfile, decode

    with open(path, "rb") as file:
        content = file.read()
    try:
        return decode(content)
    except UnreadableProfile as error:
        raise _Failure(f"{path}: {error}") from None


def _of_process(pid: int, args: argparse.Namespace) -> tuple[str, list[Profile]]:
    """Request a profile from a process through a file in its output folder, and wait for it."""
    from obskit.profiling.outputs import request_file

    folder = _folder_of(pid, args.folder)
    request = request_file(folder, pid)
    before = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    _ask(request, pid, args.seconds)
    try:
        _wait_for(folder, pid, before, args.seconds + _PATIENCE)
    finally:
        if os.path.exists(request):
            os.unlink(request)
    return _of_folder(folder, args.type, lambda name: _is_of(name, pid) and name not in before)


def _ask(request: str, pid: int, seconds: float) -> None:
    """Write the request atomically, replacing any file of its name. A new folder belongs to the process's user."""
    folder = os.path.dirname(request)
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o700)
        if os.geteuid() == 0 and os.path.exists(f"/proc/{pid}"):
            owner = os.stat(f"/proc/{pid}")
            os.chown(folder, owner.st_uid, owner.st_gid)
    temporary = f"{request}.{os.getpid()}.part"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w", encoding="ascii") as file:
        file.write(str(seconds))
    try:
        os.replace(temporary, request)
    except OSError:
        os.unlink(temporary)
        raise


def _folder_of(pid: int, given: str | None) -> str:
    """Return where a process writes its profiles: the given folder, or the one in its environment."""
    if not os.path.exists(f"/proc/{pid}") and not _is_alive(pid):
        raise _Failure(f"there is no process {pid}")
    if given:
        return given
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = (pair.partition(b"=") for pair in file.read().split(b"\0"))
            found = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    except OSError:
        found = {}
    folder = found.get("OBSKIT_PROFILER_OUTPUT")
    if not folder:
        raise _Failure(f"the environment of process {pid} has no OBSKIT_PROFILER_OUTPUT: name its --folder; {_NEEDS}")
    return os.path.join(f"/proc/{pid}/cwd", folder)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _wait_for(folder: str, pid: int, before: set[str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    settled = 0
    while settled < 2:  # look again after the first: the other types follow within moments
        if time.monotonic() > deadline:
            raise _Failure(f"process {pid} wrote no profile to {folder} within {seconds:.0f} s: {_NEEDS}")
        time.sleep(0.5)
        settled += any(_is_of(name, pid) for name in set(os.listdir(folder)) - before)


def _is_of(name: str, pid: int) -> bool:
    return name.endswith(f".{pid}.pprof.gz")


def _serve(args: argparse.Namespace, profiles: list[Profile]) -> int:
    """Show the profiles on a collector's page, in memory, until Ctrl-C or SIGTERM. Raises _Failure."""
    from obskit.base.pprof import encode
    from obskit.cli.flamegraph import GROUPS
    from obskit.cli.ship_profiles import post_profile

    try:
        from obskit.collector.server import CollectorServer

        server = CollectorServer().start()
    except ImportError as error:
        raise _Failure(str(error)) from None
    service = os.path.basename(os.path.normpath(args.what))
    with server:
        for profile in profiles:
            if problem := post_profile(encode(profile), server.url, service):
                raise _Failure(problem)
        query = urlencode({"service": service, "type": profiles[0].sample_types[-1].kind, "by": GROUPS[args.by]})
        stop = StopSignals()
        print(f"{server.url}/profiles?{query}\nCtrl-C ends", flush=True)
        stop.wait()
    return 0


def _write(args: argparse.Namespace, kind: str, profiles: list[Profile]) -> None:
    from obskit.cli.flamegraph import amount, fold, folded, svg

    stacks = fold(profiles, args.by)
    value_type = profiles[0].sample_types[-1]
    count = f"{len(profiles)} profile{'s' if len(profiles) > 1 else ''}"
    title = f"{kind}: {amount(sum(stacks.values()), value_type)} in {count}"
    if args.output == "-":
        for line in folded(stacks):
            print(line)
        return
    name = args.output or f"profile-{kind}"
    for path, content in ((f"{name}.folded", "\n".join(folded(stacks)) + "\n"), (f"{name}.svg", "")):
        with open(path, "w", encoding="utf-8", errors="replace") as file:
            file.write(content or svg(stacks, title, value_type))
    print(f"{title}: wrote {name}.folded and {name}.svg")


def _fail(status: int, message: str) -> int:
    print(f"obskit profile: {message}", file=sys.stderr)
    return status
