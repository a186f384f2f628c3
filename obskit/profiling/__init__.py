"""Where time goes: a sampling profiler, its schedule, and uploads to Cloud Profiler."""
