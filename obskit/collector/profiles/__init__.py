"""Profiles: kept beside the spans, added up to flame graphs of a service, a route, a trace, a time."""
