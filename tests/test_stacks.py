"""Stacks: many images in one .npy or .npz, read as the model's channels say, in little memory, refused before anything is written."""
import csv
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sparseattnnet.learn.records import save_checkpoint
from sparseattnnet.method.model import SparseAttnNet, config_to_dict, preset
from sparseattnnet.use import trained as T
from sparseattnnet.use import verdicts as V
from sparseattnnet.use.command import main

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import fuzz  # noqa: E402

HOME = os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}


def made(folder, channels, value_range=(0., 255.)):
    net = SparseAttnNet(preset('edge', channels=channels, classes=2, rgb=channels == 3)).eval()
    save_checkpoint(net, folder, dict(config=config_to_dict(net.config), class_names=['A', 'B'], value_range=list(value_range), k=16, channels=channels,
        size=[16, 16]))
    return T.load(folder, 'cpu')


@pytest.fixture(scope='module')
def grey(tmp_path_factory): return made(tmp_path_factory.mktemp('grey'), 1)


@pytest.fixture(scope='module')
def colour(tmp_path_factory): return made(tmp_path_factory.mktemp('colour'), 3)


def noise(*shape): return np.random.default_rng(0).integers(0, 255, shape, np.uint8)


def rows_of(model, source, out, **asked):
    V.write_table(model, source, out, V.Asked(engine='torch', **asked))
    return list(csv.DictReader(open(out, newline='', encoding='utf-8')))


def without_id(rows): return [{k: v for k, v in r.items() if k != 'id'} for r in rows]


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('kind', ['eight bits', 'floats', 'another size'])
def test_a_row_says_what_a_file_of_its_own_would_say(channels, kind, grey, colour, tmp_path):
    model, side = grey if channels == 1 else colour, 20 if kind == 'another size' else 16
    x = noise(150, channels, side, side)
    if kind == 'floats':
        x = x/255
        x[3, 0, 0, 0], x[4, 0, 5, 5], x[5, 0, 1, 1], x[6, 0, 1, 1] = np.nan, np.inf, -np.inf, 7
    x[70] = np.arange(channels)[:, None, None]/255 if kind == 'floats' else 10*np.arange(1, channels + 1)[:, None, None]
    x[71, :, 1:], x[72, :, 0] = x[71, :, :1], 0  # rows that are all alike, and a first row that is constant
    (tmp_path/'files').mkdir()
    for i, a in enumerate(x): np.save(tmp_path/'files'/f'{i:03d}.npy', a)
    np.save(tmp_path/'s.npy', x)
    want, got = rows_of(model, tmp_path/'files', tmp_path/'f.csv'), rows_of(model, tmp_path/'s.npy', tmp_path/'s.csv')
    assert without_id(got) == without_id(want)
    assert [r['id'] for r in got] == [f's.npy, image {i}' for i in range(150)]
    assert [i for i, r in enumerate(got) if r['problem']] == [3, 4, 5, 6, 70][0 if kind == 'floats' else 4:]


def test_every_layout_gives_the_same_verdicts(grey, colour, tmp_path):
    def said(model, name, save, x):
        save(tmp_path/name, x)
        return without_id(rows_of(model, tmp_path/name, tmp_path/'o.csv'))

    x, c = noise(70, 16, 16), noise(70, 3, 16, 16)
    want, last = said(grey, 'a.npy', np.save, x), np.moveaxis(c, 1, 3)
    for form in (x[:, None], x[..., None], np.asfortranarray(x), np.asfortranarray(x[:, None])): assert said(grey, 'b.npy', np.save, form) == want
    for save in (np.savez, np.savez_compressed):
        for form in (x, x[:, None], x[..., None]): assert said(grey, 'c.npz', lambda f, a, s=save: s(f, crops=a, labels=np.arange(70)), form) == want
        assert said(grey, 'd.npz', lambda f, a, s=save: s(f, images=a, masks=a//2), x) == want
    colours = said(colour, 'e.npy', np.save, c)
    assert said(colour, 'f.npy', np.save, last) == said(colour, 'g.npy', np.save, np.asfortranarray(last)) == colours
    assert said(grey, 'h.npy', np.save, last) == said(grey, 'i.npy', np.save, c) != want  # colours become grey, as in files
    deep = made(tmp_path/'deep', 1, (300., 5300.))
    y = x.astype(np.uint16)*20
    assert said(deep, 'j.npy', np.save, y.astype('>u2')) == said(deep, 'k.npy', np.save, y)


@pytest.mark.parametrize('channels, shape, axis', [(1, (16, 16), None), (1, (500, 16, 16), 0), (1, (1, 16, 16), None), (1, (16, 16, 1), None), (1, (16, 16, 3), None),
    (1, (2, 16, 16), 0), (1, (4, 16, 16), 0), (1, (500, 1, 16, 16), 1), (1, (500, 16, 16, 1), 3), (1, (3, 1, 16, 16), 1), (1, (9, 3, 16, 16), 1), (1, (9, 16, 16, 3), 3),
    (3, (16, 16, 3), None), (3, (3, 16, 16), None), (3, (500, 3, 16, 16), 1), (3, (3, 16, 16, 3), 3), (3, (3, 3, 16, 16), 1), (4, (16, 16, 4), None),
    (4, (4, 16, 16, 4), 3), (16, (9, 16, 20, 20), 1), (16, (9, 20, 20, 16), 3)])
def test_the_channels_of_the_model_decide_what_an_array_is(channels, shape, axis):
    assert T.stack_axis(type('M', (), dict(channels=channels, channel_names=())), shape) == axis


@pytest.mark.parametrize('channels, shape, said', [(1, (3, 16, 16), '3 grey images or one image of 3 channels'), (3, (500, 16, 16), '500 grey images as it seems'),
    (1, (16, 16, 4), 'fits in no way'), (3, (500, 16, 16, 4), 'fits in no way'), (3, (500, 1, 16, 16), 'fits in no way'), (1, (0, 16, 16), 'without images'),
    (1, (500, 7, 16), 'at least 8 × 8'), (1, (2, 2, 2, 16, 16), 'fits in no way'), (16, (9, 16, 20, 16), 'axis 1 or axis 3'), (4, (500, 16, 16), 'was trained on 4 channels')])
def test_an_array_with_no_reading_or_with_two_is_refused_with_its_shape(channels, shape, said):
    with pytest.raises(ValueError, match=said) as e: T.stack_axis(type('M', (), dict(channels=channels, channel_names=())), shape, 's.npy')
    assert str(e.value).startswith(f's.npy: an array of the shape {shape}, ') and f'(N, {channels}, H, W)' in str(e.value)


def test_an_npz_is_a_stack_and_an_npy_of_one_image_stays_one(grey, tmp_path):
    np.savez(tmp_path/'three.npz', images=noise(3, 16, 16))
    np.save(tmp_path/'one.npy', noise(16, 16, 3))
    assert [r['id'] for r in rows_of(grey, tmp_path/'three.npz', tmp_path/'o.csv')] == [f'three.npz, image {i}' for i in range(3)]
    assert [r['id'] for r in rows_of(grey, tmp_path/'one.npy', tmp_path/'o.csv')] == ['one.npy']


def flipped(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def bad_file(kind, place):
    end = '.npz' if kind.startswith('npz') else '.npy'
    path, x = place/f'bad{end}', noise(90, 16, 16)
    if kind == 'whole numbers': np.save(path, x.astype(np.int64))
    elif kind == 'sixteen bits': np.save(path, x.astype(np.uint16))
    elif kind == 'complex': np.save(path, x.astype(complex))
    elif kind == 'cut': path.write_bytes((np.save(path, x), path.read_bytes()[:-1])[1])
    elif kind == 'huge images': path.write_bytes(npy_head((2, 9000, 9000)) + bytes(64))
    elif kind == 'huge number': path.write_bytes(npy_head((10**12, 16, 16)) + bytes(64))
    elif kind == 'npz cut': path.write_bytes((np.savez(path, images=x), path.read_bytes()[:-200])[1])
    elif kind == 'npz checksum': flipped((np.savez(path, images=x), path)[1], 9000)
    elif kind == 'npz deflate': flipped((np.savez_compressed(path, images=x), path)[1], 9000)
    elif kind == 'npz two': np.savez(path, a=x, b=x)
    elif kind == 'npz none': np.savez(path, labels=np.arange(90))
    elif kind == 'npz columns': np.savez(path, images=np.asfortranarray(x))
    elif kind == 'npz objects': np.savez(path, images=np.array([[[Trap()]]], object))
    elif kind == 'npz short':
        with zipfile.ZipFile(path, 'w') as z: z.writestr('images.npy', npy_head((91, 16, 16)) + x.tobytes())
    elif kind == 'npz bomb':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z, z.open('images.npy', 'w') as f:
            f.write(npy_head((80_000, 32, 32)))
            for _ in range(80): f.write(bytes(1000*32*32))
    return path


def npy_head(shape):
    import io
    np.lib.format.write_array_header_1_0(out := io.BytesIO(), dict(descr='|u1', fortran_order=False, shape=shape))
    return out.getvalue()


class Trap:
    def __reduce__(self): return os.mkdir, (os.environ['TRAP'],)


@pytest.mark.parametrize('kind, said', [('whole numbers', 'int64 values; expected uint8, uint16 or float'), ('sixteen bits', 'expected 8-bit images'), ('complex', 'complex128 values'),
    ('cut', 'truncated: .* bytes, expected'), ('huge images', 'too large: 9000 × 9000'), ('huge number', 'truncated'), ('npz cut', 'truncated: not a whole .npz'),
    ('npz checksum', 'Bad CRC-32'), ('npz deflate', 'truncated'), ('npz two', r'a \(90, 16, 16\), b \(90, 16, 16\): expected one array'), ('npz none', r'labels \(90,\): expected one array'),
    ('npz columns', 'Fortran order'), ('npz objects', 'a pickle'), ('npz short', 'truncated: images of'), ('npz bomb', 'it may be made to fill your memory')])
def test_a_stack_that_cannot_be_used_is_one_error_and_nothing_is_written(kind, said, grey, tmp_path, monkeypatch, capsys):
    import re
    monkeypatch.setenv('TRAP', str(tmp_path/'sprung'))
    path, before = bad_file(kind, tmp_path), fuzz.rest()
    assert main(['predict', str(grey.folder), str(path), '-o', str(tmp_path/'o.csv'), '--json']) == 2
    error = json.loads(capsys.readouterr().out)['error']
    assert re.search(said, error) and error.startswith(path.name), error
    assert fuzz.peak() - before < 60
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


ODD_HEADS = {'unclosed': "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 16, 16)", 'deep': "{'descr': '|u1', 'fortran_order': False, 'shape': " + '-'*9000 + '1}',
    'many axes': "{'descr': '|u1', 'fortran_order': False, 'shape': (" + '1, '*3000 + '), }'}


@pytest.mark.parametrize('kind, said', [('unclosed', 'header of the NumPy file does not hold'), ('deep', 'header of the NumPy file does not hold'), ('many axes', 'an array of 3000 axes')])
def test_a_header_that_numpy_cannot_parse_is_our_error(kind, said, grey, tmp_path):
    raw = fuzz.npy_text(ODD_HEADS[kind], noise(5, 16, 16).tobytes())
    (tmp_path/'s.npy').write_bytes(raw)
    (tmp_path/'s.npz').write_bytes(fuzz.zipped([('images.npy', raw)]))
    assert said in rows_of(grey, tmp_path/'s.npy', tmp_path/'o.csv')[0]['problem']
    with pytest.raises(ValueError, match=said) as e: V.work_list(grey, tmp_path/'s.npz')
    assert len(str(e.value)) < 300


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_numpy_does_not_write_is_refused_before_it_is_unpacked(method, grey, tmp_path):
    raw = bytearray(fuzz.zipped([('images.npy', fuzz.npy(noise(90, 16, 16)))], method))
    raw[60] ^= 255  # an lzma stream that is broken has an error of its own
    (tmp_path/'s.npz').write_bytes(raw)
    with pytest.raises(ValueError, match=f's.npz: images is packed by method {method}'): V.work_list(grey, tmp_path/'s.npz')


def test_names_in_an_archive_are_short_and_plain_in_errors(grey, tmp_path):
    names = ['x'*60_000, '\u202eimages', '\x1b[31mred', *(f'a{i}' for i in range(500))]
    (tmp_path/'s.npz').write_bytes(fuzz.zipped([(f'{n}.npy', fuzz.npy(noise(9, 16, 16))) for n in names]))
    with pytest.raises(ValueError, match='and 495 more: expected one array') as e: V.work_list(grey, tmp_path/'s.npz')
    assert len(str(e.value)) < 500 and str(e.value).isprintable() and r'\u202eimages' in str(e.value)


def test_a_broken_npy_is_one_row_with_the_reason_as_ever(grey, tmp_path, monkeypatch):
    monkeypatch.setenv('TRAP', str(tmp_path/'sprung'))
    (tmp_path/'x.npy').write_bytes(b'no array')
    np.save(tmp_path/'y.npy', np.array([Trap()], object), allow_pickle=True)
    assert [rows_of(grey, tmp_path/n, tmp_path/'o.csv')[0]['problem'].split(':')[0] for n in ('x.npy', 'y.npy')] == ['unreadable', 'oddly typed']
    assert not (tmp_path/'sprung').exists()


@pytest.mark.parametrize('name', ['s.npy', 's.npz'])
def test_memory_holds_a_batch_and_not_the_stack(name, grey, tmp_path):
    x = np.lib.format.open_memmap(tmp_path/'s.npy', 'w+', np.uint8, (640, 512, 512))
    x[:, 0, 0] = 1
    if name == 's.npz':
        with zipfile.ZipFile(tmp_path/name, 'w') as z: z.write(tmp_path/'s.npy', 'images.npy')
    del x
    code = ("import sys; sys.path[:0] = sys.argv[1:3]\nimport fuzz\nfrom sparseattnnet.use import trained as T, verdicts as V\nmodel = T.load(sys.argv[3], 'cpu')\n"
        "V.write_table(model, sys.argv[5], sys.argv[4] + '/warm.csv')\nbefore = fuzz.rest()\ntold = V.write_table(model, sys.argv[4] + '/' + sys.argv[6], sys.argv[4] + '/o.csv')\n"
        "print(told['images'], fuzz.peak() - before)")
    np.save(tmp_path/'warm.npy', noise(128, 16, 16))
    done = subprocess.run([sys.executable, '-c', code, ROOT, ROOT/'tools', grey.folder, tmp_path, tmp_path/'warm.npy', name], capture_output=True, text=True, env=HOME, timeout=300)
    assert done.returncode == 0, done.stderr
    n, grown = done.stdout.split()
    assert n == '640' and float(grown) < 90  # MB; the stack has 160, a batch 16


@pytest.mark.parametrize('name', ['s.npy', 's.npz'])
def test_a_stopped_stack_goes_on_where_it_was(name, grey, tmp_path, monkeypatch):
    from test_verdicts import stopped_after
    x = noise(300, 16, 16)
    x[130] = 5
    (np.save if name == 's.npy' else np.savez_compressed)(tmp_path/name, x)
    whole = rows_of(grey, tmp_path/name, tmp_path/'quiet.csv')
    with monkeypatch.context() as m:
        stopped_after(3, m)
        with pytest.raises(KeyboardInterrupt): rows_of(grey, tmp_path/name, tmp_path/'o.csv')
    told = V.write_table(grey, tmp_path/name, tmp_path/'o.csv', V.Asked(engine='torch'))
    assert told['resumed_at'] == 192 and told['without_verdict'] == 1
    assert (tmp_path/'o.csv').read_bytes() == (tmp_path/'quiet.csv').read_bytes() and len(whole) == 300
    with monkeypatch.context() as m:
        stopped_after(3, m)
        with pytest.raises(KeyboardInterrupt): rows_of(grey, tmp_path/name, tmp_path/'o.csv')
    os.utime(tmp_path/name, (1, 1))  # another file
    assert V.write_table(grey, tmp_path/name, tmp_path/'o.csv', V.Asked(engine='torch'))['resumed_at'] == 0


def test_killed_at_random_points_a_stack_loses_and_doubles_nothing(grey, tmp_path):
    from test_verdicts import KILLS
    np.save(tmp_path/'s.npy', noise(3000, 16, 16))
    rows_of(grey, tmp_path/'s.npy', tmp_path/'quiet.csv')
    done = subprocess.run([sys.executable, '-c', KILLS, grey.folder, tmp_path/'s.npy', tmp_path/'killed.csv', '8'], capture_output=True, text=True, env=HOME, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 4
    assert (tmp_path/'killed.csv').read_bytes() == (tmp_path/'quiet.csv').read_bytes()


def test_workers_and_patterns(grey, tmp_path):
    np.save(tmp_path/'s.npy', noise(200, 16, 16))
    np.savez_compressed(tmp_path/'s.npz', images=noise(200, 16, 16))
    said = {(rows_of(grey, tmp_path/'s.npy', tmp_path/f'{n}.csv', workers=n), (tmp_path/f'{n}.csv').read_bytes())[1] for n in (0, 1, 7)}
    assert len(said) == 1
    every = rows_of(grey, tmp_path/'s.npy', tmp_path/'o.csv')
    for name in ('s.npy', 's.npz'):
        some = rows_of(grey, tmp_path/name, tmp_path/'o.csv', only='*image *7')
        assert [r['id'] for r in some] == [f'{name}, image {i}' for i in range(7, 200, 10)]
        scores = lambda rows: np.array([float(r['ml_score_A']) for r in rows])
        np.testing.assert_allclose(scores(some), scores(every)[7::10], atol=1e-5)
    with pytest.raises(ValueError, match="matches none of 200 images: .* such as 's.npy, image 0'"): V.work_list(grey, tmp_path/'s.npy', 'z*')


def test_a_file_that_shrinks_meanwhile_gives_rows_with_the_reason(grey, tmp_path):
    for name, save in (('s.npy', np.save), ('s.npz', np.savez)):
        save(tmp_path/name, noise(200, 16, 16))
        batches = T.verdict_batches(grey, T.image_files(grey, tmp_path/name))
        assert not any(v.problem for v in next(batches))
        with open(tmp_path/name, 'r+b') as f: f.truncate(25_000)
        assert {v.problem.split(':')[0] for b in batches for v in b if v.problem} == {'truncated'}


def test_rows_are_made_when_they_are_asked_for(grey, tmp_path):
    with open(tmp_path/'s.npy', 'wb') as f:
        f.write(npy_head((10**8, 16, 16)))
        f.truncate(f.tell() + 10**8*256)  # a hole: no byte of it is on the disk
    before = fuzz.rest()
    _, rows = V.work_list(grey, tmp_path/'s.npy')
    assert len(rows) == 10**8 and rows[10**7].id == 's.npy, image 10000000' and len(V.work_identity(grey, [], rows)) == 64
    assert fuzz.peak() - before < 30
