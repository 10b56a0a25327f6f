#!/usr/bin/env python3
"""Give the runs of outputs/reference the names that today's rule gives, after a change of the rule and of nothing else.

    python tools/rename_runs.py BEFORE "why" [--reference outputs/reference]

A run's name ends in a hash of its configuration, data, split and of the code that trains. Where only the way of hashing
has changed, a retraining would give the same weights, and the name may be changed instead. BEFORE is a checkout of the
commit before. Nothing is renamed unless every run has the name that the code there gives it, and the definitions that
train are the same in both but for those that make the rule (`RULE`). Hashes of the changed files are renewed in their
provenance; the record says what a run was called, and why it was renamed."""
import argparse
import ast
import json
import os
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from sparseattnnet.experiment import records as R  # noqa: E402
from sparseattnnet.experiment.training import CHOICES, run_digest, strip_prose  # noqa: E402

MODULES = [f'method/{m}.py' for m in ('coarse', 'fine', 'kscheduler', 'losses', 'model', 'pixels', 'sampler')] + ['data/augment.py'] + [
    f'experiment/{m}.py' for m in ('baselines', 'metrics', 'training')]
RULE = {'CHOICES', 'strip_prose', 'code_fingerprint', '_training_code', 'run_digest'}

ASK = """import json, sys
from sparseattnnet.experiment import training as T
print(json.dumps([T.run_digest(*a) for a in json.load(sys.stdin)]))"""


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
    env = os.environ | {'PYTHONPATH': str(tree)}
    p = subprocess.run([sys.executable, '-c', ASK], input=json.dumps(asked), env=env, cwd=tree, capture_output=True, text=True)
    if p.returncode: raise SystemExit(f'{tree}: {p.stderr.strip()[-500:]}')
    return json.loads(p.stdout), [run_digest(*a) for a in asked]


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
        R.write_json(record, R.read_json(record) | {'renamed': {'from': '', 'because': why}})
    changed = {}
    for f in sorted(p for p in reference.rglob('*') if p.suffix in ('.json', '.csv', '.md', '.tex')):
        text = was = f.read_text(encoding='utf-8')
        for old, new in names.items(): text = text.replace(old, new)
        if text != was:
            changed[f.name] = R.sha256_file(f)
            with R.atomic_path(f) as part: part.write_text(text, encoding='utf-8')
    for old, new in names.items():
        record = reference/'runs'/new/'record.json'
        R.write_json(record, R.check_record(R.read_json(record) | {'renamed': {'from': old, 'because': why}}))
    for f in reference.glob('*.provenance.json'):
        about = R.read_json(f)
        R.write_json(f, about | {'files': {n: R.sha256_file(reference/n) if sha == changed.get(n) else sha for n, sha in about['files'].items()}})


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('before', help='checkout of the commit before the change')
    p.add_argument('why', help='a sentence for the records')
    p.add_argument('--reference', default=str(ROOT/'outputs/reference'))
    a = p.parse_args(argv)
    reference = Path(a.reference).resolve()
    if differ := changed_code(Path(a.before).resolve()): raise SystemExit(f"the code that trains has changed, so train anew: {'; '.join(differ)}")
    names = new_names(reference, Path(a.before).resolve())
    rename(reference, names, a.why)
    print(f'{len(names)} runs have new names')


if __name__ == '__main__': main()
