"""Makes ``python -m obskit.cli`` the ``obskit`` command."""

from __future__ import annotations

import sys

from obskit.cli import main

if __name__ == "__main__":
    sys.exit(main())
