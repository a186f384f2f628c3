"""The collector beside a Zipkin server: ``make bench-collector``."""
