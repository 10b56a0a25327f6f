#!/usr/bin/env python3
"""Whether the results in outputs/reference hang together: tables follow from records, records from predictions.

    python tools/check_reference.py [--strict] [--reference FOLDER]

Checked are: files against the hashes in their provenance; that every run which a provenance names is there and was
recorded under that name; each run's split and predictions against its record, the test metrics computed anew; each
Table 1, its comparisons and its recalls written anew from the records and compared as text. A run is *stale* if
today's code would give it another name: what trains and judges has changed since. Stale runs, and tables of stale runs
that would be written differently today, are named; with `--strict` they are failures. The last line counts."""
import argparse
import sys
import tempfile
import warnings
from pathlib import Path

sys.dont_write_bytecode = True
TABLE = 'nbs/paper/table1.ipynb'
STEP = 1.5e-6  # metrics are recorded to six digits: neighbours may round apart


def digest_today(record):
    "What the run's name would end in if it were trained by today's code, on the same data, torch and kind of device."
    from sparseattnnet.learn.run import run_digest
    e = record['environment']
    return run_digest(record['config'], record['data_fingerprint'], record['split_hash'], e['device'], e['torch'])[:8]


def is_stale(record): return record['run_id'].rpartition('_')[2] != digest_today(record)


def different(a, b, tolerance, at=''):
    "Where two nested results differ, as a path; '' where they agree."
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys(): return f"{at or 'keys'}: {sorted(a.keys() ^ b.keys())}"
        return next((d for k in a if (d := different(a[k], b[k], tolerance, f'{at}.{k}'.lstrip('.')))), '')
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b): return f'{at}: {len(a)} and {len(b)} entries'
        return next((d for i, (x, y) in enumerate(zip(a, b)) if (d := different(x, y, tolerance, f'{at}[{i}]'))), '')
    same = abs(a - b) <= tolerance if isinstance(a, float) and isinstance(b, (int, float)) else a == b
    return '' if same else f'{at}: {a} and {b}'


def run_faults(folder, record):
    "What does not fit in the folder of one run."
    from sparseattnnet.data.splits import Split
    from sparseattnnet.learn import records as R
    from sparseattnnet.learn.metrics import evaluate
    faults = []
    try:
        split = Split.load(folder/'split.json')
        p = R.load_predictions(folder/'predictions.csv')
    except (FileNotFoundError, ValueError) as e: return [f'{folder.name}: {e}']
    if split.hash != record['split_hash']: faults.append(f"{folder.name}: split.json is not the record's split")
    if sorted(p.ids) != sorted(split.test): faults.append(f'{folder.name}: predictions.csv is not about the test images of split.json')
    if list(p.class_names) != record['class_names']: faults.append(f"{folder.name}: classes {', '.join(p.class_names)} in predictions.csv, {', '.join(record['class_names'])} in the record")
    elif d := different(record['test'], R._plain(evaluate(p.probs, p.labels, p.class_names)), STEP):
        faults.append(f"{folder.name}: test metrics computed from predictions.csv differ from the record: {d}")
    weights = folder/'model.safetensors'
    if weights.exists() and R.sha256_file(weights) != record['checkpoint_sha256']: faults.append(f"{folder.name}: model.safetensors is not the record's checkpoint")
    return faults


def in_table_order(records, parameters):
    "The records as the notebook had them: by model, then by seed."
    names = [m.strip() for m in parameters['models'].split(',')]
    def place(r):
        full = f"{r['model']}:{r['preset']}" if r['preset'] else r['model']
        return names.index(full if full in names else r['model']), r['seed']
    return sorted(records, key=place)


def table_faults(path, about, records):
    "Where a committed Table 1, its comparisons or its recalls differ from what the records give today."
    from sparseattnnet.judge import tables
    given, runs, stem = about['parameters'], path.parent/'runs', path.name.removesuffix('.provenance.json')
    with tempfile.TemporaryDirectory() as t:
        rows, target = in_table_order(records, given), Path(t)/stem
        if stem.startswith('comparisons_'): made = tables.write_comparisons(rows, runs, target, margin=given['margin'], parameters=given, notebook=about['notebook'])
        elif stem.startswith('recall_'): made = tables.write_recall(rows, runs, target, parameters=given, notebook=about['notebook'])
        else: made = tables.write_table(rows, target, given, about['notebook'])
        return [f'{f.name}: its runs give another text today' for f in made if f.name in about['files'] and f.read_text(encoding='utf-8') != (path.parent/f.name).read_text(encoding='utf-8')]


def check(reference):
    "`(faults, stale, number of checks)` of a folder of results."
    from sparseattnnet.learn import records as R
    reference, faults, stale, count = Path(reference), [], [], 0
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try: records = {r['run_id']: r for r in R.load_records(reference/'runs')} if (reference/'runs').is_dir() else {}
        except (ValueError, UserWarning) as e: return [str(e)], [], 1
    for name, r in records.items():
        count += 1
        faults += run_faults(reference/'runs'/name, r)
        if is_stale(r): stale.append(f"{name}: today's code would name it …_{digest_today(r)}")
    covered, old = set(), {s.split(':')[0] for s in stale}
    for path in sorted(reference.glob('*.provenance.json')):
        count += 1
        about = R.read_json(path)
        covered |= set(about['files']) | {path.name}
        faults += [f'{n}: missing, or changed since {path.name} was written' for n in R.check_provenance(path)]
        if lost := [n for n in about['runs'] if n not in records]:
            faults.append(f"{path.name} names runs that are not in runs/: {', '.join(lost)}")
        elif about['notebook'] == TABLE and any(n.endswith('.csv') for n in about['files']) and all((path.parent/n).is_file() for n in about['files']):
            try: other = table_faults(path, about, [records[n] for n in about['runs']])
            except (ValueError, KeyError) as e: other = [f'{path.name}: its runs give no table today: {type(e).__name__}: {e}']
            if old & set(about['runs']): stale += other
            else: faults += other
    faults += [f'{p.name}: no provenance says where it comes from' for p in sorted(reference.glob('*')) if p.is_file() and p.name not in covered and p.name != 'README.md']
    return faults, stale, count


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
