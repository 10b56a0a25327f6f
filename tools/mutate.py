#!/usr/bin/env python3
"""Does a test notice when the code is wrong? Plants one small fault after another and says which of them no test saw.

    python tools/mutate.py FOLDER [--only PART] [--list] [--jobs 1] [--tests] [--limit 600] [--equivalent] [--cold]

The faults stand in tests/mutations.toml: a module, the text to replace, and what to put there. The project is copied,
and the fault goes into the module and into the cell of the notebook that it is exported from, because a page runs its
own cells. A text that is not found exactly once in each is an error, so the list cannot go stale unseen.

For each fault the checks that concern its module run, cheapest first, until one fails: the pytest files that import the
module, its own page, then the other pages that import it (those under nbs/paper only where the list names them). The
fault is then *killed*; a fault that every check passes has *survived*. A check that also fails without any fault counts
for nothing, and is named. Faults that change no result are in the list too, with the reason; `--equivalent` runs
them as well.

`--only` takes the faults whose part, module or name contains PART, `--tests` leaves the pages out. FOLDER keeps the
results in mutations.json: a run that was stopped goes on, and a fault runs again when the code or the check concerned
has changed. Exit status 1: some fault survived.

The pytest files run in a process that has loaded PyTorch and SciPy beforehand and forks for each file; `--cold` starts
a new Python instead."""
import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from queue import Queue

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from check import ONE_THREAD, SIGNALS, Runner, copy_tree, end_tree, say  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
LIST, PACKAGE, RESULTS = 'tests/mutations.toml', 'sparseattnnet', 'mutations.json'
HEAVY = ('numpy', 'torch', 'torch._dynamo', 'scipy.stats', 'sklearn.metrics', 'pandas', 'numba', 'safetensors.torch',
    'pytest', 'tqdm')


@dataclass
class Mutation:
    "One fault, as it stands in the list."
    name: str  # what is wrong, in a few words; unique
    part: str  # data, training, method, judge or deploy
    file: str  # the module without package and ending, e.g. learn/loop
    old: str  # text in the module and in one exported cell
    new: str  # what the fault puts there
    also: list = field(default_factory=list)  # further pairs of old and new in the same module
    checks: list = field(default_factory=list)  # files to run instead of the pages that import the module
    equivalent: str = ''  # why no test can see it; '' where one should

    @property
    def pairs(self): return [(self.old, self.new), *map(tuple, self.also)]

    @property
    def module(self): return f'{PACKAGE}/{self.file}.py'

    @property
    def page(self):
        room, _, stem = self.file.rpartition('/')
        numbered = [p.name for p in (ROOT/'nbs'/room).glob(f'[0-9][0-9]_{stem}.ipynb')]
        return f'nbs/{room}/{numbered[0]}' if numbered else f'nbs/{self.file}.ipynb'


def load(path=ROOT/LIST):
    "The faults of a list; ValueError for a name that stands twice, and for a fault that changes nothing."
    with open(path, 'rb') as f: found = [Mutation(**m) for m in tomllib.load(f)['mutation']]
    names = [m.name for m in found]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(f"{Path(path).name}: {', '.join(twice)} stands twice; give each mutation a name of its own")
    if idle := [m.name for m in found if any(a == b for a, b in m.pairs)]:
        raise ValueError(f"{Path(path).name}: {', '.join(idle)} replaces a text by itself")
    return found


def exported(cell):
    "Whether nbdev writes a cell to the module."
    return cell['cell_type'] == 'code' and bool(re.match(r'\s*#\|\s*exporti?\b', ''.join(cell['source'])))


def faults_of(m, root=ROOT):
    "What stands in the way of a mutation; empty when each text is found once in the module and once in the page."
    out = []
    for path in (m.module, m.page):
        if not (root/path).is_file():
            out.append(f"mutation {m.name!r}: there is no {path}; adapt {LIST}")
            continue
        text = (root/path).read_text(encoding='utf-8')
        if path == m.page: text = '\n\n'.join(''.join(c['source']) for c in json.loads(text)['cells'] if exported(c))
        for old, _ in m.pairs:
            n = text.count(old)
            where = 'gone from' if not n else f'found {n} times in'
            if n != 1: out.append(f"mutation {m.name!r}: its text is {where} {path}; adapt {LIST}\n    {old!r}")
    return out


def apply(m, root):
    "Put the fault into module and page, and return what stood there; ValueError where `faults_of` finds something."
    if out := faults_of(m, root): raise ValueError('\n'.join(out))
    before = {root/f: ((root/f).read_bytes(), (root/f).stat().st_mtime_ns) for f in (m.module, m.page)}
    text, nb = (root/m.module).read_text(encoding='utf-8'), json.loads((root/m.page).read_text(encoding='utf-8'))
    for old, new in m.pairs:
        text = text.replace(old, new)
        for c in nb['cells']:
            if exported(c): c['source'] = ''.join(c['source']).replace(old, new).splitlines(True)
    (root/m.module).write_text(text, encoding='utf-8')
    (root/m.page).write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n', encoding='utf-8')
    return before


@lru_cache(None)
def code_of(path, changed):
    "The code of a Python file or a notebook; `changed` is when it was written."
    text = path.read_text(encoding='utf-8')
    return text if path.suffix == '.py' else '\n'.join(''.join(c['source']) for c in json.loads(text)['cells']
        if c['cell_type'] == 'code')


def imports(text, file):
    "Whether a text imports a module of the package."
    room, _, name = file.rpartition('/')
    dotted = f'{PACKAGE}.{room}' if room else PACKAGE
    lines = (line.split() for line in text.split('\n') if dotted in line and name in line)
    return any(w[0] in ('from', 'import') and (w[1] == f'{dotted}.{name}' or w[1] == dotted
        and name in ' '.join(w[2:]).replace(',', ' ').split()) for w in lines if len(w) > 1)


def checks_of(m, root=ROOT):
    "The files to run for a mutation, cheapest first."
    tests = [p for p in sorted((root/'tests').glob('test_*.py')) if p.name != 'test_mutate.py'
        and imports(code_of(p, p.stat().st_mtime_ns), m.file)]
    tests.sort(key=lambda p: (not p.name.startswith('test_protocol'), m.part not in p.name, p.name))
    pages = [root/c for c in m.checks] or [p for p in sorted((root/'nbs').rglob('*.ipynb')) if 'paper' not in p.parts
        and p.parent != root/'nbs' and imports(code_of(p, p.stat().st_mtime_ns), m.file)]
    pages.sort(key=lambda p: (p.parent != (root/m.page).parent, p.stat().st_size))
    rel = [p.relative_to(root).as_posix() for p in (*tests, root/m.page, *pages)]
    return list(dict.fromkeys(rel))


# ---- A process that has loaded what is slow to load, and forks --------------------------------------------------

def serve():
    "Read requests from stdin, one line of JSON each; run pytest in a fork; answer with its exit status."
    import importlib
    for n in HEAVY:
        try: importlib.import_module(n)
        except ImportError: pass
    answer = os.fdopen(os.dup(1), 'w')
    signal.signal(signal.SIGINT, signal.SIG_IGN) # who started this ends it
    for line in sys.stdin:
        r, pid = json.loads(line), os.fork()
        if pid == 0:
            os.setsid()
            log = os.open(r['log'], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for fd in (1, 2): os.dup2(log, fd)
            os.chdir(r['tree'])
            sys.path[:] = [r['tree'], *(p for p in sys.path if p not in ('', r['tree']))]
            import pytest
            rc = 99
            try: rc = int(pytest.main(r['args']))
            finally:
                sys.stdout.flush()
                os._exit(rc)
        end = time.monotonic() + r['limit']
        while not (got := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > end: os.killpg(pid, signal.SIGKILL)
            time.sleep(.05)
        print(json.dumps(os.waitstatus_to_exitcode(got[1])), file=answer, flush=True)


class Place:
    "A copy of the project in which one fault at a time is tried."
    def __init__(self, root, run, limit, cold):
        self.root, self.run, self.limit, self.cold, self.server = root, run, limit, cold or not hasattr(os,
            'fork'), None
        self.temp = Path(tempfile.mkdtemp(prefix='mutate-')).resolve()
        self.tree = self.temp/'tree'
        copy_tree(root, self.tree)
        for cache in ('data/cache', ): # simulated images, so that pages need not make them anew
            if (root/cache).is_dir(): shutil.copytree(root/cache, self.tree/cache, dirs_exist_ok=True)
        self.before, self.machine_code = {}, [(f.relative_to(root), f.read_bytes(), f.stat().st_mtime_ns)
            for f in (root/PACKAGE).rglob('__pycache__/*.nb[ic]')]
        for name, *_ in self.machine_code: (self.tree/name).parent.mkdir(parents=True, exist_ok=True)
        self.restore()

    def plant(self, m): self.before = apply(m, self.tree)

    def restore(self):
        "Take the fault out again, with the machine code that was made from it."
        for f, (content, mtime) in self.before.items():
            f.write_bytes(content)
            os.utime(f, ns=(mtime, mtime))
        for f in (self.tree/PACKAGE).rglob('__pycache__/*.nb[ic]'):
            f.unlink()
        for name, content, mtime in self.machine_code:
            (self.tree/name).write_bytes(content)
            os.utime(self.tree/name, ns=(mtime, mtime))

    def check(self, file):
        "Run one check in the copy: exit status, output; 124 or −9 when it took too long."
        if file.endswith('.ipynb'):
            return self.run([Path(sys.executable).with_name('nbdev_test'), '--path', file, '--n_workers', '0'],
                self.tree, self.limit, PYTHONPATH=str(self.tree))[:2]
        args = [file, '-x', '-q', '-p', 'no:cacheprovider', '--color=no', '--no-header', '-W', 'ignore']
        if self.cold:
            return self.run([sys.executable, '-m', 'pytest', *args], self.tree, self.limit,
                PYTHONPATH=str(self.tree))[:2]
        if self.server is None:
            self.server = subprocess.Popen([sys.executable, __file__, '--serve'], cwd=self.temp,
                env=self.run.env | dict(PYTHONPATH=str(self.tree)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True)
        log = self.temp/'log.txt'
        print(json.dumps(dict(tree=str(self.tree), args=args, limit=self.limit, log=str(log))), file=self.server.stdin,
            flush=True)
        answer = self.server.stdout.readline()
        return (int(answer) if answer.strip() else 130), log.read_text(encoding='utf-8',
            errors='replace') if log.exists() else ''

    def stop(self):
        "End what runs here."
        if self.server: end_tree(self.server)

    def close(self):
        self.stop()
        shutil.rmtree(self.temp, ignore_errors=True)


class Study:
    "Faults, what was found about them so far, and the file that keeps it."
    def __init__(self, root, folder, a):
        self.root, self.a, self.file, self.lock = root, a, Path(folder)/RESULTS, threading.Lock()
        self.found = json.loads(self.file.read_text(encoding='utf-8')) if self.file.exists() else dict(mutations={},
            sound={})

    def key(self, m, checks, tree=None):
        "What a result depends on."
        h = hashlib.sha256(json.dumps(m.pairs).encode())
        for f in (m.module, *checks): h.update(f.encode() + ((tree or self.root)/f).read_bytes())
        return h.hexdigest()[:16]

    def checks(self, m): return [c for c in checks_of(m, self.root) if not (self.a.tests and c.endswith('.ipynb'))]

    def known(self, m):
        "The result of an earlier run, where it still holds."
        r = self.found['mutations'].get(m.name)
        return r if r and r['status'] != 'stopped' and r['key'] == self.key(m,
            [r['by']] if r['status'] == 'killed' else self.checks(m)) else None

    def keep(self):
        part = self.file.with_suffix('.part')
        part.write_text(json.dumps(self.found, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
        os.replace(part, self.file)

    def sound(self, place, check):
        "Whether a check passes where nothing is wrong; asked once for each version of package and check."
        h = hashlib.sha256((place.tree/check).read_bytes())
        for f in sorted((place.tree/PACKAGE).rglob('*.py')): h.update(f.read_bytes())
        key = h.hexdigest()[:16]
        if self.found['sound'].get(check, [''])[0] != key:
            rc, text = place.check(check)
            with self.lock: self.found['sound'][check] = [key, rc == 0]
            if rc:
                say(f"  {check} fails without any fault (status {rc}), so it counts for nothing:\n"
                    + '\n'.join('    ' + line for line in text.strip().split('\n')[-4:]))
        return self.found['sound'][check][1]

    def one(self, place, m):
        "Try a fault: killed by which check, or survived."
        t0, checks = time.monotonic(), self.checks(m)
        for c in checks:
            place.plant(m)
            try: rc, text = place.check(c)
            finally: place.restore()
            if rc == 130: return dict(status='stopped', by=c, key='', seconds=0)
            if rc and self.sound(place, c):
                why = next((line for line in text.split('\n') if line.startswith(('FAILED', 'ERROR'))),
                    'took too long' if rc in (124, -9) else text.strip().split('\n')[-1])
                return dict(status='killed', by=c, why=why[:200], key=self.key(m, [c], place.tree),
                    seconds=round(time.monotonic() - t0, 1))
        return dict(status='survived', by='', key=self.key(m, checks, place.tree),
            seconds=round(time.monotonic() - t0, 1))

    def all(self, todo):
        "Try faults in as many copies as jobs were asked for, and say how far it is."
        env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'SPARSEATTNNET_PROGRESS')}
        env |= dict.fromkeys(ONE_THREAD, '1') | dict(MPLBACKEND='Agg')
        env |= dict(PYTHONDONTWRITEBYTECODE='1', PYTEST_DISABLE_PLUGIN_AUTOLOAD='1')
        run, t0, free, n = Runner(env), time.monotonic(), Queue(), [0]
        places = [Place(self.root, run, self.a.limit, self.a.cold) for _ in range(min(self.a.jobs, len(todo)))]
        for p in places: free.put(p)

        def go(m):
            place = free.get()
            try: r = self.one(place, m)
            finally: free.put(place)
            with self.lock:
                if r['status'] != 'stopped': self.found['mutations'][m.name] = r
                self.keep()
                n[0] += 1
                left = (time.monotonic() - t0)/n[0]*(len(todo) - n[0])
                by = f"by {r['by']}" if r['by'] else ''
                done = f"[{n[0]}/{len(todo)}] {r['status']:8} {m.name} {by} ({r['seconds']:.0f} s)"
                say(f"{done} · about {left/60:.0f} min left")
        try:
            with ThreadPoolExecutor(self.a.jobs) as pool:
                try: list(pool.map(go, todo))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    run.stop()
                    for p in places: p.stop()
                    raise
        finally:
            for p in places: p.close()


def report(mutations, found):
    "What is known about some faults, as text, and how many that matter survived."
    status = {m.name: found.get(m.name, {}).get('status', 'not tried') for m in mutations}
    lines = []
    for part in dict.fromkeys(m.part for m in mutations):
        mine = [m for m in mutations if m.part == part and not m.equivalent]
        count = {s: sum(status[m.name] == s for m in mine) for s in ('killed', 'survived', 'not tried')}
        lines.append(f"{part}: {len(mine)} faults, " + ', '.join(f'{n} {s}' for s, n in count.items() if n))
        lines += [f"  SURVIVED {m.name} ({m.file})" for m in mine if status[m.name] == 'survived']
    same = [m for m in mutations if m.equivalent]
    if same:
        lines += [f"{len(same)} change no result:",
            *(f"  {m.name} ({m.file}): {m.equivalent}"
            + (f"; yet {status[m.name]}" if status[m.name] == 'killed' else '') for m in same)]
    return '\n'.join(lines), sum(status[m.name] == 'survived' for m in mutations if not m.equivalent)


def main(argv=None):
    p = argparse.ArgumentParser(
        description='Make small faults in a copy of the project and say which of them no test sees.')
    p.add_argument('folder', nargs='?', default='', help='keeps the results')
    p.add_argument('--only', default='', help='faults whose part, module or name contains this')
    p.add_argument('--list', action='store_true', help='show the faults and the checks that would run')
    p.add_argument('--jobs', type=int, default=1, help='copies to work in at the same time')
    p.add_argument('--tests', action='store_true', help='pytest files alone, no pages: minutes instead of hours')
    p.add_argument('--limit', type=float, default=600, help='seconds for one check')
    p.add_argument('--equivalent', action='store_true', help='also try the faults that change no result')
    p.add_argument('--cold', action='store_true', help='a new Python for each pytest file')
    p.add_argument('--root', default=str(ROOT), help='the project')
    p.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
    a = p.parse_args(argv)
    if a.serve: return serve()
    if a.jobs < 1: p.error(f'--jobs {a.jobs}: expected at least 1')
    root = Path(a.root).resolve()
    chosen = [m for m in load(root/LIST) if a.only in m.part or a.only in m.file or a.only in m.name]
    if not chosen: p.error(f'--only {a.only}: no mutation of {LIST} has that in its part, module or name')
    if bad := [line for m in chosen for line in faults_of(m, root)]:
        say('\n'.join(bad))
        return 2
    if a.list:
        for m in chosen:
            say(f"{m.part:9} {m.file:18} {m.name}{' (changes no result)' if m.equivalent else ''}")
            say('    ' + ' '.join(checks_of(m, root)))
        return 0
    if not a.folder: p.error('name a folder for the results')
    Path(a.folder).mkdir(parents=True, exist_ok=True)
    def stop(*_): raise KeyboardInterrupt
    for sig in SIGNALS: signal.signal(sig, stop)
    study = Study(root, a.folder, a)
    todo = [m for m in chosen if (a.equivalent or not m.equivalent) and not study.known(m)]
    say(f"{len(chosen)} mutations, {len(todo)} to try")
    try:
        if todo: study.all(todo)
    except KeyboardInterrupt:
        say('stopped; the same command goes on from here')
        return 130
    text, survived = report(chosen, study.found['mutations'])
    say(text)
    return int(survived > 0)


if __name__ == '__main__': sys.exit(main())
