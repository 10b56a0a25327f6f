#!/usr/bin/env python3
"""The table of artefacts in nbs/index.ipynb: what the paper shows, which notebook makes it, and what became of it.

    python tools/artefacts.py [--write | --check] [--root FOLDER]

The rows come from nbs/paper/manifest.toml, their status from the files committed in outputs/reference (see
nbs/experiment/manifest.ipynb). Without an option the table is printed. The table stands between two comments in one
markdown cell of the index; where there are none, nothing is written and `--check` has nothing to compare."""
import argparse
import json
import os
import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
INDEX = 'nbs/index.ipynb'
BEGIN, END = '<!-- artefacts: made by tools/artefacts.py -->', '<!-- /artefacts -->'


def table(root):
    "The table as Markdown, links relative to nbs/."
    from sparseattnnet.experiment.manifest import artefact_table, load_manifest
    return artefact_table(load_manifest(root=root))


def split(source):
    "What stands before, at and after the table in a cell; None where it holds none."
    m = re.fullmatch(rf'(.*?)({re.escape(BEGIN)}.*?{re.escape(END)})(.*)', source, re.S)
    return m and m.groups()


def place(root):
    "The index and the cell of the table in it, None where the index has no such cell; ValueError where several have one."
    nb = json.loads((root/INDEX).read_text(encoding='utf-8'))
    text = [(c, ''.join(c['source'])) for c in nb['cells'] if c['cell_type'] == 'markdown']
    half = [t for _, t in text if (BEGIN in t or END in t) and not split(t)]
    if half: raise ValueError(f'{INDEX}: a cell holds only one of {BEGIN} and {END}, or in the wrong order')
    cells = [c for c, t in text if split(t)]
    if len(cells) > 1: raise ValueError(f'{INDEX}: {len(cells)} markdown cells hold {BEGIN} … {END}, expected one')
    return nb, cells[0] if cells else None


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--check', action='store_true', help='compare with the index, write nothing')
    ap.add_argument('--write', action='store_true', help='put the table into the index')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    try:
        made = table(a.root)
        if not (a.check or a.write):
            print(made)
            return 0
        nb, cell = place(a.root)
    except (ValueError, FileNotFoundError) as e:
        print(e)
        return 1
    if cell is None:
        print(f'{INDEX} has no place for the table of artefacts: put {BEGIN} and {END} where it shall stand')
        return 0
    before, old, after = split(''.join(cell['source']))
    new = f'{BEGIN}\n\n{made}\n\n{END}'
    if a.check:
        if old != new: print(f'{INDEX}: the table of artefacts is not what the manifest and outputs/reference give, run `python tools/artefacts.py --write` and `make readme`')
        else: print(f'{made.count(chr(10)) - 1} artefacts')
        return int(old != new)
    cell['source'] = (before + new + after).splitlines(keepends=True)
    part = (a.root/INDEX).with_name(f'.index.{os.getpid()}')
    part.write_text(json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=False) + '\n', encoding='utf-8')
    os.replace(part, a.root/INDEX)
    print(f'{INDEX}: the table of artefacts is written')
    return 0


if __name__ == '__main__': sys.exit(main())
