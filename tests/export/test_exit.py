"""The end of a program: its output and status are its own, its spans arrive, and nothing keeps it waiting."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.export.receiver import AT_REST, free_port, receiver, run

START = """
import os, sys
if sys.argv[1]:
    import obskit
    obskit.init(service="test", exporter=sys.argv[1], integrations=[], flush_interval=3600)
    span = obskit.span
else:
    from contextlib import nullcontext as span
"""
# A child that is forked on a thread has another end: that of its last thread, without exit handlers.
FORK_ON_A_THREAD = """
import _thread, threading
class Raw:
    def start(self): self.over = _thread.allocate_lock(); self.over.acquire(); _thread.start_new_thread(self.run, ())
    def run(self):
        if fork(): self.over.release()
    def join(self): self.over.acquire()
def fork():
    if os.fork() == 0:
        with span('a'): pass
        {last}
    print(os.wait()[1], flush=True)
    return True
with span('a'): pass
{start}
start.start(); start.join()
"""
CLOSED = """
import tempfile
with span('a'): pass
if sys.argv[1]: assert obskit.flush(20)
os.closerange(3, 100)
files = {files}
if 'kill' not in {end!r}:
    with span('a'): pass
    if sys.argv[1]: assert obskit.flush(20)
for number, file in enumerate(files): file.write(str(number)); file.seek(0)
texts = [(file.read(), file.close()) for file in files]
{end}
"""
PROGRAMS = {
    "normal": "with span('a'): print('out'); print('err', file=sys.stderr)",
    "exception": "with span('a'): raise ValueError('unchanged')",
    "status": "with span('a'): sys.exit(3)",
    "message": "with span('a'): sys.exit('message')",
    "interrupt": "with span('a'): raise KeyboardInterrupt",
    "fork": """
with span('a'):
    for number in range(3):
        if os.fork() == 0:
            with span('a'): sys.exit(number)
    print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)))
""",
    "double_fork": """
import time
with span('a'): pass
read, write = os.pipe()
if os.fork() == 0:
    with span('a'): pass
    if os.fork() == 0:
        with span('a'): os.write(write, b'x'); sys.exit()
    os.wait(); sys.exit()
os.wait()
print(os.read(read, 1))
""",
    "multiprocessing": """
import multiprocessing
def work():
    with span('a'): print('in the child', flush=True)
context = multiprocessing.get_context('fork')
process = context.Process(target=work)
process.start(); process.join()
print(process.exitcode)
""",
    "pool": """
import multiprocessing
def work(number):
    with span('a'): return number
pool = multiprocessing.get_context('fork').Pool(2)
print(pool.map(work, range(4)))
pool.close(); pool.join()
""",
    "executor": """
import concurrent.futures, multiprocessing
def work(number):
    with span('a'): return number
with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context('fork')) as executor:
    print(list(executor.map(work, range(4))))
""",
    "threads": """
import concurrent.futures
def work(number):
    with span('a'): return number
executor = concurrent.futures.ThreadPoolExecutor(4)
print(sum(executor.map(work, range(200))))
""",
    "sigterm": """
import signal
with span('a'): print('out', flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print('never')
""",
    "sigterm_in_a_child": """
import multiprocessing, time
def work():
    with span('a'): print('in the child', flush=True)
    ready.set()
    time.sleep(60)
context = multiprocessing.get_context('fork')
ready = context.Event()
process = context.Process(target=work)
process.start()
ready.wait(); process.terminate(); process.join()
print(process.exitcode)
""",
    "sigterm_handled": """
import signal
def end(number, frame):
    with span('a'): sys.exit(4)
signal.signal(signal.SIGTERM, end)
os.kill(os.getpid(), signal.SIGTERM)
""",
    "sigterm_ignored": """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with span('a'): os.kill(os.getpid(), signal.SIGTERM)
print('alive')
""",
    "sigterm_to_a_program_it_starts": """
import subprocess
with span('a'): process = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
process.terminate()
print(process.wait())
""",
    "atexit": """
import atexit
def late():
    with span('a'): print('late')
atexit.register(late)
""",
    "finaliser_at_the_end": """
class Late:
    def __del__(self):
        with span('a'): pass
late = Late()
with span('a'): pass
""",
    "running_thread": """
import threading
def work():
    threading.main_thread().join()
    with span('a'): print('after the main thread')
threading.Thread(target=work).start()
""",
    "fork_on_a_thread": FORK_ON_A_THREAD.format(start="start = threading.Thread(target=fork)", last="sys.exit(3)"),
    "fork_on_a_thread_of_c": FORK_ON_A_THREAD.format(start="start = Raw()", last="return"),
    "fork_on_a_thread_that_raises": FORK_ON_A_THREAD.format(
        start="start = threading.Thread(target=fork)", last="sys.stderr = None; raise ValueError"
    ),
    "fork_on_a_thread_twice": FORK_ON_A_THREAD.format(
        start="start = threading.Thread(target=fork)",
        last="""
        if os.fork() == 0:
            with span('a'): return
        print(os.wait()[1], flush=True); return""",
    ),
    "fork_on_a_thread_and_other_threads": FORK_ON_A_THREAD.format(
        start="start = threading.Thread(target=fork)",
        last="""
        def work():
            first.join()
            with span('a'): pass
        first = threading.current_thread()
        threading.Thread(target=work).start(); return""",
    ),
    "files_closed": CLOSED.format(files="()", end="print('alive')"),
    "files_closed_and_others_opened": CLOSED.format(
        files="[tempfile.TemporaryFile('w+') for _ in range(8)]", end="print(texts)"
    ),
    "files_closed_and_sigterm": CLOSED.format(
        files="[tempfile.TemporaryFile('w+') for _ in range(8)]", end="os.kill(os.getpid(), 15); print('never')"
    ),
    "forking_server": """
import socket, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        with span('a'): self.wfile.write(self.rfile.readline())
        raise ValueError
class Server(socketserver.ForkingTCPServer):
    def handle_error(self, *_): pass
with Server(('127.0.0.1', 0), Handler) as server:
    for _ in range(2):
        with socket.create_connection(server.server_address) as client, client.makefile() as answer:
            client.sendall(b'x\\n')
            server.handle_request()
            print(answer.readline())
""",
    "other_threads_joined": """
import threading
with span('a'): pass
if sys.argv[1]: assert obskit.flush(20)
print(threading.active_count(), threading.enumerate() == [threading.current_thread()])
for thread in threading.enumerate():
    if thread is not threading.main_thread(): thread.join()
""",
    "sigterm_handler_looked_up": """
import signal
with span('a'): print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
""",
    "sigterm_handler_restored": """
import signal
with span('a'): before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(before, signal.signal(signal.SIGTERM, before), flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print('never')
""",
    "sigterm_handler_chained": """
import signal
def end(number, frame):
    with span('a'): print('once', flush=True)
    if callable(before): before(number, frame)
before = signal.signal(signal.SIGTERM, end)
os.kill(os.getpid(), signal.SIGTERM)
print('alive')
""",
    "sigterm_handler_of_asyncio": """
import asyncio, signal
async def serve():
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    with span('a'):
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        print(loop.remove_signal_handler(signal.SIGTERM), signal.getsignal(signal.SIGTERM), flush=True)
asyncio.run(serve())
os.kill(os.getpid(), signal.SIGTERM)
print('never')
""",
}
COUNTS = {"fork": 4, "double_fork": 3, "pool": 4, "executor": 4, "threads": 200, "files_closed_and_others_opened": 2}
COUNTS |= {"finaliser_at_the_end": 2, "files_closed": 2}
COUNTS |= {"fork_on_a_thread_twice": 3, "fork_on_a_thread_and_other_threads": 3}
COUNTS |= {"forking_server": 2, "fork_on_a_thread": 2, "fork_on_a_thread_of_c": 2, "fork_on_a_thread_that_raises": 2}


def same(one, other) -> bool:
    return (one.stdout, one.stderr, one.returncode) == (other.stdout, other.stderr, other.returncode)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_the_same_with_obskit_and_all_its_spans_arrive(program):
    if program == "fork_on_a_thread_and_other_threads" and sys.version_info >= (3, 14):
        pytest.skip("from CPython 3.14 on, joining the thread that forked waits for ever in the child")
    code = START + PROGRAMS[program]
    with receiver() as server:
        traced = run(code, server.url)
        plain = run(code, "")
        assert same(traced, plain), (traced, plain)
        spans = server.spans
        assert len(spans) == COUNTS.get(program, 1)
        assert len({span["id"] for span in spans}) == len(spans)


LATE = """
import atexit, sys
@atexit.register
def last():
    for _ in range(3):
        with obskit.span('late'): pass
"""


def test_spans_of_exit_handlers_that_were_there_before_obskit_are_delivered():
    with receiver() as server:
        done = run(LATE + START + "with span('a'): pass", server.url)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert sorted(server.names) == ["a", "late", "late", "late"]


@pytest.mark.parametrize("hangs", [True, False])
def test_late_spans_cost_the_exit_timeout_where_they_cannot_be_delivered_and_one_warning(hangs):
    with receiver() as server:
        server.answers = [server.hang] * 10
        url = server.url if hangs else f"http://127.0.0.1:{free_port()}"
        start = time.monotonic()
        done = run(LATE + START, url, OBSKIT_EXIT_TIMEOUT="1", OBSKIT_EXPORT_TIMEOUT="3600")
        assert time.monotonic() - start < 30
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "", 1)
        assert "late" not in server.names or hangs


def test_nobody_listening_costs_one_warning_and_no_waiting():
    code = START + "for _ in range(3000):\n with span('a'): pass\nprint('out'); sys.exit(3)"
    done = run(code, f"http://127.0.0.1:{free_port()}", OBSKIT_EXIT_TIMEOUT="3600")
    assert (done.returncode, done.stdout) == (3, "out\n")
    (warning,) = done.stderr.splitlines()
    assert "could not be delivered" in warning
    assert "refused" in warning


@pytest.mark.parametrize(("handler", "expected"), [("None", "SIG_DFL"), ("print", "print")])
def test_sigterm_is_given_back_unless_somebody_else_took_it(handler, expected):
    code = f"""
import signal
if {handler}: signal.signal(signal.SIGTERM, {handler})
obskit.shutdown(unpatch=True)
print(signal.getsignal(signal.SIGTERM) == {"signal.SIG_DFL" if expected == "SIG_DFL" else expected})
"""
    done = run(START + code, "console")
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_init_on_another_thread_leaves_sigterm_to_the_system():
    code = (
        START.replace("import obskit", "import obskit, threading, signal")
        .replace("    obskit.init(", "    init = lambda: obskit.init(")
        .replace("    span =", "    thread = threading.Thread(target=init); thread.start(); thread.join()\n    span =")
    )
    done = run(code + "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)", "console")
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_second_sigterm_ends_a_program_that_still_delivers_at_once():
    code = (
        START
        + """
import signal, threading, time
with span('a'): pass
def again():
    time.sleep(0.3); os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=again, daemon=True).start()
os.kill(os.getpid(), signal.SIGTERM)
"""
    )
    with receiver() as server:
        server.answers = [server.hang] * 10
        start = time.monotonic()
        done = run(code, server.url, OBSKIT_EXIT_TIMEOUT="3600", OBSKIT_EXPORT_TIMEOUT="3600")
        assert done.returncode == -15
        assert time.monotonic() - start < 30


@pytest.mark.parametrize("hangs", ["force_flush", "shutdown"])
def test_a_sigterm_ends_a_program_whose_span_processor_never_returns(hangs):
    code = f"""
import os, signal, sys, threading, time
import obskit
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
class Hanging(SpanProcessor):
    def {hangs}(self, *_): print('hangs', flush=True); threading.Event().wait()
obskit.init(exporter=sys.argv[1], integrations=[], exit_timeout=0.2)
trace.get_tracer_provider().add_span_processor(Hanging())
with obskit.span('a'): pass
os.kill(os.getpid(), signal.SIGTERM)
"""
    with receiver() as server:
        done = run(code, server.url)
    assert (done.returncode, done.stdout, server.names) == (-15, "hangs\n", ["a"]), done.stderr


def test_a_receiver_that_hangs_costs_the_exit_timeout():
    code = START + "with span('a'): print('out')"
    with receiver() as server:
        server.answers = [server.hang] * 10
        start = time.monotonic()
        done = run(code, server.url, OBSKIT_EXIT_TIMEOUT="0.5", OBSKIT_EXPORT_TIMEOUT="3600")
        assert time.monotonic() - start < 30  # the default of the socket would be an hour
        assert (done.returncode, done.stdout) == (0, "out\n")


def test_the_exit_takes_the_timeout_and_not_much_more_where_the_receiver_hangs():
    code = (
        START
        + """
import atexit, time
with span('a'): pass
from obskit.runtime import runtime
begin = time.monotonic()
runtime._exit()
print(time.monotonic() - begin)
"""
    )
    with receiver() as server:
        server.answers = [server.hang] * 10
        done = run(code, server.url, OBSKIT_EXIT_TIMEOUT="0.5", OBSKIT_EXPORT_TIMEOUT="3600")
    assert 0.5 <= float(done.stdout) < 1.0, done.stderr


def test_a_forked_child_that_never_traces_leaves_the_parents_spans_alone():
    code = (
        START
        + """
for _ in range(5):
    with span('a'): pass
    if os.fork() == 0: sys.exit()
    os.wait()
"""
    )
    with receiver() as server:
        assert run(code, server.url).returncode == 0
        assert len(server.spans) == 5


CHILDREN = """
import multiprocessing, random, signal, threading, time
context = multiprocessing.get_context('fork')
reader, writer = context.Pipe()
gate = context.Semaphore(0)
traced = context.Value('i', 0)

def trace():
    if sys.argv[1]:
        with span('a'): pass
    with traced.get_lock(): traced.value += 1

def end(number, frame):
    os._exit(5)

def receive(): trace(); reader.recv()
def wait(): trace(); gate.acquire()
def wait_without_spans(): gate.acquire()
def handle(): signal.signal(signal.SIGTERM, end); trace(); reader.recv()
def trace_elsewhere():
    thread = threading.Thread(target=trace); thread.start(); thread.join()
    reader.recv()

codes, stuck = set(), 0
for _ in range(12):
    process = context.Process(target=globals()[sys.argv[2]])
    process.start()
    time.sleep(random.random() * 0.02)
    process.terminate()
    process.join(30)
    stuck += process.is_alive()
    process.kill()
    process.join()
    codes.add(process.exitcode)
print(stuck, file=sys.stderr)
print(codes <= ({-15, 5} if sys.argv[2] == 'handle' else {-15}))
"""


@pytest.mark.parametrize("work", ["receive", "wait", "wait_without_spans", "handle", "trace_elsewhere"])
def test_a_child_of_multiprocessing_ends_by_sigterm_at_whatever_moment_it_comes(work):
    with receiver() as server:
        done = run(START + CHILDREN, server.url, work)
    assert (done.stdout, done.stderr) == ("True\n", "0\n")


WAITING = """
import signal, threading, time
def trace():
    with span('a'): pass
read, write = os.pipe()
child = os.fork()
if child == 0:
    {begin}
    os.write(write, b'x')
    {wait}
os.close(write)
os.read(read, 1)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
ON_A_THREAD = "thread = threading.Thread(target=trace); thread.start(); thread.join()"
HANDLER = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); trace()"


@pytest.mark.parametrize(
    ("begin", "wait", "code"),
    [
        ("trace()", "time.sleep(60)", -15),
        ("trace()", "while True: pass", -15),
        (ON_A_THREAD, "time.sleep(60)", -15),
        (HANDLER, "time.sleep(60)", 7),
        (f"{ON_A_THREAD}; {HANDLER}", "time.sleep(60)", 7),
        ("trace(); os.kill(os.getpid(), signal.SIGTERM); print('never', flush=True)", "os._exit(3)", -15),
    ],
)
def test_a_child_forked_by_hand_delivers_at_sigterm_and_ends_as_it_would(begin, wait, code):
    with receiver() as server:
        program = START + WAITING.format(begin=begin, wait=wait)
        done = run(program, server.url, OBSKIT_EXIT_TIMEOUT="20")
        assert (done.stdout, done.stderr) == (f"{code}\n", "")
        assert set(server.names) == {"a"}


def test_the_application_does_not_see_how_a_child_watches_for_sigterm():
    code = """
import signal, threading
if os.fork() == 0:
    def trace():
        with span('a'): pass
    thread = threading.Thread(target=trace); thread.start(); thread.join()
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.set_wakeup_fd(-1), flush=True)
    print(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)
    os._exit(0)
os.wait()
"""
    with receiver() as server:
        done = run(START + code, server.url)
        assert (done.stdout, done.stderr) == ("True -1\nFalse\n", "")


def test_a_sigterm_ends_a_program_whose_main_thread_is_in_native_code():
    code = """
import ctypes
with span('a'): pass
ctypes.CDLL(None).system(b'kill -TERM %d; exec sleep 30 >/dev/null 2>&1' % os.getpid())
"""
    with receiver() as server:
        begin = time.monotonic()
        done = run(START + code, server.url, OBSKIT_EXIT_TIMEOUT="20")
        assert (done.returncode, done.stderr, server.names) == (-15, "", ["a"])
        assert time.monotonic() - begin < 25


def test_a_sigterm_to_a_child_whose_fork_python_did_not_see_is_not_its_parents():
    code = """
import ctypes, signal, time
with span('a'): pass
at_rest()
child = ctypes.PyDLL(None).fork()
if child == 0: time.sleep(60)
def state():
    with open(f'/proc/{child}/stat') as file: return file.read().rpartition(')')[2].split()[0]
while state() != 'S': time.sleep(0.01)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
time.sleep(0.5)
print('alive')
"""
    with receiver() as server:
        done = run(START + AT_REST + code, server.url, OBSKIT_EXIT_TIMEOUT="20")
        assert (done.stdout, done.returncode, server.names) == ("-15\nalive\n", 0, ["a"]), done.stderr


def test_a_forked_child_delivers_before_os_exit_and_the_process_that_was_started_waits_for_nothing():
    code = """
import threading
if os.fork() == 0:
    with span('child'): pass
    if os.fork() == 0:
        with span('grandchild'): pass
        os._exit(4)
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]) + 1)
print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
if os.fork() == 0:
    os._exit(threading.active_count())  # nothing to deliver, so no thread was started for it
print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
with span('emergency'): pass
os._exit(3)
"""
    with receiver() as server:
        plain, traced = run(START + code, ""), run(START + code, server.url)
        assert (traced.returncode, traced.stdout, traced.stderr) == (3, "5\n1\n", "")
        assert (plain.returncode, plain.stdout, plain.stderr) == (3, "5\n1\n", "")
        assert sorted(server.names) == ["child", "grandchild"]


def test_a_forked_child_delivers_before_os_exit_whatever_obskit_had_called_when_it_was_forked():
    code = """
from concurrent.futures import ThreadPoolExecutor
@obskit.span('around')
def fork(name):
    if os.fork() == 0:
        with span(name): pass
        os._exit(0)
    return os.wait()[1]
with ThreadPoolExecutor() as pool:
    print(fork('decorated'), pool.submit(fork, 'submitted').result())
"""
    with receiver() as server:
        done = run(START + code, server.url)
        assert (done.stdout, done.stderr) == ("0 0\n", "")
        assert sorted(server.names) == ["around", "around", "decorated", "submitted"]


def test_os_exit_of_a_forked_child_raises_what_it_raises_without_obskit_and_can_be_had_back():
    code = """
before = os._exit
if os.fork() == 0:
    try: os._exit()
    except TypeError: os._exit(status=6)
print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
if sys.argv[1]:
    obskit.shutdown(unpatch=True)
    print(os._exit is sys.modules['posix']._exit, before is os._exit)
"""
    with receiver() as server:
        assert run(START + code, server.url).stdout == "6\nTrue False\n"


@pytest.mark.parametrize("handled", [False, True])
def test_interrupt_main_calls_a_handler_of_the_applications_alone(handled):
    """``_thread.interrupt_main`` does nothing where the default is set, as which obskit's handler shows."""
    program = f"""if True:
        import _thread, signal
        import obskit
        obskit.init(service="s", exporter="http://127.0.0.1:9", integrations=[], logs="off")
        if {handled}:
            signal.signal(signal.SIGTERM, lambda *_: print("handled"))
        _thread.interrupt_main(signal.SIGTERM)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _thread.interrupt_main()
        print("alive")
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "handled\nalive\n" if handled else "alive\n", "")
