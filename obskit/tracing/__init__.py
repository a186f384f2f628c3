"""Spans: what they are, how they start, and which is current. Imports the standard library and OpenTelemetry only."""
