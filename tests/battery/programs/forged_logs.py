"""Log records that try to look like two, or like others."""

import logging

from side import span

log = logging.getLogger("forged")
forged = 'x\n{"severity":"CRITICAL","message":"forged"}\r\n\u2028\u2029\x85\x0b\x0c\x1b[31mred\x00'
fields = {
    "severity": "CRITICAL",
    "time": "1970",
    "logging.googleapis.com/trace": "forged",
    "logging.googleapis.com/spanId": "forged",
    "logger": "another",
    "text": forged,
    forged: 1,
}
with span("request"):
    log.warning(forged)
    log.warning("fields", extra=fields)
    log.warning({"message": forged, "severity": "CRITICAL"})
    log.warning("%s", forged, extra={"json_fields": {"severity": "CRITICAL", "logger": "another"}})
