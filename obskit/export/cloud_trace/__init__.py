"""Google Cloud Trace's API v2, spoken directly: Zipkin's translation of spans, what we add to it, and the sending."""
