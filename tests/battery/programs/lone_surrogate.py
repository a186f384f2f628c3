"""Half a surrogate pair wherever text may be."""

import logging

from side import flush, span

with span("name \ud800", text="tag \udfff", **{"key \ud800": "x"}):
    logging.getLogger("a").warning("text \ud800", extra={"field": "\udc80", "key\ud800": 1})
with span("good"):
    pass
flush(5)
