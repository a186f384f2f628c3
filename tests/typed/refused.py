"""Mistakes that type checkers report to users: each line with `# refused` is one, never executed."""

from __future__ import annotations

import obskit

obskit.init(service=5)  # refused
obskit.init(sample_rate="often")  # refused
obskit.init(logs="jsonn")  # refused
obskit.init(profiler="on")  # refused
obskit.init(zipkin_encoding="thrift")  # refused
obskit.init(propagation=[1])  # refused
obskit.init(servcie="orders")  # refused
obskit.init("orders")  # refused
obskit.flush(timeout="soon")  # refused
obskit.span("charge", kind="customer")  # refused


@obskit.span("charge")
def charge(amount: int) -> str:
    return str(amount)


charge("three")  # refused
number: int = charge(3)  # refused
