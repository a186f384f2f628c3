"""What a library logs goes to a file: it is no output of the program's."""

from __future__ import annotations

import logging
import os


def log_to_file(name: str) -> None:
    """Send the records of the logger ``name`` to the file ``log`` of the run, and nowhere else."""
    logger = logging.getLogger(name)
    logger.addHandler(logging.FileHandler(os.path.join(os.environ["BATTERY_FOLDER"], "log"), delay=True))
    logger.propagate = False
