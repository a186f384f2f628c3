"""All cases, by what they are about; importing this registers them."""

from tests.battery.cases import (  # noqa: F401
    answers,
    collector,
    concurrency,
    ending,
    hostile,
    imports,
    interpreters,
    logs,
    machine,
    processes,
    security,
    servers,
    spool,
    together,
)
