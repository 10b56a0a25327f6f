"""Hostile files end in one clear error of ours: bombs, pickles, paths and links that lead out, names that are HTML, and what
the fuzzer (`tools/fuzz.py`) found."""
import csv
import io
import json
import os
import pickle
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparseattnnet.data.datasets import read_options
from sparseattnnet.data.images import BadImages, open_image, read_images, read_npz
from sparseattnnet.data.splits import Split
from sparseattnnet.learn import records as R
from sparseattnnet.learn.run import RunSpec
from sparseattnnet.use import trained as T
from sparseattnnet.use.verdicts import write_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tools'))
import fuzz  # noqa: E402


@pytest.fixture(scope='module')
def run(tmp_path_factory): return fuzz.some_run(tmp_path_factory.mktemp('run'))


@pytest.fixture
def cells(tmp_path):
    for c in 'AB':
        (tmp_path/'cells'/c).mkdir(parents=True)
        for i in range(4): Image.fromarray(fuzz.pixels(2*i + (c == 'B'))).save(tmp_path/'cells'/c/f'{i}.png')
    Image.fromarray(fuzz.pixels(9)).save(tmp_path/'secret.png')
    return tmp_path/'cells'


def card(run, to, **changes):
    for f in ('model.safetensors', 'model.json'): (to/f).write_bytes((run/f).read_bytes())
    (to/'model.json').write_text(json.dumps(json.loads((to/'model.json').read_text()) | changes))
    return to


# --- bombs and pickles --------------------------------------------------------------------------------------------------

def png_head(side, depth=8):
    chunk = lambda k, b: len(b).to_bytes(4, 'big') + k + b + zlib.crc32(k + b).to_bytes(4, 'big')
    head = side.to_bytes(4, 'big')*2 + bytes([depth, 0, 0, 0, 0])
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(10_000))) + chunk(b'IEND', b'')


def tiff_head(side):
    import tifffile
    tifffile.imwrite(out := io.BytesIO(), fuzz.pixels(0), compression='zlib')
    raw = bytearray(out.getvalue())
    for tag in (256, 257):
        at = raw.find(tag.to_bytes(2, 'little'), 8)
        raw[at + 2:at + 12] = (4).to_bytes(2, 'little') + (1).to_bytes(4, 'little') + side.to_bytes(4, 'little')
    return bytes(raw)


def npy_head(shape, dtype='<f4'):
    np.lib.format.write_array_header_1_0(out := io.BytesIO(), dict(descr=dtype, fortran_order=False, shape=shape))
    return out.getvalue() + bytes(64)


@pytest.mark.parametrize('name, raw', [('a.png', png_head(9_000)), ('b.png', png_head(60_000, 16)), ('c.tif', tiff_head(100_000)),
    ('d.npy', npy_head((10**6, 10**6))), ('e.npy', npy_head((9_000, 9_000)))])
def test_a_small_file_that_claims_a_huge_image_is_refused_unopened(tmp_path, name, raw):
    (tmp_path/name).write_bytes(raw)
    before = fuzz.rest()
    with pytest.raises(ValueError, match='too large: .* MB when decoded; expected at most 64 MB'): open_image(tmp_path/name)
    assert fuzz.peak() - before < 50


def test_an_archive_that_grows_without_measure_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path/'x.npz', 'w', zipfile.ZIP_DEFLATED) as z:
        with z.open('images.npy', 'w') as f:
            f.write(npy_head((6000, 128, 128))[:-64])
            for _ in range(6000): f.write(bytes(4*128*128))
        np.save(out := io.BytesIO(), np.arange(6000) % 2)
        z.writestr('labels.npy', out.getvalue())
    before = fuzz.rest()
    with pytest.raises(ValueError, match='it may be made to fill your memory'): read_npz(tmp_path/'x.npz')
    assert fuzz.peak() - before < 100


class Trap:
    def __reduce__(self): return os.mkdir, (str(Path(os.environ['TRAP'])),)


def test_pickles_are_never_opened(tmp_path, run, monkeypatch):
    monkeypatch.setenv('TRAP', str(tmp_path/'sprung'))
    bad = np.empty(2, object)
    bad[:] = [Trap(), Trap()]
    np.save(tmp_path/'a.npy', bad, allow_pickle=True)
    (tmp_path/'b.npy').write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path/'c.npz', images=bad, labels=np.arange(2))
    torch.save(dict(a=Trap()), tmp_path/'d.pt')
    for f, words in (('a.npy', 'a pickle'), ('b.npy', 'if it is a pickle, it is not opened')):
        with pytest.raises(ValueError, match=words): open_image(tmp_path/f)
    with pytest.raises(ValueError, match='a pickle'): read_npz(tmp_path/'c.npz')
    with pytest.raises(ValueError, match="hold a pickle, which may run a program"): T.load(tmp_path/'d.pt')
    assert not (tmp_path/'sprung').exists()


# --- paths and links ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('path', ['../secret.png', 'A/../../secret.png', '{top}/secret.png', '../../../../../../../etc/hostname'])
def test_a_table_may_not_lead_out_of_its_folder(tmp_path, cells, run, path, monkeypatch):
    rows = [('path', 'label'), *((f'{c}/{i}.png', c) for c in 'AB' for i in range(4)), (path.format(top=tmp_path), 'A')]
    with open(cells/'labels.csv', 'w', newline='') as f: csv.writer(f).writerows(rows)
    with pytest.raises(BadImages, match='outside: it leads out of the folder'): read_images(cells)
    assert len(read_images(cells, on_bad='skip')) == 8
    write_table(T.load(run), cells/'labels.csv', tmp_path/'out.csv')
    last = [*csv.DictReader(open(tmp_path/'out.csv'))][-1]
    assert last['ml_class'] == '' and last['problem'].startswith('outside: ')
    monkeypatch.setenv('SPARSEATTNNET_OUTSIDE', os.pathsep.join(['/nowhere', str(tmp_path)]))
    if 'secret' in path: assert len(read_images(cells)) == 9


def test_links_may_not_lead_out_of_the_folder(tmp_path, cells, run, monkeypatch):
    (tmp_path/'elsewhere').mkdir()
    Image.fromarray(fuzz.pixels(7)).save(tmp_path/'elsewhere'/'x.png')
    os.symlink(tmp_path/'secret.png', cells/'A'/'link.png')
    os.symlink(tmp_path/'elsewhere', cells/'C')
    os.symlink('/', cells/'B'/'root')  # leads back: passed by, and said
    os.symlink('/etc', cells/'B'/'etc')
    with pytest.raises(BadImages) as e: read_images(cells)
    assert [(p.path, p.kind) for p in e.value.problems if p.kind == 'outside'] == [(n, 'outside') for n in ('A/link.png', 'B/etc', 'C')]
    write_table(T.load(run), cells, tmp_path/'out.csv')
    told = {r['id']: r['problem'] for r in csv.DictReader(open(tmp_path/'out.csv'))}
    assert {n for n, p in told.items() if p.startswith('outside: ')} == {'A/link.png', 'B/etc', 'C'} and len(told) == 11
    (cells/'B'/'etc').unlink()
    monkeypatch.setenv('SPARSEATTNNET_OUTSIDE', str(tmp_path))
    assert len(T.image_files(T.load(run), cells)) == 10


# --- names that are HTML ------------------------------------------------------------------------------------------------

EVIL = '<img src=x onerror=alert(1)>'


def test_reports_show_evil_names_as_text(tmp_path, capsys):
    from sparseattnnet.use.command import main
    for c in (f'{EVIL}A', 'B&"quote"'):
        (tmp_path/'cells'/c).mkdir(parents=True)
        for i in range(12): Image.fromarray(fuzz.pixels(i)).save(tmp_path/'cells'/c/f'{i}{EVIL}.png')
    for k, n in ((EVIL, 'cells'),):
        with open(tmp_path/n/'labels.csv', 'w', newline='') as f:
            csv.writer(f).writerows([('path', 'label', f'donor{k}'), *((p.relative_to(tmp_path/n).as_posix(), p.parent.name, p.name)
                for p in sorted((tmp_path/n).rglob('*.png')))])
    assert main(['inspect', str(tmp_path/'cells'), '-o', str(tmp_path/'look.html')]) == 0
    page = (tmp_path/'look.html').read_text()
    assert '<img src=x' not in page and '&lt;img src=x onerror=alert(1)&gt;' in page
    assert "default-src 'none'" in page and '<script' not in page


# --- what the fuzzer found ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('changes, field', [(dict(value_range=.5), 'value_range'), (dict(value_range=[5, 5]), 'value_range'),
    (dict(class_names='AB'), 'class_names'), (dict(class_names=['a', 'a']), 'class_names'), (dict(k='x'), 'k'), (dict(channels=None), 'channels'),
    (dict(size=[10**7, 24]), 'size'), (dict(config=[]), 'config'), (dict(channel_names=['grey', 'grey']), 'channel_names')])
def test_a_card_with_an_odd_field_is_refused_by_its_name(run, tmp_path, changes, field):
    with pytest.raises(ValueError, match=f'model.json: {field} = '): T.load(card(run, tmp_path, **changes))


@pytest.mark.parametrize('text', ['[1]', '7', '"x"', 'null', '['*100_000, '{"k": ' + '9'*5000 + '}'])
def test_a_card_that_is_no_object_is_refused(run, tmp_path, text):
    card(run, tmp_path)
    (tmp_path/'model.json').write_text(text)
    with pytest.raises(ValueError, match='model.json'): T.load(tmp_path)


@pytest.mark.parametrize('field, value', [('dim', 10**6), ('hidden', 10**7), ('coarse_width', 10**6)])
def test_a_configuration_that_asks_for_a_huge_network_builds_none(run, tmp_path, field, value):
    config = json.loads((run/'model.json').read_text())['config'] | {field: value}
    before = fuzz.rest()
    with pytest.raises(ValueError, match='weights of another network than model.json says'): T.load(card(run, tmp_path, config=config))
    assert fuzz.peak() - before < 200


@pytest.mark.parametrize('cut', [1, 9, 200])
def test_damaged_weights_under_a_matching_hash(run, tmp_path, cut):
    raw = (run/'model.safetensors').read_bytes()[cut:]
    card(run, tmp_path)
    (tmp_path/'model.safetensors').write_bytes(raw)
    card_now = json.loads((tmp_path/'model.json').read_text()) | dict(sha256=R.sha256_file(tmp_path/'model.safetensors'))
    (tmp_path/'model.json').write_text(json.dumps(card_now))
    with pytest.raises(ValueError, match='no whole file of weights'): T.load(tmp_path)


@pytest.mark.parametrize('changes', [dict(train=[1, 'a']), dict(train=.5), dict(val=[['a']]), dict(seed='x'), dict(meta=[]), dict(protocol=None)])
def test_a_split_with_an_odd_part(run, tmp_path, changes):
    (tmp_path/'s.json').write_text(json.dumps(json.loads((run/'split.json').read_text()) | changes))
    with pytest.raises(ValueError, match=f's.json: {[*changes][0]} = '): Split.load(tmp_path/'s.json')


@pytest.mark.parametrize('raw', [b'[1]', b'\xff\xfe{}', b'['*50_000, b'{"seed": ' + b'9'*5000 + b'}'])
def test_a_split_that_is_no_split(tmp_path, raw):
    (tmp_path/'s.json').write_bytes(raw)
    with pytest.raises(ValueError, match='s.json'): Split.load(tmp_path/'s.json')


@pytest.mark.parametrize('raw', [b'\xff\xfei\0d\0', b'id,label,predicted,correct,p_a\n' + b'x'*200_000 + b',a,a,1,1\n'])
def test_predictions_in_another_coding_or_with_a_huge_cell(tmp_path, raw):
    (tmp_path/'p.csv').write_bytes(raw)
    with pytest.raises(ValueError, match='p.csv'): R.load_predictions(tmp_path/'p.csv')


def test_a_record_whose_accuracy_is_no_number(run):
    record = json.loads((run/'record.json').read_text())
    with pytest.raises(ValueError, match='test has no accuracy'): R.check_record(record | dict(test=record['test'] | dict(accuracy=[1])))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_a_png_whose_checksum_is_wrong(tmp_path, dtype):
    "Pillow decodes it without a word, with whatever pixels come out."
    Image.fromarray((1000*np.arange(900).reshape(30, 30)).astype(dtype)).save(tmp_path/'a.png')
    raw = bytearray((tmp_path/'a.png').read_bytes())
    assert open_image(tmp_path/'a.png').shape == (1, 30, 30)
    raw[raw.index(b'IEND') - 8] ^= 1 # the checksum of the chunk before
    (tmp_path/'a.png').write_bytes(raw)
    with pytest.raises(ValueError, match='unreadable: '): open_image(tmp_path/'a.png')


@pytest.mark.parametrize('text', ['['*50_000, '{"sep": ' + '9'*5000 + '}'])
def test_options_that_json_cannot_hold(text):
    with pytest.raises(ValueError, match='is no JSON'): read_options(text)
    with pytest.raises(ValueError, match='changes=.*expected names and values'): RunSpec(changes=text)


def test_an_onnx_file_that_is_none(tmp_path):
    from sparseattnnet.deploy.export import onnx_session
    (tmp_path/'x.onnx').write_bytes(b'\x08\x07garbage')
    with pytest.raises(ValueError, match='ONNX Runtime cannot read it'): onnx_session(tmp_path/'x.onnx')
    with pytest.raises(FileNotFoundError, match='no such file'): onnx_session(tmp_path/'y.onnx')


# --- the fuzzer itself --------------------------------------------------------------------------------------------------

def test_the_fuzzer_repeats_a_case_and_tells_our_errors_from_others(tmp_path, monkeypatch):
    bench = fuzz.Bench(tmp_path)
    first, again = (fuzz.one(bench, 'npy', 0, 3) for _ in range(2))
    assert {k: first[k] for k in ('outcome', 'number')} == {k: again[k] for k in ('outcome', 'number')}
    monkeypatch.setattr(bench, 'split', lambda rng: json.loads('{'))
    assert fuzz.one(bench, 'split', 0, 1)['outcome'] == 'fault'
    monkeypatch.setattr(bench, 'split', lambda rng: np.ones(80 << 20).sum())
    assert 'slow or large' in fuzz.one(bench, 'split', 0, 1)['error']


@pytest.mark.parametrize('kind', fuzz.FORMATS)
def test_a_few_damaged_files_of_each_format(tmp_path_factory, kind):
    place = tmp_path_factory.mktemp(kind)
    bench = fuzz.Bench(place)
    found = [fuzz.one(bench, kind, 7, n) for n in range(8)]
    assert not [f for f in found if f['outcome'] == 'fault' and 'slow or large' not in f['error']]
