"""The speed page is drawn from a record alone, also where no run says anything about accuracy."""
from pathlib import Path

from sparseattnnet.reproduce.runner import run_notebook

ROOT = Path(__file__).resolve().parents[1]


def test_no_runs(tmp_path):
    run_notebook(ROOT/'nbs/paper/speed.ipynb', tmp_path/'speed.ipynb', dict(profile='quick', record='outputs/reference/speed_quick.json', seeds='99', out=str(tmp_path)))
    text = (tmp_path/'tables'/'speed_quick.md').read_text(encoding='utf-8')
    assert 'Accuracy\n\nnot measured' in text
    assert 'against corrected on opd' in text and 'reached' in text
    assert not (tmp_path/'figures'/'speed_pareto_quick.png').exists()
