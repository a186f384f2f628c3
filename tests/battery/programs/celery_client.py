"""Sends COUNT tasks to the worker."""

import sys

from celery_worker import work

for number in range(int(sys.argv[1])):
    work.delay(number)
