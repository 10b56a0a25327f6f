#!/usr/bin/env python3
"""A grid of small trainings that is killed twice and has one failure, and ends with the tables of an undisturbed one.

    python tools/try_grid.py [--way runner|snakemake] [--snakemake PATH] [--datasets opd,holo,event,wbc] [--models A,B,C] [--limit 1800]

Works in a temporary copy of the checkout. First the grid runs undisturbed. Then, in another folder, it is started and
its whole process tree is killed with SIGKILL after some jobs, twice; then it runs with a folder of damaged images in the
place of one data set, where it must fail for that set alone and name it; then, with the folder removed, it is finished.
The tables of both must be the same text (CSV: metrics and run names; what measures time is left out). Smoke profile; minutes."""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from itertools import zip_longest
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).resolve().parent))
from check import ONE_THREAD, copy_tree  # noqa: E402


class Trial:
    "Starts the grid in a copy of the checkout, lets it be, or kills it."
    def __init__(self, a, temp): self.a, self.tree, self.end = a, temp/'tree', time.monotonic() + a.limit

    def command(self, out):
        a = self.a
        if a.way == 'runner': return [sys.executable, '-m', 'sparseattnnet.reproduce.main', 'smoke', '--datasets', a.datasets, '--models', a.models, '--out', str(out)]
        return [a.snakemake, '--snakefile', 'workflow/Snakefile', '--profile', 'workflow/profiles/laptop', '--config', 'profile=smoke',
            f'datasets={a.datasets}', f'models={a.models}', f'out={out}', f'python={sys.executable}']

    def start(self, out, *more):
        env = os.environ | {k: '1' for k in ONE_THREAD} | {'PYTHONPATH': str(self.tree), 'PATH': f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", 'MPLBACKEND': 'Agg'}
        log = open(self.tree.parent/'log.txt', 'a')
        return subprocess.Popen(self.command(out) + list(more), cwd=self.tree, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def finish(self, out, *more):
        p = self.start(out, *more)
        try: return p.wait(max(1, self.end - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill_tree(p)
            raise SystemExit(f'not done within {self.a.limit:g} s (--limit)') from None

    def kill_after(self, out, jobs):
        "Start, wait until so many jobs have ended and a further training is under way, then kill everything at once."
        p = self.start(out)
        while p.poll() is None and time.monotonic() < self.end:
            if stamps(out) >= jobs and any(out.glob('runs/*/state.safetensors')): break
            time.sleep(.2)
        under_way = p.poll() is None
        kill_tree(p)
        if self.a.way == 'snakemake': self.finish(out, '--unlock')
        return under_way


def kill_tree(p):
    "SIGKILL to a process and all its descendants: a kernel has a session of its own."
    import psutil
    try: tree = [psutil.Process(p.pid), *psutil.Process(p.pid).children(recursive=True)]
    except psutil.NoSuchProcess: return
    for q in tree:
        try: q.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess: pass
    p.wait()


def stamps(out): return len(list(out.glob('notebooks/*.job.json')))


def tables(out):
    "Tables as text, without those of jobs that measure time (`alone` in the manifest): no two of them are alike."
    jobs = tomllib.loads((ROOT/'nbs/paper/manifest.toml').read_text(encoding='utf-8'))['job'].values()
    timed = {f.name for j in jobs if j.get('alone') for o in j['outputs'] for f in out.glob(o.replace('{tag}', '*'))}
    return {f.name: f.read_text(encoding='utf-8') for f in sorted(out.glob('tables/*.csv')) if f.name not in timed}


def differing(a, b):
    "Names of the tables that differ, and the first line in which each does."
    def line(x, y): return next((f'{i}: {p!r} against {q!r}' for i, (p, q) in enumerate(zip_longest(x.splitlines(), y.splitlines())) if p != q), '')
    return [f'{n}: {line(a[n], b[n])}' if n in a and n in b else f'{n}: only in one' for n in sorted(a.keys() | b.keys()) if a.get(n) != b.get(n)]


def trial(a, temp):
    copy_tree(ROOT, temp/'tree')
    t, whole, killed, say, wrong = Trial(a, temp), temp/'whole', temp/'killed', lambda *x: print(*x, flush=True), []
    def expect(ok, what):
        say(('ok     ' if ok else 'WRONG  ') + what)
        if not ok: wrong.append(what)
    say(f'{a.way}: {a.datasets} × {a.models}')
    expect(t.finish(whole) == 0, f'undisturbed: {stamps(whole)} jobs, {len(tables(whole))} tables')
    for n in (1, 2): expect(t.kill_after(killed, n*stamps(whole)//4), f'killed with {stamps(killed)} of {stamps(whole)} jobs done')
    last = a.datasets.split(',')[-1]
    bad = t.tree/'data'/last
    for c in ('A', 'B'):
        (bad/c).mkdir(parents=True)
        (bad/c/'damaged.png').write_bytes(b'no picture')
    expect(t.finish(killed) != 0, f'damaged images of {last}: the exit status says so')
    expect(all(f'table1_{d}_smoke.csv' in tables(killed) for d in a.datasets.split(',')[:-1]), 'the tables of the other sets are there')
    expect(f'table1_{last}_smoke.csv' not in tables(killed), f'there is no table of {last}')
    expect(bool(list(killed.glob(f'notebooks/train_{last}_*.failed.ipynb'))), 'the half-run notebook is kept')
    shutil.rmtree(bad)
    expect(t.finish(killed) == 0 and stamps(killed) == stamps(whole), 'finished')
    differ = differing(tables(whole), tables(killed))
    expect(not differ and bool(tables(whole)), f'the {len(tables(whole))} tables equal those of the undisturbed grid')
    for d in differ: say(f'       {d}')
    if wrong: say((temp/'log.txt').read_text(encoding='utf-8', errors='replace')[-3000:])
    return int(bool(wrong))


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--way', choices=('runner', 'snakemake'), default='runner')
    ap.add_argument('--snakemake', default=str(ROOT/'.venv-workflow/bin/snakemake'), help='default: that of make grid')
    ap.add_argument('--datasets', default='opd,holo,event,wbc')
    ap.add_argument('--models', default='sparseattnnet:corrected,dense_cnn,mobilenet_v2')
    ap.add_argument('--limit', type=float, default=1800, help='seconds for everything')
    a = ap.parse_args(argv)
    temp = Path(tempfile.mkdtemp(prefix='sparseattnnet-grid-')).resolve()
    try: return trial(a, temp)
    finally: shutil.rmtree(temp, ignore_errors=True)


if __name__ == '__main__': sys.exit(main())
