"""A fork amid an import on another thread: the child has whole modules, and the parent forks as soon as it can."""

from __future__ import annotations

import sys

import pytest

from tests.export.receiver import AT_REST, run

pytestmark = pytest.mark.skipif(not hasattr(sys, "getswitchinterval") or sys.platform == "win32", reason="forks")
START = """
import os, pathlib, sys, tempfile, threading, time
from obskit.base.fork_lock import no_fork
from obskit.base.process import check_fork
folder = tempfile.mkdtemp()
sys.path.insert(0, folder)
os.mkdir(folder + '/package')
pathlib.Path(folder + '/package/__init__.py').write_text('import package.other\\nfrom package.slow import value\\n')
pathlib.Path(folder + '/package/other.py').write_text('')
pathlib.Path(folder + '/package/slow.py').write_text('import __main__\\n__main__.work()\\nvalue = 5\\n')
begun, free = threading.Event(), threading.Event()
parent = os.getpid()

def load():
    with no_fork():
        import package

def fork(fork=os.fork):
    thread = threading.Thread(target=load)
    thread.start()
    begun.wait()
    began = time.monotonic()
    child = fork()
    if child == 0:
        check_fork()
        complete = 'package' in sys.modules
        import package, package.other
        load()
        print(complete, package.value, package.other.__name__, flush=True)
        os._exit(0)
    took = time.monotonic() - began
    free.set()
    thread.join()
    os.waitpid(child, 0)
    print(sys.modules['package'].value, sys.getswitchinterval() == 0.005)
    return took
"""


def test_a_fork_waits_for_an_import_that_goes_on_however_long_it_takes():
    code = """
def work():
    begun.set()
    while time.monotonic() < end: sum(range(1000))
end = time.monotonic() + 3
assert 1.5 < fork() < 30
"""
    done = run(START + code)
    assert (done.stdout, done.stderr) == ("True 5 package.other\n5 True\n", "")


@pytest.mark.parametrize("load", ["", "def load():\n    import package\n"], ids=["ours", "the application's"])
def test_a_fork_does_not_wait_for_an_import_that_waits_for_it_and_the_child_imports_anew(load):
    code = """
def work():
    begun.set()
    if os.getpid() == parent: free.wait()
assert fork() < 20
"""
    done = run(START + load + code)
    assert (done.stdout, done.stderr) == ("False 5 package.other\n5 True\n", "")


def test_a_child_whose_fork_python_did_not_see_imports_anew():
    code = """
import ctypes
def work():
    begun.set()
    if os.getpid() == parent: free.wait()
def unseen():
    at_rest()
    return ctypes.PyDLL(None).fork()
fork(unseen)
"""
    done = run(START + AT_REST + code)
    assert (done.stdout, done.stderr) == ("False 5 package.other\n5 True\n", "")


def test_an_import_that_forks_does_not_wait_for_itself():
    code = """
def work():
    began = time.monotonic()
    if os.fork() == 0: os._exit(0)
    os.wait()
    print(time.monotonic() - began < 0.9)
load()
"""
    assert run(START + code).stdout == "True\n"


def test_the_first_log_line_on_another_thread_is_no_trap_for_a_child():
    code = """
import logging, os, threading, obskit
obskit.init(service="test", exporter="none", logs="json", integrations=[])
threading.Thread(target=logging.warning, args=("first",)).start()
child = os.fork()
logging.warning("second")
if child == 0: os._exit(0)
os.waitpid(child, 0)
"""
    for _ in range(3):
        done = run(code)
        assert (done.returncode, done.stdout.count("second"), done.stderr) == (0, 2, "")


def test_a_module_that_another_thread_only_looks_for_stays_what_it_is():
    """``importlib.import_module`` takes the lock of a whole module, too: held at a fork, it is nobody's any more."""
    code = """
import importlib._bootstrap as bootstrap
def work(): pass
load()
before, held = sys.modules['package'], bootstrap._get_module_lock('package')
def hold():
    with bootstrap._ModuleLockManager('package'):
        begun.set()
        free.wait()
thread = threading.Thread(target=hold)
thread.start()
begun.wait()
if os.fork() == 0:
    with bootstrap._ModuleLockManager('package'):
        print(sys.modules['package'] is before, flush=True)
    os._exit(0)
os.wait()
free.set()
"""
    done = run(START + code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_fork_amid_an_import_of_its_own_thread_keeps_what_is_imported():
    code = """
def work():
    global child
    child = os.fork()
child = None
load()
if child:
    os.waitpid(child, 0)
print(child == 0, sys.modules['package'].value)
"""
    assert run(START + code).stdout == "True 5\nFalse 5\n"
