"""Start the library in fifty subinterpreters, one after another."""

from side import flush, note, span

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

CODE = """
import obskit
obskit.init(service="sub", exporter="none")
with obskit.span("in a subinterpreter"): pass
obskit.shutdown()
"""


def refusal():
    """Run CODE in a subinterpreter; return what it says, empty where it worked."""
    one = interpreters.create()
    try:
        failure = interpreters.run_string(one, CODE)
    except Exception as error:
        return str(error)
    finally:
        interpreters.destroy(one)
    return "" if failure is None else str(failure.formatted)


refusals = {refusal() for _ in range(50)} - {""}
with span("in the main one"):
    pass
flush(5)
note(refusals=sorted(refusals))
