#!/usr/bin/env python3
"""Whether the results in outputs/reference hang together: tables follow from runs, runs from their predictions.

    python tools/check_reference.py [--strict] [--reference FOLDER]

Checked are: every file against the hash in the lock; that every run which an artefact names is in runs.csv; that each
run's predictions give its accuracy and confusion matrix, and are about the test images of its split; each checkpoint
against its run; what models answered on new images against their checkpoint; each Table 1, its comparisons and its
recalls written anew from the runs and compared as text. A run is *stale* where it was trained by another code version
than today's. Stale runs, and tables of stale runs that would be written differently today, are named; with `--strict`
they are failures. The last line counts."""
import argparse
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
TABLE = 'nbs/paper/table1.ipynb'
OWN = {'runs.csv', 'epochs.csv.gz', 'predictions.csv.gz', 'splits.json.gz', 'answers.json.gz', 'provenance.json', 'README.md'}
STEP = 1.5e-6  # metrics are recorded to six digits: neighbours may round apart


def run_faults(record, store):
    "What does not fit in one run of a store."
    import numpy as np
    from sparseattnnet.learn.store import run_predictions, run_split
    name, faults = record['run_id'], []
    try: split, p = run_split(record, store), run_predictions(record, store)
    except (FileNotFoundError, ValueError) as e: return [f'{name}: {e}']
    if split.hash != record['split_hash']: faults.append(f"{name}: the split that is kept is not the record's split")
    if sorted(p.ids) != sorted(split.test): faults.append(f'{name}: its predictions are not about the test images of its split')
    K = len(record['class_names'])
    confusion = np.bincount(K*p.labels + p.predicted, minlength=K*K).reshape(K, K)
    if confusion.tolist() != record['test']['confusion']: faults.append(f'{name}: its predictions give another confusion matrix than the record')
    if abs(np.trace(confusion)/len(p.ids) - record['test']['accuracy']) > STEP: faults.append(f'{name}: its predictions give another accuracy than the record')
    if not (((1/K - 1e-4 <= p.confidence) & (p.confidence <= 1)).all()): faults.append(f'{name}: a confidence is no probability of a most probable class')
    return faults


def in_table_order(records, parameters):
    "The records as the notebook had them: by model, then by seed."
    names = [m.partition('@')[0].strip() for m in parameters['models'].split(',')]
    def place(r):
        full = f"{r['model']}:{r['preset']}" if r['preset'] else r['model']
        return names.index(full if full in names else r['model']), r['seed']
    return sorted(records, key=place)


def table_faults(stem, about, records, store):
    "Where a committed Table 1, its comparisons or its recalls differ from what the runs give today."
    from sparseattnnet.judge import tables
    given = about['parameters']
    with tempfile.TemporaryDirectory() as t:
        rows, target, groups = in_table_order(records, given), Path(t)/stem, about.get('groups')
        if stem.startswith('comparisons_'): made = tables.write_comparisons(rows, store, target, groups, margin=given['margin'], parameters=given, notebook=about['notebook'])
        elif stem.startswith('recall_'): made = tables.write_recall(rows, store, target, groups, parameters=given, notebook=about['notebook'])
        else: made = tables.write_table(rows, target, given, about['notebook'])
        return [f'{f.name}: its runs give another text today' for f in made if f.name in about['files'] and f.read_text(encoding='utf-8') != (store/f.name).read_text(encoding='utf-8')]


def checkpoint_faults(store, runs):
    from sparseattnnet.learn import records as R
    for folder in sorted((store/'checkpoints').glob('*')):
        if folder.name not in runs: yield f'checkpoints/{folder.name}: no such run is in runs.csv'
        elif R.sha256_file(folder/'model.safetensors') != runs[folder.name]['checkpoint_sha256']: yield f"checkpoints/{folder.name}: model.safetensors is not the run's checkpoint"
        else:
            try: R.load_checkpoint(folder)
            except (FileNotFoundError, ValueError) as e: yield f'checkpoints/{folder.name}: {e}'


def check(reference):
    "`(faults, stale, number of checks)` of a store."
    from sparseattnnet.learn import records as R
    from sparseattnnet.learn import store as ST
    from sparseattnnet.learn.run import CODE_VERSION
    store = Path(reference)
    try: runs, lock = ST.stored_runs(store), R.read_json(store/'provenance.json') if (store/'provenance.json').is_file() else {}
    except (FileNotFoundError, ValueError) as e: return [str(e)], [], 1
    faults = [f for r in runs.values() for f in run_faults(r, store)] + list(checkpoint_faults(store, runs))
    faults += [f'{n}: answers.json.gz holds answers of another checkpoint, or of no run of runs.csv' for n, a in ST.stored_answers(store).items()
        if runs.get(n, {}).get('checkpoint_sha256') != a['checkpoint']]
    stale = [f"{n}: trained by code version {r['code_version']}, today's is {CODE_VERSION}" for n, r in runs.items() if r['code_version'] != CODE_VERSION]
    covered = set(OWN)
    for stem, about in lock.items():
        covered |= set(about['files'])
        changed = ST.changed_files(store, stem)
        faults += [f'{n}: missing, or changed since it was locked' for n in changed]
        if lost := [n for n in about['runs'] if n not in runs]: faults.append(f"{stem} names runs that are not in runs.csv: {', '.join(lost)}")
        elif about['notebook'] == TABLE and any(n.endswith('.csv') for n in about['files']) and all((store/n).is_file() for n in about['files']):
            mine = [runs[n] | {'folder': str(store)} for n in about['runs']]
            try: other = table_faults(stem, about, mine, store)
            except (ValueError, KeyError, FileNotFoundError) as e: other = [f'{stem}: its runs give no table today: {type(e).__name__}: {e}']
            if any(r['code_version'] != CODE_VERSION for r in mine): stale += other
            else: faults += other
    faults += [f'{p.name}: no provenance says where it comes from' for p in sorted(store.glob('*')) if p.is_file() and p.name not in covered]
    return faults, stale, len(runs) + len(lock)


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--strict', action='store_true', help='stale results are failures')
    ap.add_argument('--reference', type=Path, default=Path(__file__).resolve().parents[1]/'outputs/reference', help='folder of results')
    a = ap.parse_args(argv)
    faults, stale, count = check(a.reference)
    for f in faults: print(f'WRONG  {f}')
    for s in stale: print(f'STALE  {s}')
    print(f'{count} runs and artefacts, {len(faults)} faults, {len(stale)} stale')
    return int(bool(faults) or a.strict and bool(stale))


if __name__ == '__main__': sys.exit(main())
