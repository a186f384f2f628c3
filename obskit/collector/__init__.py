"""The embedded Zipkin-compatible collector: ingest, store, query and two plain pages."""
