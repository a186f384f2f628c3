"""A sampling profiler, its schedule, and its outputs: Cloud Profiler, a collector, a folder."""
