#!/usr/bin/env python3
"""Every check of the project, each counted: what `make test` runs.

    python tools/check.py [--steps 'export,clean,lint,equations,artefacts,readme,code version,pytest,notebooks,papermill'] [--only PART] [--workers 2] [--slow]

The working tree is copied to a temporary folder and checked there, so the checkout is only read. `--only` takes the
notebooks whose path contains PART, through clean, lint and execution. The last line is `N passed, N failed`, and the
exit status is 0 only if nothing failed. A step that finds nothing to test has failed; so has a run that was stopped."""
import argparse
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
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import lint_notebooks  # noqa: E402

STEPS = ('export', 'clean', 'lint', 'equations', 'artefacts', 'readme', 'code version', 'pytest', 'notebooks', 'papermill')
PACKAGE = lint_notebooks.PACKAGE
TRAIN, INDEX, CONTENTS = 'nbs/paper/train.ipynb', 'nbs/index.ipynb', 'nbs/contents.ipynb'
LIMIT = float(os.environ.get('CHECK_LIMIT_S', 900))  # one notebook, seconds
ONE_THREAD = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'NUMEXPR_NUM_THREADS', 'VECLIB_MAXIMUM_THREADS', 'NUMBA_NUM_THREADS')
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LEFT_OUT = shutil.ignore_patterns('.git', '.venv', '.venv-*', '__pycache__', '.ipynb_checkpoints', '.pytest_cache', '*.egg-info', 'build', 'dist', '_proc', '_docs', '.DS_Store')


class Count:
    "What passed and what failed, over all steps."
    def __init__(self): self.passed, self.failed, self.step = 0, [], ''

    def add(self, ok, name, detail='', note='', nth=''):
        if ok: self.passed += 1
        else: self.failed.append(f'{self.step}: {name}')
        if note or not ok: say(f"  {'ok    ' if ok else 'FAILED'} {nth}{name}{'  ' + note if note else ''}")
        if detail and not ok: say('\n'.join('    ' + l for l in detail.rstrip().split('\n')))


def say(*text): print(*text, flush=True)


class Runner:
    "Starts subprocesses and can end all of them, children included."
    def __init__(self, env): self.env, self.running, self.lock, self.stopped = env, set(), threading.Lock(), False

    def __call__(self, cmd, cwd, limit=LIMIT, **env):
        "Run a command: `(exit status, output, seconds)`; 124 when it took longer than the limit."
        t0 = time.monotonic()
        with self.lock:
            if self.stopped: return 130, 'stopped', 0.
            p = subprocess.Popen([str(c) for c in cmd], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                encoding='utf-8', errors='replace', start_new_session=True, env={k: v for k, v in (self.env | env).items() if v is not None})
            self.running.add(p)
        try:
            text, _ = p.communicate(timeout=limit)
            return p.returncode, text, time.monotonic() - t0
        except subprocess.TimeoutExpired:
            end_tree(p)
            return 124, p.communicate()[0] + f'\nstopped after {limit:g} s (CHECK_LIMIT_S)', time.monotonic() - t0
        except BaseException:
            end_tree(p)
            raise
        finally:
            with self.lock: self.running.discard(p)

    def lines(self, cmd, cwd):
        "What a command prints, line by line; the command is ended with the loop."
        with self.lock:
            if self.stopped: return
            p = subprocess.Popen([str(c) for c in cmd], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                encoding='utf-8', errors='replace', start_new_session=True, env=self.env)
            self.running.add(p)
        try: yield from p.stdout
        finally:
            end_tree(p)
            p.wait()
            with self.lock: self.running.discard(p)

    def stop(self):
        "End every process that still runs, and start no more."
        with self.lock:
            self.stopped = True
            for p in list(self.running): end_tree(p)


def end_tree(p):
    "Kill a process with all that it started: a Jupyter kernel has a session of its own, so the group is not enough."
    import psutil
    try: tree = [psutil.Process(p.pid), *psutil.Process(p.pid).children(recursive=True)]
    except psutil.NoSuchProcess: return
    for q in tree:
        try: q.kill()
        except psutil.NoSuchProcess: pass
    psutil.wait_procs(tree, timeout=5)


def copy_tree(root, to):
    "Copy what belongs to the project: git's files and new ones that it does not ignore; without git, all but the known by-products."
    git = subprocess.run(['git', 'ls-files', '-zco', '--exclude-standard'], cwd=root, capture_output=True) if (root/'.git').exists() else None
    if git is None or git.returncode:
        shutil.copytree(root, to, ignore=lambda d, names: set(LEFT_OUT(d, names)) | (
            {n for n in names if n not in ('README.md', 'reference')} if Path(d) in (root/'data', root/'outputs') else set()), symlinks=True)
        return
    for name in filter(None, git.stdout.decode().split('\0')):
        if (root/name).is_file():
            (to/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root/name, to/name)


class Check:
    "The steps; each adds to the count."
    def __init__(self, root, temp, a):
        self.root, self.temp, self.a, self.count = root, temp, a, Count()
        self.tree = temp/'tree'
        copy_tree(root, self.tree)
        nbs = lint_notebooks.notebooks(self.tree)
        self.notebooks = [p for p in nbs if a.only in p.relative_to(self.tree).as_posix()]
        bin = Path(sys.executable).parent
        env = {k: v for k, v in os.environ.items() if not k.startswith(('PYTEST_', 'NBDEV_')) and k not in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'PYTHONSTARTUP')}
        self.run = Runner(env | {k: '1' for k in ONE_THREAD} | {
            'PYTHONPATH': str(self.tree), 'PATH': f"{bin}{os.pathsep}{env.get('PATH', '')}", 'MPLBACKEND': 'Agg', 'BROWSER': 'true',
            'IPYTHONDIR': str(temp/'ipython'), 'JUPYTER_RUNTIME_DIR': str(temp/'jupyter'), 'JUPYTER_PREFER_ENV_PATH': '1',
            'PYDEVD_DISABLE_FILE_VALIDATION': '1', 'PYTHONUNBUFFERED': '1', 'TMPDIR': str(temp/'tmp')})
        (temp/'tmp').mkdir()
        self.bin = bin

    def tool(self, name): return [sys.executable, self.bin/name]

    def rel(self, p): return p.relative_to(self.tree).as_posix()

    def export(self):
        "The package is what the notebooks export: made anew in a second copy and compared file by file."
        fresh = self.temp/'export'
        copy_tree(self.root, fresh)
        lib = fresh/PACKAGE
        for p in lib.rglob('*.py'):
            if p.name == '_modidx.py' or 'AUTOGENERATED' in p.read_text(encoding='utf-8')[:400]: p.unlink()
        rc, text, _ = self.run(self.tool('nbdev_export'), fresh, PYTHONPATH=None)
        if rc: return self.count.add(False, 'nbdev_export', text)
        have, want = ({p.relative_to(b).as_posix(): p.read_bytes() for p in (b/PACKAGE).rglob('*.py')} for b in (self.tree, fresh))
        for name in sorted(have | want):
            why = 'no notebook exports it' if name not in want else 'it is missing' if name not in have else 'it differs from its notebook'
            self.count.add(have.get(name) == want.get(name), name, f'{why}: run `make export`')

    def clean(self):
        "Cleaning changes nothing."
        fresh = self.temp/'clean'
        copy_tree(self.root, fresh)
        rc, text, _ = self.run(self.tool('nbdev_clean'), fresh)
        if rc or 'Failed to clean' in text: return self.count.add(False, 'nbdev_clean', text)
        for p in self.notebooks: self.count.add(p.read_bytes() == (fresh/self.rel(p)).read_bytes(), self.rel(p), 'not clean: run `make clean-notebooks`')

    def lint(self):
        "The house style."
        found = lint_notebooks.lint(self.notebooks, self.tree)
        for p in self.notebooks:
            mine = [o for o in found if o.path == self.rel(p)]
            for o in mine:
                if o.warning: say(f'  {o}')
            bad = [str(o) for o in mine if not o.warning]
            self.count.add(not bad, self.rel(p), '\n'.join(bad))

    def equations(self):
        "Every equation of the paper has a function and a test, and the contents page says which."
        if not (self.tree/CONTENTS).exists(): return f'{CONTENTS} does not exist yet'
        rc, text, _ = self.run([sys.executable, self.tree/'tools/equations.py', '--check'], self.tree)
        self.count.add(rc == 0, 'the equation map', text)

    def artefacts(self):
        "The manifest is in order, and the contents page shows what became of each artefact."
        if not (self.tree/CONTENTS).exists(): return f'{CONTENTS} does not exist yet'
        rc, text, _ = self.run([sys.executable, self.tree/'tools/artefacts.py', '--check'], self.tree)
        self.count.add(rc == 0, 'the table of artefacts', text)

    def readme(self):
        "README.md is what the index renders to."
        if not (self.tree/INDEX).exists(): return f'{INDEX} does not exist yet'
        rc, text, _ = self.run([sys.executable, self.tree/'tools/readme.py', '--check'], self.tree)
        self.count.add(rc == 0, 'README.md', text)

    def code_version(self):
        "Whoever changes what training computes raises the code version; tiny runs tell."
        rc, text, s = self.run([sys.executable, self.tree/'tools/check_code_version.py', '--root', self.root, '--tree', self.tree], self.tree)
        self.count.add(rc == 0, 'the code version', text, f'{s:.1f} s')
        for line in text.strip().split('\n')[:-1] if rc == 0 else (): say(f'  {line}')

    def pytest(self):
        "Plain tests of the tools and whatever else lies under tests/, file by file in as many processes as workers."
        files = sorted((self.tree/'tests').rglob('test_*.py'), key=lambda f: -f.stat().st_size)
        groups = [g for i in range(self.a.workers) if (g := files[i::self.a.workers])] or [[self.tree/'tests']]
        def run(i):
            report = self.temp/f'pytest{i}.xml'
            rc, text, _ = self.run([sys.executable, '-m', 'pytest', *groups[i], '-q', '-p', 'no:cacheprovider', '--color=no', f'--junitxml={report}'], self.tree)
            return rc, text, list(ET.parse(report).iter('testcase')) if report.exists() else []
        with ThreadPoolExecutor(len(groups)) as pool:
            try: done = list(pool.map(run, range(len(groups))))
            except BaseException:
                self.run.stop()
                raise
        cases = [c for _, _, found in done for c in found]
        bad = [c for c in cases if c.find('failure') is not None or c.find('error') is not None]
        skipped = [c for c in cases if c.find('skipped') is not None]
        for c in cases:
            if c not in skipped and c not in bad: self.count.add(True, c.get('name'))
        for c in bad: self.count.add(False, f"{c.get('classname')}::{c.get('name')}")
        for rc, text, found in done:
            if rc and not any(c in bad for c in found) and not (rc == 5 and cases): self.count.add(False, f'pytest ended with status {rc}')
            if rc: say(text)
        if skipped: say(f'  {len(skipped)} skipped, not counted: ' + ', '.join(c.get('name') for c in skipped))

    def pages(self, todo):
        "Run notebooks, each in a process of its own: page, whether it passed, text, seconds, one after the other as they end."
        cmd = [sys.executable, Path(__file__).with_name('run_pages.py'), '--workers', self.a.workers, '--limit', LIMIT, *(('--flags', 'slow') if self.a.slow else ())]
        left = {self.rel(p): p for p in todo}
        for line in self.run.lines([*cmd, *left], self.tree):
            try: r = json.loads(line)
            except ValueError:
                say(line.rstrip())
                continue
            p, text = left.pop(r['page']), r['text']
            ok = r['status'] == 0 and 'Success.' in text
            if not ok: text = text.rstrip() + self.failing_cell(p, text) + (f"\nexit status {r['status']}" if r['status'] else '\nnbdev_test did not say Success.')
            yield p, ok, text, r['seconds']
        for p in left.values(): yield p, False, 'the process that runs the pages ended before this one', 0.

    def failing_cell(self, p, text):
        "The source of the cell that a traceback names."
        if not (m := re.search(r'While Executing Cell #(\d+)', text)): return ''
        cells = json.loads(p.read_text(encoding='utf-8'))['cells']
        n = int(m[1])
        if not 1 <= n <= len(cells): return ''
        return f"\n--- cell {n} ({cells[n - 1].get('id')}) of {self.rel(p)}\n{lint_notebooks.join(cells[n - 1]['source'])}\n---"

    def notebooks_step(self):
        "Every notebook runs from top to bottom, each in a process of its own."
        order = {r: i for i, r in enumerate(('paper', 'reproduce', 'studies', 'judge', 'learn', 'use', 'deploy', 'data', 'method'))}
        todo = sorted(self.notebooks, key=lambda p: (order.get(p.parent.name, 9), p.name))
        probe = f'import {PACKAGE}; print({PACKAGE}.__file__)'
        rc, text, _ = self.run([sys.executable, '-c', probe], self.temp)
        if rc or not Path(text.strip() or '.').resolve().is_relative_to(self.tree):
            return self.count.add(False, f'import {PACKAGE}', f'expected from the copy of the checkout, came from: {text}')
        times = {}
        for i, (p, ok, text, times[p]) in enumerate(self.pages(todo), 1):
            self.count.add(ok, self.rel(p), text, f'{times[p]:.1f} s', f'{i}/{len(todo)} ')
        slowest = sorted(times, key=times.get, reverse=True)[:5]
        if len(times) > 1: say('  slowest: ' + ', '.join(f'{p.stem} {times[p]:.1f} s' for p in slowest))

    def papermill(self):
        "The training notebook at the smallest profile, by plain papermill in a real Jupyter kernel."
        if not (self.tree/TRAIN).exists(): return f'{TRAIN} does not exist yet'
        out = self.temp/'train.out.ipynb'
        cmd = [sys.executable, '-m', 'papermill', TRAIN, out, '--cwd', Path(TRAIN).parent, '-k', 'python3', '--no-progress-bar', '-p', 'profile', 'smoke']
        rc, text, s = self.run(cmd, self.tree, MPLBACKEND=None)
        cells = json.loads(out.read_text(encoding='utf-8'))['cells'] if out.exists() else []
        injected = [lint_notebooks.join(c['source']) for c in cells if 'injected-parameters' in c['metadata'].get('tags', ())]
        errors = [o for c in cells for o in c.get('outputs', ()) if o['output_type'] == 'error']
        why = '' if rc else 'the profile was not injected' if not any('smoke' in t for t in injected) else \
            'papermill knows no parameter `profile` there' if re.search('unknown parameter', text, re.I) else 'an error is stored in the result' if errors else ''
        self.count.add(rc == 0 and not why, f'{TRAIN} -p profile smoke', f'{text}\n{why}', f'{s:.1f} s')

    def all(self, steps):
        "Run steps in order; whatever a step throws is its failure."
        for i, name in enumerate(steps, 1):
            t0, before, failed = time.monotonic(), self.count.passed, len(self.count.failed)
            self.count.step = name
            say(f'[{i}/{len(steps)}] {name}')
            skip = None
            try: skip = getattr(self, 'notebooks_step' if name == 'notebooks' else name.replace(' ', '_'))()
            except Exception as e: self.count.add(False, 'the step itself', f'{type(e).__name__}: {e}')
            passed, bad = self.count.passed - before, len(self.count.failed) - failed
            if skip:
                say(f'  skipped: {skip}')
                continue
            if not passed + bad: self.count.add(False, 'nothing was tested', 'a step that runs no test has failed')
            say(f'  {passed} passed, {len(self.count.failed) - failed} failed in {time.monotonic() - t0:.1f} s')


def stop(signum, frame): raise KeyboardInterrupt(signal.Signals(signum).name)


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--steps', default='', help='comma-separated; default: all')
    ap.add_argument('--only', default='', metavar='PART', help='only notebooks whose path contains PART')
    ap.add_argument('--workers', type=int, default=2, help='notebooks at a time, one thread each')
    ap.add_argument('--slow', action='store_true', help='also cells marked `#| slow`')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    steps = [s for s in a.steps.split(',') if s] or [s for s in STEPS if not a.only or s in ('clean', 'lint', 'notebooks')]
    if unknown := [s for s in steps if s not in STEPS]: ap.error(f"unknown step {', '.join(unknown)}; there are {', '.join(STEPS)}")
    if a.workers < 1: ap.error(f'--workers {a.workers}: expected at least 1')
    for s in SIGNALS: signal.signal(s, stop)
    t0 = time.monotonic()
    temp = Path(tempfile.mkdtemp(prefix='sparseattnnet-check-')).resolve()
    check = None
    try:
        check = Check(a.root.resolve(), temp, a)
        check.all(steps)
    except KeyboardInterrupt as e:
        for s in SIGNALS: signal.signal(s, signal.SIG_IGN)
        if check:
            check.run.stop()
            check.count.failed.append('stopped')
        say(f'\nstopped by {e or "SIGINT"}; what was running has been ended')
    finally: shutil.rmtree(temp, ignore_errors=True)
    count = check.count if check else Count()
    if count.failed:
        say('\nFailed:')
        for f in count.failed: say(f'  {f}')
    say(f'total {time.monotonic() - t0:.0f} s')
    say(f'{count.passed} passed, {len(count.failed)} failed')
    return 130 if 'stopped' in count.failed or check is None else int(bool(count.failed) or not count.passed)


if __name__ == '__main__': sys.exit(main())
