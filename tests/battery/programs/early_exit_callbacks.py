"""Exit callbacks that were registered before the library was there, and so run after all of its own."""

import atexit


def late(number):
    with span("late"):
        print("late", number)


for number in range(3):
    atexit.register(late, number)
from side import span  # noqa: E402 - that it comes late is the point

with span("early"):
    print("early")
