"""Fuzzing of everything that reads bytes from outside, guided by coverage. ``make fuzz``, ``make fuzz MINUTES=60``.

Each target has a process of its own, since atheris (libFuzzer) ends with its process. What it found to be interesting
stays in ``.cache/fuzz``, where the next run goes on. Ends with status 1 and the input where a promise does not hold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

_CACHE = Path(__file__).parents[2] / ".cache" / "fuzz"
_LONGEST = 4096  # bytes of an input
_SLOWEST = 5  # seconds for one input, on a busy machine
_WORDS = (
    *('"traceId":"', '"id":"', '"parentId":"', '"kind":"', '"CLIENT"', '"timestamp":', '"duration":', '"Endpoint":{'),
    *('"localEndpoint":{"serviceName":"', '"ipv4":"', '"ipv6":"', '"port":', '"annotations":[{"', '"value":"'),
    *('"tags":{"', '"shared":true', '"debug":true', '"binaryAnnotations":[{"', '"key":"sa"', '"endpoint":{', "\\ud800"),
    *("9223372036854775808", "-1", "1e308", "0.5", "null", "true", "[[[[", "]]]]", "{{{{", "}}}}", "::ffff:1.2.3.4"),
    *(
        "resourceSpans",
        "scopeSpans",
        "attributes",
        "intValue",
        "kvlistValue",
        "b3: ",
        "x-b3-traceid: ",
        "x-b3-sampled: ",
    ),
)


def fuzz(target: str, seconds: int) -> None:
    """Fuzzes one target in this process, which ends. The modules are imported here: atheris changes their code."""
    import atheris

    with atheris.instrument_imports():
        from tests.fuzz.targets import TARGETS, seeds
    corpus = _CACHE / target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = _CACHE / "words"
    words.write_text("".join('"{}"\n'.format(word.replace("\\", "\\\\").replace('"', '\\"')) for word in _WORDS))
    limits = [f"-max_total_time={seconds}", f"-max_len={_LONGEST}", f"-timeout={_SLOWEST}", f"-dict={words}"]
    atheris.Setup(
        [sys.argv[0], *limits, f"-artifact_prefix={_CACHE}/failed-{target}-", "-verbosity=0", str(corpus)],
        TARGETS[target],
    )
    atheris.Fuzz()


def main() -> int:
    """Fuzzes the targets one after another. Returns 1 where one failed."""
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target (default: %(default)s)")
    parser.add_argument("--here", action="store_true", help="one target, in this process")
    args = parser.parse_args()
    if args.here:
        fuzz(args.targets[0], int(args.minutes * 60))
    failed = []
    for target in args.targets or TARGETS:
        command = [sys.executable, "-m", "tests.fuzz", target, "--here", f"--minutes={args.minutes}"]
        done = subprocess.run(command, capture_output=True, text=True)
        print(f"{target}: {'held' if not done.returncode else 'failed'}", flush=True)
        if done.returncode:
            failed.append(target)
            print(done.stdout[-3000:], done.stderr[-3000:], flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
