"""The way of a span or a log entry from the queue to its destination."""
