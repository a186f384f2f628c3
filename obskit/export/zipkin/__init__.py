"""Exporters to Zipkin."""
