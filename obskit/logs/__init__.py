"""Logs: every record is a line of JSON that Cloud Logging understands, with its trace; calls stay as they are."""
