"""Five spans, with something attached that raises whenever it is called."""

from side import flush, raising_processor, span

raising_processor()
for number in range(5):
    with span(f"span {number}"):
        print(number)
flush(5)
