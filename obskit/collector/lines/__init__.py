"""Log lines: kept beside the spans, found by words, severity, service, logger, trace and time."""
