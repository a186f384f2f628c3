"""Five spans, one of them with a number that many encoders refuse."""

from side import flush, span

for number in range(4):
    with span(f"good {number}", number=number):
        pass
with span("bad", number=10**5000):
    pass
print("done")
flush(5)
