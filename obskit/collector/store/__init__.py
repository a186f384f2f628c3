"""The span store: compressed blocks of spans in SQLite, and a Zipkin server used as a store."""
