"""COUNT log lines, each in a span."""

import logging
import sys

from side import flush, span

log = logging.getLogger("battery")
for number in range(int(sys.argv[1])):
    with span("work"):
        log.warning("line %d", number, extra={"padding": "x" * 1000})
flush(10)
