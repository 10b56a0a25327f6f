"""Measurements of a cytometer: rows per event, scores in a copy, the original untouched."""
import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparseattnnet.data.rtdc import score_names
from sparseattnnet.use import trained as T

sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tools'))
import fuzz  # noqa: E402


@pytest.fixture(scope='module')
def run(tmp_path_factory): return fuzz.some_run(tmp_path_factory.mktemp('run'))


@pytest.fixture
def file(tmp_path):
    h5py = pytest.importorskip('h5py')
    x = np.stack([fuzz.pixels(i, side=30) for i in range(70)])
    x[5] = 7
    with h5py.File(tmp_path/'m.rtdc', 'w') as f:
        f.create_dataset('events/image', data=x, chunks=(10, 30, 30), compression='gzip')
        f['events/deform'], f['events/ml_score_abc'] = np.arange(70.), np.ones(70)
    return tmp_path/'m.rtdc'


def test_score_names_have_three_small_letters_or_digits_and_differ():
    names = score_names(['Lymphocyte', 'lymphoblast', 'γδ-T', '', 'B', *(f'cell {i}' for i in range(200))])
    assert len(set(names)) == 205 and all(len(n) == 3 and n.isascii() and n.isalnum() and n == n.lower() for n in names)


def test_a_table_has_a_row_per_event_equal_to_the_array(file, run, tmp_path, capsys):
    from sparseattnnet.use.command import main
    assert main(['predict', str(run), str(file), '-o', str(tmp_path/'p.csv')]) == 0
    rows = [*csv.DictReader(open(tmp_path/'p.csv'))]
    assert len(rows) == 70 and rows[12]['id'] == 'm.rtdc, event 12' and rows[5]['problem'].startswith('empty')
    model = T.load(run)
    x = T.open_raw(model, T.Event(file, 12))
    assert float(rows[12]['ml_score_A']) == pytest.approx(T.predict_proba(model, x[None])[0, 0], abs=1e-5)


def test_a_copy_holds_the_scores_and_the_original_stays(file, run, tmp_path):
    import h5py

    from sparseattnnet.use.command import main
    before = file.read_bytes()
    for out in ('judged.rtdc', 'p.csv'): assert main(['predict', str(run), str(file), '-o', str(tmp_path/out)]) == 0
    assert file.read_bytes() == before
    want = np.array([[float(r[f'ml_score_{c}'] or 'nan') for c in 'AB'] for r in csv.DictReader(open(tmp_path/'p.csv'))])
    with h5py.File(tmp_path/'judged.rtdc') as f:
        e = {k: f['events'][k][:] for k in f['events']}
    assert set(e) == {'image', 'deform', 'ml_class', 'ml_score_a00', 'ml_score_b00'}
    np.testing.assert_allclose(np.stack([e['ml_score_a00'], e['ml_score_b00']], 1), want)
    assert e['ml_class'][5] == -1 and np.isnan(e['ml_score_a00'][5])
    assert (np.delete(e['ml_class'], 5) == np.delete(want, 5, 0).argmax(1)).all()


def test_what_is_no_measurement_is_refused(file, run, tmp_path, capsys):
    from sparseattnnet.use.command import main
    (tmp_path/'bad.rtdc').write_bytes(file.read_bytes()[:900])
    Image.fromarray(fuzz.pixels(1)).save(tmp_path/'x.png')
    for source, out, words in (('bad.rtdc', 'o.csv', 'no .rtdc file'), ('m.rtdc', 'm.rtdc', 'is the measurement itself'), ('none.rtdc', 'o.csv', 'no such file'),
            ('m.rtdc', 'o.h5', 'expected .csv, .parquet or'), ('x.png', 'o.rtdc', 'a copy of a measurement')):
        assert main(['predict', str(run), str(tmp_path/source), '-o', str(tmp_path/out)]) == 2
        assert words in capsys.readouterr().err
