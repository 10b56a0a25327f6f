"The front page is short, and what it shows is what its cells give from the committed records."
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]

PAGES = ('index', 'contents')


def texts(nb):
    "What each cell shows: its outputs as text."
    return {c.id: [o.get('data', {}).get('text/markdown') or o.get('data', {}).get('text/plain') or o.get('text', '')
        for o in c.get('outputs', ())] for c in nb.cells if c.cell_type == 'code'}


@pytest.mark.parametrize('page', PAGES)
def test_what_is_stored_is_what_the_records_give(page):
    stored = nbformat.read(ROOT/f'nbs/{page}.ipynb', 4)
    made = NotebookClient(nbformat.reads(nbformat.writes(stored), 4), resources={'metadata': {'path': str(ROOT/'nbs')}},
        kernel_name='python3').execute()
    old, new = texts(stored), texts(made)
    stale = [i for i in new if old[i] != new[i]]
    assert not stale, f"nbs/{page}.ipynb: cell {stale[0]} shows\n{''.join(old[stale[0]])}\nbut the records give\n" \
        f"{''.join(new[stale[0]])}\nrun the page, save it, then `make readme`"


def test_the_front_page_is_short():
    n = len((ROOT/'README.md').read_text(encoding='utf-8'))
    assert n <= 7000, f'README.md has {n} characters: at most 7,000, so that a stranger reads it'
