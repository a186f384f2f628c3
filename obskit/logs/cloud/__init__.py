"""Logs through Cloud Logging's API, for places where no agent reads standard output."""
