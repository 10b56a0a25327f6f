#!/usr/bin/env python3
"""Read the course as a student does: follow the links from the front page and run each page.

    python tools/read_in_order.py [--here] [--keep] [--root FOLDER]

The last commit is cloned into a temporary folder, `make venv` installs it there, and each page runs in that clone, on
one thread. `--here` runs the pages of this checkout in the environment of this Python instead. The list COURSE is not
asked: the way leads from nbs/index.ipynb to the contents, from there to page 1, then along the link *Next*. A link that
leads nowhere, a page that does not lead back, or a page that fails ends the reading with an error.

Printed are minutes by the clock and minutes of processor time. `--keep` writes the processor's seconds into
tools/course_times.json, from which the note for teachers takes them. Needs a system with `resource`: not Windows."""
import argparse
import json
import os
import posixpath
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from course import CONTENTS, file_of, join  # noqa: E402

TIMES = 'tools/course_times.json'
LINK = re.compile(r'\[([^\]]*)\]\(([^)\s#]+\.ipynb)\)')
NUMBER = re.compile(r'\*\*Page (\d+) of (\d+)\*\*')


def markdown(root, page):
    "The markdown cells of a page; an error that names the page where there is none."
    path = file_of(root, page)
    if not path.exists(): sys.exit(f'nbs/{page}.ipynb does not exist, but a link leads there')
    return [join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'markdown']


def links(page, text):
    "Links of a text on a page: `[(words, page that it leads to)]`."
    return [(words, posixpath.normpath(posixpath.join(posixpath.dirname(page), to)).removesuffix('.ipynb'))
        for words, to in LINK.findall(text)]


def numbered(root, page):
    "Number of a page of the course, how many there are, and the line that says so; None elsewhere."
    found = (m and (int(m[1]), int(m[2]), m.string[m.start():].split('\n')[0]) for m in map(NUMBER.search, markdown(root, page)))
    return next(filter(None, found), None)


def first_page(root):
    "The page that a student opens first: the front page leads to the contents, and these to page 1."
    if CONTENTS not in (to for text in markdown(root, 'index') for _, to in links('index', text)):
        sys.exit('nbs/index.ipynb does not lead to nbs/contents.ipynb')
    for text in markdown(root, CONTENTS):
        for _, to in links(CONTENTS, text):
            if (n := numbered(root, to)) and n[0] == 1: return to
    sys.exit('nbs/contents.ipynb leads to no page that says "Page 1 of"')


def chain(root):
    "The pages in the order in which their own links lead through them."
    seen, at = [], first_page(root)
    while at:
        here = numbered(root, at)
        if here is None: sys.exit(f'nbs/{at}.ipynb says no "Page {len(seen) + 1} of"')
        number, total, line = here
        way, onward = links(at, line), markdown(root, at)[-1]
        before = [to for words, to in way if words.startswith('←')]
        after = [to for words, to in way if words.endswith('→')]
        following = [to for _, to in links(at, onward)] if '**Next:**' in onward else []
        if number != len(seen) + 1: sys.exit(f'nbs/{at}.ipynb says that it is page {number}; its links make it page {len(seen) + 1}')
        if before != seen[-1:]: sys.exit(f'nbs/{at}.ipynb leads back to {before or "no page"}, but the reader came from {seen[-1:] or "the contents"}')
        if after != following: sys.exit(f'nbs/{at}.ipynb leads on to {after or "no page"} at its top and to {following or "no page"} at its end')
        seen.append(at)
        if bool(after) != (number < total): sys.exit(f'nbs/{at}.ipynb is page {number} of {total} and leads on to {after or "no page"}')
        at = after[0] if after else None
    return seen


def execute(root, page, python=sys.executable):
    "Run a page from top to bottom on one thread: seconds by the clock and of the processor. A page that fails ends the program."
    import resource
    env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}
    env |= dict(PYTHONPATH=str(root), OMP_NUM_THREADS='1', MPLBACKEND='module://matplotlib_inline.backend_inline')
    file, before, t0 = file_of(root, page), resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with tempfile.TemporaryDirectory() as d:
        done = subprocess.run([str(python), '-m', 'nbconvert', '--to', 'notebook', '--execute', '--output-dir', d, file.name],
            cwd=file.parent, env=env, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode: sys.exit(f'nbs/{page}.ipynb does not run\n{done.stderr[-2000:]}')
    return time.monotonic() - t0, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def install(root, folder):
    "The last commit in a folder of its own, installed by `make venv`: `(clone, its Python)`."
    clone = folder/'clone'
    subprocess.run(['git', 'clone', '-q', '--no-hardlinks', str(root), str(clone)], check=True)
    env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV', 'MAKEFLAGS', 'MAKELEVEL')}
    subprocess.run(['make', 'venv'], cwd=clone, env=env, check=True)
    return clone, clone/'.venv/bin/python'


def keep(root, page, seconds):
    "Write the processor's seconds of one page beside those of the others."
    path = root/TIMES
    times = json.loads(path.read_text(encoding='utf-8')) if path.exists() else dict(seconds={})
    times['seconds'][page] = round(seconds, 1)
    part = path.with_name(f'{path.name}.{os.getpid()}')
    part.write_text(json.dumps(times, indent=1) + '\n', encoding='utf-8')
    os.replace(part, path)


def read(root, python, keep_in=None):
    "Run the pages in the order of their links and print how long each took."
    pages, total = chain(root), [0., 0.]
    print(f"{'page':<28} {'minutes':>8} {'of the processor':>17}", flush=True)
    for page in pages:
        took = execute(root, page, python)
        if keep_in: keep(keep_in, page, took[1])
        total = [a + b for a, b in zip(total, took)]
        print(f'{page:<28} {took[0]/60:>8.2f} {took[1]/60:>17.2f}', flush=True)
    print(f'{f"all {len(pages)} pages":<28} {total[0]/60:>8.2f} {total[1]/60:>17.2f}')


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--here', action='store_true', help='run this checkout with this Python, without a clean install')
    ap.add_argument('--keep', action='store_true', help=f'write the times into {TIMES}')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    a.root = a.root.resolve()
    if a.here: return read(a.root, sys.executable, a.root if a.keep else None)
    with tempfile.TemporaryDirectory() as d: read(*install(a.root, Path(d)), a.root if a.keep else None)


if __name__ == '__main__': main()
