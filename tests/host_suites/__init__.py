"""Other projects' own tests, with obskit and without: what passes without it must pass with it.

``make host-suites`` or ``python -m tests.host_suites [NAMES]``. It asks the package index for what it runs.
"""
