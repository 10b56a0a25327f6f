#!/usr/bin/env python3
"""The published tables once more, from the predictions alone: an independent recomputation with numpy and pandas.

    python tools/check_table.py [--reference FOLDER]

Nothing of the package is imported, so an error in its metrics or tables cannot hide here. From `predictions.csv.gz` it
counts, for each run, which images were given which class, and compares accuracy, macro-F1, balanced accuracy and the
weighted scores with `runs.csv`. From the same counts it computes each row of `rivals_*.csv` and of `table1_*.csv`: means,
standard deviations, number of runs, differences. From `answers.json.gz`, what each model answered about new images, it computes
each row of `rivals_*_fresh.csv`, and of `selection_*_compared.csv`, `budget_*_fresh.csv` and `ablations_*_fresh*.csv` where
all runs have answers. It names what differs; the last line counts. Whether files were changed by hand is a matter of
`tools/check_reference.py`."""
import argparse
import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

STEP = 1.5e-6  # runs.csv keeps six digits
SCORES = {'accuracy, %': 'accuracy', 'precision, %': 'precision_weighted', 'recall, %': 'recall_weighted', 'F1, %': 'f1_weighted',
    'macro-F1, %': 'macro_f1', 'balanced accuracy, %': 'balanced_accuracy'}


def scores(labels, predicted, names):
    "The scores of one run, from a table of counts: rows are true classes, columns are answers."
    count = pd.crosstab(labels, predicted).reindex(index=names, columns=names, fill_value=0).to_numpy(float)
    right, true, said = np.diag(count), count.sum(1), count.sum(0)
    safe = lambda a, b: np.divide(a, b, out=np.zeros_like(a), where=b > 0)
    precision, recall, f1 = safe(right, said), safe(right, true), safe(2*right, true + said)
    there, share = true > 0, true/true.sum()
    return dict(accuracy=right.sum()/true.sum(), macro_f1=f1[there].mean(), balanced_accuracy=recall[there].mean(),
        precision_weighted=share @ precision, recall_weighted=share @ recall, f1_weighted=share @ f1)


def off(where, what, said, computed, digits):
    "One line if a published number is not the computed one, rounded to so many digits; it was made from six digits of a share."
    if pd.isna(said) and computed is None: return []
    if not pd.isna(said) and computed is not None and abs(said - computed) <= .5*10.**-digits + 1e-4: return []
    return [f'{where}: {what} is {said}, the predictions give {computed}']


def spread(values): return np.std(values, ddof=1) if len(values) > 1 else None


def table1_faults(name, row, runs, found):
    names, where = row.runs.split(), f'{name}, {row.model}, {row.metric}'
    if row.metric in SCORES: values = [100*found[n][SCORES[row.metric]] for n in names]
    else: values = [runs.loc[n, 'k'] if row.metric == 'k' else 100*runs.loc[n, 'share_of_pixels'] for n in names]
    ours, paper = np.mean(values), None if pd.isna(row.paper) else float(row.paper.split()[0])
    return [*off(where, 'the mean', row.ours, ours, 2), *off(where, 'the standard deviation', row.sd, spread(values), 2), *off(where, 'n', row.n, len(names), 0),
        *off(where, 'the difference', row.difference, None if paper is None else ours - paper, 2)]


def rivals_faults(name, table, runs, found, right):
    faults, lead = [], {runs.loc[n, 'seed']: n for n in table.iloc[0].runs.split()}
    for i, row in table.iterrows():
        names, where = row.runs.split(), f'{name}, {row.model}'
        of = lambda score: [100*found[n][score] for n in names]
        pairs = [(lead[s], n) for n in names if (s := runs.loc[n, 'seed']) in lead]
        if len(pairs) < 2 and len({frozenset(right[n]) for n in (*lead.values(), *names)}) == 1: pairs = [(a, n) for a in lead.values() for n in names]
        better = [np.mean([100.*right[a][image] - 100.*right[b][image] for image in right[a]]) for a, b in pairs]
        faults += [*off(where, 'accuracy', row['accuracy, %'], np.mean(of('accuracy')), 3), *off(where, 'macro-F1', row['macro-F1, %'], np.mean(of('macro_f1')), 3),
            *off(where, 'the standard deviation', row.sd, spread(of('accuracy')), 3), *off(where, 'seeds', row.seeds, len(names), 0),
            *off(where, 'parameters', row.parameters, runs.loc[names[0], 'parameters'], 0), *off(where, 'the difference', row.difference, np.mean(better) if i else None, 3)]
        if i and pd.notna(row.low) and not row.low <= row.difference <= row.high: faults.append(f'{where}: the difference lies outside its interval')
    return faults


def fresh_rivals_faults(name, table, runs, answers):
    "The same for a table of new images; all runs of a table were asked about the same ones."
    names = [n for row in table.runs for n in row.split()]
    asked = [{q for q in answers.get(n, {'kept': {}})['kept'] if q.startswith('answers, images ')} for n in names]
    common, found, right = set.intersection(*asked), {}, {}
    if len(common) != 1: return [f'{name}: its runs share {len(common)} sets of answers about new images, expected one']
    (question,) = common
    for n in names:
        told, classes = answers[n]['kept'][question], json.loads(runs.loc[n, 'class_names'])
        labels, predicted = ([classes[int(c)] for c in told[which]] for which in ('labels', 'answers'))
        found[n] = scores(pd.Series(labels), pd.Series(predicted), classes)
        right[n] = dict(enumerate(a == b for a, b in zip(labels, predicted)))
    return rivals_faults(name, table, runs, found, right)


RULES = {'random pixels': 'random', 'highest contrast': 'intensity', 'middle of the image': 'centre'}


def selection_faults(name, table, runs, answers):
    "`(faults, rows)` of a table that compares selections, as far as the answers of all its models are there."
    faults, rows, rule = [], 0, {}
    for n in table.iloc[0].runs.split():
        spec = json.loads(runs.loc[n, 'spec'])
        rule[n] = json.loads(spec.get('changes') or '{}').get('select', 'learned')
    for row in table.itertuples():
        arms = [[n for n, how in rule.items() if how == wanted] for wanted in ('learned', RULES.get(row.control))]
        if not all(arms) or not all(n in answers for arm in arms for n in arm): continue
        of = lambda n: next((v for q, v in answers[n]['kept'].items() if q.startswith(f'right at {row.pixels}, ') and len(v) == row.images), None)
        ours, theirs = ({runs.loc[n, 'seed']: of(n) for n in arm} for arm in arms)
        seeds, where = sorted(ours.keys() & theirs.keys()), f'{name}, {row.control} at {row.pixels}'
        if not all(ours[s] and theirs[s] for s in seeds):
            faults.append(f'{where}: no answers about {row.images} images')
            continue
        a, b = (100*np.mean([v[s].count('1')/len(v[s]) for s in seeds]) for v in (ours, theirs))
        faults += [*off(where, 'guided', row.guided, a, 3), *off(where, 'the other', row.other, b, 3), *off(where, 'the difference', row.difference, a - b, 3),
            *off(where, 'seeds', row.seeds, len(seeds), 0)]
        if pd.notna(row.low) and not row.low <= row.difference <= row.high: faults.append(f'{where}: the difference lies outside its interval')
        rows += 1
    return faults, rows


def arms_faults(name, table, runs, answers, question):
    "`(faults, rows)` of a table of arms on new images, as far as the answers of all its models are there."
    faults, rows, hits = [], 0, {}
    table = table[table.runs.notna()].rename(columns={'accuracy, %': 'accuracy', 'seeds': 'n'}) # a row without runs is no model
    for row in table.itertuples():
        told = {runs.loc[n, 'seed']: [v for q, v in answers.get(n, {'kept': {}})['kept'].items() if q.startswith(question)] for n in row.runs.split()}
        if all(len(v) == 1 for v in told.values()): hits[row.arm] = {s: np.array(list(v)) == '1' for s, (v,) in told.items()}
    for row in table.itertuples():
        against = row.arm if pd.isna(row.against) else row.against
        if row.arm not in hits or against not in hits: continue
        mine, its, where = hits[row.arm], hits[against], f'{name}, {row.arm}'
        seeds, means = sorted(mine.keys() & its.keys()), [100*v.mean() for v in mine.values()]
        gap = None if against == row.arm else np.mean([100*(mine[s].mean() - its[s].mean()) for s in seeds])
        faults += [*off(where, 'accuracy', row.accuracy, np.mean(means), 2), *off(where, 'the standard deviation', row.sd, spread(means), 2),
            *off(where, 'seeds', row.n, len(mine), 0), *off(where, 'the difference', row.difference, gap, 2)]
        rows += 1
    return faults, rows


def check(reference):
    "`(faults, runs, rows)` of a folder of published results."
    ref = Path(reference)
    runs = pd.read_csv(ref/'runs.csv').set_index('run_id')
    text = dict(dtype=str, keep_default_na=False)
    kept = {n: g for n, g in pd.read_csv(ref/'predictions.csv.gz', **text).groupby('run_id')}
    found, right, faults, rows = {}, {}, [], 0
    for n, r in runs.iterrows():
        if n not in kept:
            faults.append(f'{n}: no predictions')
            continue
        g = kept[n]
        found[n], right[n] = scores(g.label, g.predicted, json.loads(r['class_names'])), dict(zip(g.image, g.label == g.predicted))
        faults += [f'{n}: {s} is {r[f"test.{s}"]}, the predictions give {v:.6f}' for s, v in found[n].items() if abs(v - r[f'test.{s}']) > STEP]
    if faults: return faults, len(runs), rows
    answers = ref/'answers.json.gz'
    answers = json.loads(gzip.decompress(answers.read_bytes())) if answers.is_file() else {}
    for f in sorted(ref.glob('rivals_*.csv')) + sorted(ref.glob('table1_*.csv')):
        table = pd.read_csv(f)
        rows += len(table)
        if f.name.endswith('_fresh.csv'): faults += fresh_rivals_faults(f.name, table, runs, answers)
        elif f.name.startswith('rivals_'): faults += rivals_faults(f.name, table, runs, found, right)
        else: faults += [x for _, row in table.iterrows() for x in table1_faults(f.name, row, runs, found)]
    for f in sorted(ref.glob('selection_*_compared.csv')) if answers else ():
        found_here, n = selection_faults(f.name, pd.read_csv(f), runs, answers)
        faults, rows = faults + found_here, rows + n
    for pattern, question in (('budget_*_fresh.csv', 'right at 1/16, '), ('ablations_*_fresh*.csv', 'right at its own k, ')):
        for f in sorted(ref.glob(pattern)) if answers else ():
            found_here, n = arms_faults(f.name, pd.read_csv(f), runs, answers, question)
            faults, rows = faults + found_here, rows + n
    return faults, len(runs), rows


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--reference', type=Path, default=Path(__file__).resolve().parents[1]/'outputs/reference', help='folder of results')
    faults, runs, rows = check(ap.parse_args(argv).reference)
    for f in faults: print(f'WRONG  {f}')
    print(f'{runs} runs and {rows} rows of tables recomputed, {len(faults)} differ')
    return int(bool(faults))


if __name__ == '__main__': sys.exit(main())
