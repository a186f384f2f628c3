"""Logs through Cloud Logging's API, where nobody reads standard output: a bounded queue, a worker, Google's client."""
