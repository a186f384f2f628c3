"""Start the library, and end when told to."""

import side  # noqa: F401 - starts the library

print("started", flush=True)
input()
