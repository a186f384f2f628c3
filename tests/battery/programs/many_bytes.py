"""COUNT spans of 1 MB each, in a process that cannot take all of the machine's memory."""

import re
import resource
import sys
from pathlib import Path

from side import flush, note, span


def megabytes(key):
    return int(re.search(key + r":\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1000


with span("first"):
    pass
flush(0.2)
before = megabytes("VmRSS")
most = int(megabytes("VmSize") * 1e6) + 800_000_000
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for number in range(int(sys.argv[1])):
    with span("large", text=str(number) + "x" * 1_000_000):
        pass
note(grown=megabytes("VmHWM") - before)
print("done")
