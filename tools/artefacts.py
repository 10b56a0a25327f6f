#!/usr/bin/env python3
"""The table of artefacts in nbs/contents.ipynb: what the paper shows, which notebook makes it, and what became of it.

    python tools/artefacts.py [--write | --check] [--root FOLDER]

The rows come from nbs/paper/manifest.toml, their status from the files committed in outputs/reference (see
nbs/reproduce/manifest.ipynb). Without an option the table is printed. The table stands between two comments in one
markdown cell of the page; where there are none, nothing is written and `--check` has nothing to compare."""
import argparse
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from page_block import PAGE, place, split, write  # noqa: E402

BEGIN, END = '<!-- artefacts: made by tools/artefacts.py -->', '<!-- /artefacts -->'


def table(root):
    "The table as Markdown, links relative to nbs/."
    from sparseattnnet.reproduce.manifest import artefact_table, load_manifest
    return artefact_table(load_manifest(root=root))


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--check', action='store_true', help='compare with the page, write nothing')
    ap.add_argument('--write', action='store_true', help='put the table into the page')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project (default: this one)')
    a = ap.parse_args(argv)
    try:
        made = table(a.root)
        if not (a.check or a.write):
            print(made)
            return 0
        nb, cell = place(a.root, BEGIN, END, needed=False)
    except (ValueError, FileNotFoundError) as e:
        print(e)
        return 1
    if cell is None:
        print(f'{PAGE} has no place for the table of artefacts: put {BEGIN} and {END} where it shall stand')
        return 0
    before, old, after = split(''.join(cell['source']), BEGIN, END)
    new = f'{BEGIN}\n\n{made}\n\n{END}'
    if a.check:
        if old != new: print(f'{PAGE}: the table of artefacts is not what the manifest and outputs/reference give, run `python tools/artefacts.py --write` and `make readme`')
        else: print(f'{made.count(chr(10)) - 1} artefacts')
        return int(old != new)
    write(a.root, nb, cell, before + new + after)
    print(f'{PAGE}: the table of artefacts is written')
    return 0


if __name__ == '__main__': sys.exit(main())
