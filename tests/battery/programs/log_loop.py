"""A root handler that makes a span of each record, also of those about spans that cannot be delivered."""

import logging

from side import flush, note, span

records = []


class Feeding(logging.Handler):
    def emit(self, record):
        records.append(record.getMessage())
        with span("log record"):
            pass


logging.getLogger().addHandler(Feeding())
logging.getLogger().setLevel(logging.DEBUG)
logging.getLogger("obskit").propagate = True
for _ in range(5):
    with span("work"):
        pass
    flush(0.3)
note(records=records)
