#!/usr/bin/env python3
"""Test notebooks as `nbdev_test` does, each in a process of its own: a copy of this one, which has imported the large libraries.

    python tools/run_pages.py [--workers 2] [--limit 900] [--flags slow] PAGE …

When a page ends, a line of JSON says: page, status (124: it took longer than the limit), seconds, text. Without the copy
each page imports PyTorch, pandas and Matplotlib anew, some six seconds of a core."""
import argparse
import importlib
import json
import os
import sys
import tempfile
import time

LARGE = ('torch', 'numba', 'pandas', 'scipy.stats', 'matplotlib.pyplot', 'seaborn', 'fastcore.test', 'IPython')
FEW = 3 # pages for which the copy does not pay


def begin(page, flags, log):
    "Fork; the copy tests the page, writes what it prints into the open file, and ends."
    if pid := os.fork(): return pid
    os.setsid()
    os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
    from nbdev.test import nbdev_test
    nbdev_test(path=page, flags=flags, n_workers=0)
    sys.exit()


def end(pid):
    "Kill a page with all that it started."
    import psutil
    try: tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess: return
    for p in tree:
        try: p.kill()
        except psutil.NoSuchProcess: pass


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('pages', nargs='+')
    ap.add_argument('--workers', type=int, default=2, help='pages at a time')
    ap.add_argument('--limit', type=float, default=900, help='seconds a page may take')
    ap.add_argument('--flags', default='', help='flags of cells that are otherwise left out')
    a = ap.parse_args()
    if len(a.pages) > FEW:
        for m in LARGE:
            try: importlib.import_module(m)
            except ImportError: pass # a page that needs it says so
    import nbdev.test # noqa: F401
    todo, running = list(reversed(a.pages)), {}
    while todo or running:
        while todo and len(running) < a.workers:
            page, log = todo.pop(), tempfile.TemporaryFile()
            running[begin(page, a.flags, log)] = page, log, time.monotonic()
        time.sleep(.05)
        for pid, (page, log, t0) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            late = not ended and time.monotonic() - t0 > a.limit
            if late:
                end(pid)
                os.waitpid(pid, 0)
            if not (ended or late): continue
            del running[pid]
            log.seek(0)
            text = log.read().decode(errors='replace') + (f'\nstopped after {a.limit:g} s (CHECK_LIMIT_S)' if late else '')
            rc = 124 if late else os.waitstatus_to_exitcode(status)
            print(json.dumps(dict(page=page, status=rc, seconds=time.monotonic() - t0, text=text)), flush=True)


if __name__ == '__main__': main()
