"""Logs: every log record becomes a line of JSON in Cloud Logging's format, with its trace."""
