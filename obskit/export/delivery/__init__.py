"""Delivery of spans and log entries: queue, batches, retries and counters."""
