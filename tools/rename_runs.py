#!/usr/bin/env python3
"""Give the runs of outputs/reference the names that today's rule gives, after a change of the rule and of nothing else.

    python tools/rename_runs.py BEFORE "why" [--same-weights] [--reference outputs/reference]

A run's name ends in a hash of its configuration, data, split and of the code that trains. Where only the way of hashing
has changed, a retraining would give the same weights, and the name may be changed instead. BEFORE is a checkout of the
commit before. Nothing is renamed unless every run has the name that the code there gives it, and the definitions that
train are the same in both but for those that make the rule (`RULE`). With --same-weights other definitions may differ,
as when a network was added, and one small run of every kind of model is trained with both: all weights must be the same
bit for bit. Hashes of the changed files are renewed in their provenance; the record says what a run was called, and why
it was renamed."""
import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from sparseattnnet.learn import records as R  # noqa: E402
from sparseattnnet.learn.loop import CHOICES, run_digest, strip_prose  # noqa: E402

MODULES = [f'method/{m}.py' for m in ('coarse', 'fine', 'kscheduler', 'losses', 'model', 'pixels', 'sampler')] + ['data/augment.py'] + [
    f'experiment/{m}.py' for m in ('baselines', 'metrics', 'training')]
RULE = {'CHOICES', 'strip_prose', 'code_fingerprint', '_training_code', 'run_digest'}

ASK = """import json, sys
from sparseattnnet.learn import loop as T
print(json.dumps([T.run_digest(*a) for a in json.load(sys.stdin)]))"""
TRAIN = """import contextlib, json, os, sys
from sparseattnnet.learn.run import RunSpec, train_run
with contextlib.redirect_stdout(sys.stderr): found = [train_run(RunSpec(**s), sys.argv[1], show=False)['checkpoint_sha256'] for s in json.load(sys.stdin)]
print(json.dumps(found))"""


def ask(tree, script, asked, *arguments):
    "Run a script with the code of a checkout: JSON in, JSON out."
    p = subprocess.run([sys.executable, '-c', script, *arguments], input=json.dumps(asked), env=os.environ | {'PYTHONPATH': str(tree)}, cwd=tree, capture_output=True, text=True)
    if p.returncode: raise SystemExit(f'{tree}: {p.stderr.strip()[-500:]}')
    return json.loads(p.stdout)


def other_weights(tree, reference):
    "Kinds of models, of those in the reference, whose small runs have other weights with the code of another checkout."
    kinds = sorted({(r['dataset'], r['model'], r['preset'] or 'corrected') for r in map(R.read_json, reference.glob('runs/*/record.json')) if r['dataset'] in ('opd', 'holo')})
    specs = [dict(dataset=d, source='simulated', model=m, preset=p, profile='smoke', epochs=2) for d, m, p in kinds]
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b: found = ask(tree, TRAIN, specs, a), ask(ROOT, TRAIN, specs, b)
    for k, x, y in zip(kinds, *found): print(f"{'same ' if x == y else 'OTHER'} weights: {' '.join(k)}", flush=True)
    return [' '.join(k) for k, x, y in zip(kinds, *found) if x != y]


def changed_code(tree):
    "Definitions that train and are not those of another checkout, as module: name."
    def parts(root, m):
        body = ast.parse((root/'sparseattnnet'/m).read_text(encoding='utf-8')).body
        return {strip_prose(ast.unparse(n), ('__all__', *CHOICES)): getattr(n, 'name', None) or ast.unparse(n)[:40] for n in body}
    differ = []
    for m in MODULES:
        a, b = parts(tree, m), parts(ROOT, m)
        differ += [f'{m}: {v}' for v in {(a | b)[k] for k in a.keys() ^ b.keys()} - RULE]
    return sorted(differ)


def digests_before(tree, records):
    "What the code of another checkout calls these runs."
    asked = [[r['config'], r['data_fingerprint'], r['split_hash'], r['environment']['device'], r['environment']['torch']] for r in records]
    return ask(tree, ASK, asked), [run_digest(*a) for a in asked]


def new_names(reference, tree):
    "Old name -> new name of every run; SystemExit where a run is not what the code before made."
    records = [R.read_json(f) for f in sorted(reference.glob('runs/*/record.json'))]
    if not records: raise SystemExit(f'{reference}: no runs here')
    names = {}
    for r, was, now in zip(records, *digests_before(tree, records)):
        stem, _, end = r['run_id'].rpartition('_')
        if end != was[:8]: raise SystemExit(f"{r['run_id']}: the code in {tree} would call it {stem}_{was[:8]}; only runs of that code can be renamed")
        names[r['run_id']] = f'{stem}_{now[:8]}'
    return {a: b for a, b in names.items() if a != b}


def rename(reference, names, why):
    "Move the folders, write the new names wherever the old stood, and renew the hashes of what that changed."
    for old, new in names.items():
        os.rename(reference/'runs'/old, reference/'runs'/new)
        record = reference/'runs'/new/'record.json'
        r = R.read_json(record)
        R.write_json(record, r | {'renamed': {'from': '', 'because': why} | ({'before': r['renamed']} if 'renamed' in r else {})})
    changed = {}
    for f in sorted(p for p in reference.rglob('*') if p.suffix in ('.json', '.csv', '.md', '.tex')):
        text = was = f.read_text(encoding='utf-8')
        for old, new in names.items(): text = text.replace(old, new)
        if text != was:
            changed[f.name] = R.sha256_file(f)
            with R.atomic_path(f) as part: part.write_text(text, encoding='utf-8')
    for old, new in names.items():
        record = reference/'runs'/new/'record.json'
        r = R.read_json(record)
        R.write_json(record, R.check_record(r | {'renamed': r['renamed'] | {'from': old}}))
    for f in reference.glob('*.provenance.json'):
        about = R.read_json(f)
        R.write_json(f, about | {'files': {n: R.sha256_file(reference/n) if sha == changed.get(n) else sha for n, sha in about['files'].items()}})


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('before', help='checkout of the commit before the change')
    p.add_argument('why', help='a sentence for the records')
    p.add_argument('--same-weights', action='store_true', help='the code has changed, and small runs of every kind must show that weights have not')
    p.add_argument('--reference', default=str(ROOT/'outputs/reference'))
    a = p.parse_args(argv)
    reference, before = Path(a.reference).resolve(), Path(a.before).resolve()
    differ = changed_code(before)
    if differ and not a.same_weights: raise SystemExit(f"the code that trains has changed, so train anew, or try --same-weights: {'; '.join(differ)}")
    names = new_names(reference, before)
    if differ and (other := other_weights(before, reference)): raise SystemExit(f"other weights, so train anew: {'; '.join(other)}")
    rename(reference, names, a.why)
    print(f'{len(names)} runs have new names')


if __name__ == '__main__': main()
