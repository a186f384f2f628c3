"""Logs through Cloud Logging's API, if no agent reads standard output: a bounded queue, a worker, Google's client."""
