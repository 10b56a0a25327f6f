#!/usr/bin/env python3
"""Whether `CODE_VERSION` was raised when training changed, by training a tiny run of each kind of model.

    python tools/check_code_version.py [--base REV] [--write]

Two questions. First, against the parent commit (REV; by default HEAD where the working tree has changes, else the
commit before HEAD): the same tiny runs are trained on one thread with the code of both. If any weights or
probabilities differ and `CODE_VERSION` is the same, that is a failure. Second, against committed numbers,
tools/first_losses.json: the losses of the first five steps must agree to 1e-3. Processors differ in rounding, and training multiplies the
difference by ten or more per step (ResNet50: 3e-6, 4e-3, .2), so the file keeps the losses of several kinds of
processor (`--add`), and three times the spread between them is allowed. One machine can stand for older processors:
`ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2`, and the same three with `default`,
`SSE41` and `SSE4_2`. They round otherwise, and move `guided` by .007 at its third step with the same code. A change
that several commits made together is seen in that file. `--write` writes it anew, from one processor; do so when you
raise the number, and add the two older kinds then. Every tiny run stands for a way through the code: presets, baselines, augmentation, a k that moves, a running
mean, classes of unequal size, holograms, colour."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[1]
LOSSES = Path(__file__).with_name('first_losses.json')
TOLERANCE = 1e-3
SMALL = dict(source='simulated', profile='smoke', epochs=5, size=48, batch_size=500) # one batch holds all: an epoch is a step
RUNS = {
    'faithful': dict(dataset='event', preset='faithful'),
    'corrected': dict(dataset='opd', preset='corrected', augment='on'),
    'edge': dict(dataset='wbc', preset='edge'),
    'guided': dict(dataset='opd', preset='guided'),
    'holograms': dict(dataset='holo', preset='corrected'),
    'k moves': dict(dataset='opd', preset='corrected', changes='{"k_reading": "symmetric", "k_share": 0.1}', batch_size=24, recipe='{"schedule": "plateau", "ema": 0.0}'),
    'random pixels': dict(dataset='event', preset='corrected', changes='{"select": "random"}'),
    'printed losses': dict(dataset='opd', preset='corrected', changes='{"contrastive": "printed", "distill": "printed"}'),
    'dense_cnn': dict(dataset='wbc', model='dense_cnn', augment='on'),
    'tiny_cnn': dict(dataset='opd', model='tiny_cnn'),
    'plain_cnn': dict(dataset='opd', model='plain_cnn'),
    'mobilenet_v2': dict(dataset='opd', model='mobilenet_v2'),
    'mobilenet_v3_small': dict(dataset='opd', model='mobilenet_v3_small'),
    'resnet50': dict(dataset='opd', model='resnet50'),
}
# Runs inside the code that is asked: trains each run, prints hash of weights and probabilities, losses, code version.
DRIVER = '''
import hashlib, json, sys, tempfile
from pathlib import Path
import torch
torch.set_num_threads(1)
from sparseattnnet.learn import run as M
from sparseattnnet.learn.run import RunSpec, train_run
out, data = {'code_version': M.CODE_VERSION}, {}
for name, spec in json.loads(sys.argv[1]).items():
    try:
        at, spec = tempfile.mkdtemp(), RunSpec(**spec)
        key = spec.dataset, spec.size
        if key not in data: data[key] = M.spec_images(spec, False)
        r = train_run(spec, at, show=False, data=data[key])
        folder = Path(at)/'runs'/r['run_id']
        bits = hashlib.sha256((folder/'model.safetensors').read_bytes() + (folder/'predictions.csv').read_bytes()).hexdigest()
        out[name] = dict(run=r['run_id'], bits=bits, best=[r['best_epoch'], r['k']], losses=[e['train']['loss'] for e in r['history']], val=[e['val']['macro_f1'] for e in r['history']])
    except Exception as e: out[name] = dict(error=f'{type(e).__name__}: {e}')
print('\\n' + json.dumps(out))
'''


def trained(tree, runs):
    "What the code of a tree makes of the tiny runs; None where it has no code version yet."
    if not (tree/'sparseattnnet/learn/run.py').exists(): return None
    env = os.environ | {k: '1' for k in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'NUMBA_NUM_THREADS')} | {
        'PYTHONPATH': str(tree), 'PYTHONDONTWRITEBYTECODE': '1'}
    p = subprocess.run([sys.executable, '-W', 'ignore', '-c', DRIVER, json.dumps(runs)], cwd=tree, env=env, capture_output=True, text=True)
    if p.returncode: raise SystemExit(f'the tiny runs could not be trained in {tree.name}:\n{p.stderr[-2000:]}')
    return json.loads(p.stdout.strip().split('\n')[-1])


def git(root, *args):
    p = subprocess.run(['git', '-C', str(root), *args], capture_output=True)
    return p.stdout if p.returncode == 0 else None


def parent_of(root):
    "The commit to compare with: HEAD for a changed tree, else the one before; '' where there is none."
    if git(root, 'rev-parse', 'HEAD') is None: return ''
    base = 'HEAD' if git(root, 'status', '--porcelain', '--untracked-files=no', '--', 'sparseattnnet', 'nbs') else 'HEAD^'
    return base if git(root, 'rev-parse', '--verify', '-q', base) is not None else ''


def compare(before, now):
    "`(failures, remarks)` of two trees' tiny runs."
    if before is None: return [], ['the parent commit has no code version: nothing to compare with']
    raised = now['code_version'] - before['code_version']
    if raised < 0: return [f"CODE_VERSION fell from {before['code_version']} to {now['code_version']}: it may only rise"], []
    both = [n for n in RUNS if n in before and n in now and 'error' not in before[n]]
    other = [n for n in both if before[n] != now[n]]
    renamed = [n for n in other if before[n].get('run') != now[n].get('run')] # no record can be taken for theirs
    if raised: return [], [f"CODE_VERSION rose to {now['code_version']}; other results: {', '.join(other) or 'none'}"]
    return [f"{n}: weights or predictions differ from the parent commit's, and CODE_VERSION is still {now['code_version']}. Raise it in nbs/learn/run.ipynb, run `python tools/check_code_version.py --write`, and add a line to CHANGELOG.md; or mend the change" for n in other if n not in renamed], ([f"another preset, recipe or data set, so runs of another name: {', '.join(renamed)}"] if renamed else [])


def first_losses(now, kept=None):
    "What the file says: for each run the losses of the first steps, one list per kind of processor."
    old = kept or {}
    return {'code_version': now['code_version'], **{n: [*old.get(n, []), [round(v, 6) for v in now[n]['losses']]] for n in RUNS}}


def beyond(losses, lists):
    "The largest excess over what is allowed, from the nearest list at each step; 0 where all steps agree."
    worst = 0.
    for t, v in enumerate(losses):
        known = [k[t] for k in lists]
        allowed = TOLERANCE*max(1, abs(known[0])) + 3*(max(known) - min(known))
        gap = min(abs(v - k) for k in known)
        if gap > allowed: worst = max(worst, gap)
    return worst


def against_committed(now, path=LOSSES):
    "Failures against the committed losses."
    kept = json.loads(path.read_text(encoding='utf-8'))
    if kept['code_version'] != now['code_version']: return [f"{path.name} is of code version {kept['code_version']}, today's is {now['code_version']}: run `python tools/check_code_version.py --write`"]
    far = {n: beyond(now[n]['losses'], kept[n]) if n in kept else None for n in RUNS}
    return [f'{n}: not in {path.name}' if d is None else f'{n}: the losses of the first steps differ from the committed ones by up to {d:.2g}; training has changed since code version {kept["code_version"]} was set. '
        'If it has not (the comparison with the parent commit says so) this is another kind of processor: run `python tools/check_code_version.py --add`'
        for n, d in far.items() if d is None or d > 0]


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--base', default='', help='commit to compare with')
    ap.add_argument('--write', action='store_true', help='write the losses of the first steps anew')
    ap.add_argument('--add', action='store_true', help='add those of this processor to the file')
    ap.add_argument('--root', type=Path, default=ROOT, help='the project; its git history gives the parent')
    ap.add_argument('--tree', type=Path, default=None, help='the working tree that is judged, default the project')
    a = ap.parse_args(argv)
    runs = {n: SMALL | r for n, r in RUNS.items()}
    now = trained((a.tree or a.root).resolve(), runs)
    if bad := [f"{n}: {now[n]['error']}" for n in RUNS if 'error' in now[n]]: return tell(bad)
    if a.write or a.add:
        kept = json.loads(LOSSES.read_text(encoding='utf-8')) if a.add else {}
        if kept and kept['code_version'] != now['code_version']: return tell([f"{LOSSES.name} is of code version {kept['code_version']}: use --write"])
        LOSSES.write_text(json.dumps(first_losses(now, kept), indent=1) + '\n', encoding='utf-8')
        print(f'{LOSSES.name} written, code version {now["code_version"]}')
        return 0
    failures, base = against_committed(now), a.base or parent_of(a.root)
    if base:
        with tempfile.TemporaryDirectory(prefix='parent-') as t:
            packed = git(a.root, 'archive', base, 'sparseattnnet')
            if packed is None: raise SystemExit(f'base={base!r}: git knows no such commit here')
            subprocess.run(['tar', '-x', '-C', t], input=packed, check=True)
            more, remarks = compare(trained(Path(t), runs), now)
        failures += more
        for r in remarks: print(r)
    else: print('no parent commit is at hand (a shallow clone, or no git): only the committed losses were compared')
    return tell(failures)


def tell(failures):
    for f in failures: print(f'CHANGED  {f}')
    print(f'{len(RUNS)} tiny runs, {len(failures)} failures')
    return int(bool(failures))


if __name__ == '__main__': sys.exit(main())
