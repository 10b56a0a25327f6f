"""Malformed files against every reader of the package: `python tools/fuzz.py build/fuzz --cases 400`

Each case is one damaged file, made from a whole one by a seeded generator, and ends in one of three ways: it is read (the
damage did no harm), it is refused by an error of ours, or it is a fault: an error from a library's depths, more than 2 s, more
than 500 MB, a process that dies, a result that cannot be right. Batches run in processes of their own. A second call goes on
where the first one stopped; `--again FORMAT NUMBER` shows one case.
"""
import argparse
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from copy import deepcopy
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = str(ROOT/'sparseattnnet')
SECONDS, MIB, BATCH, DEAD_S = 2., 500, 2000, 90
NASTY = (None, True, -1, 0, 1, 2**31, 10**9, 10**30, 1e308, -.5, '', 'x', 'x'*20_000, '\0', '../../etc/passwd', [], {}, [[]], [1],
         ['a', 'a'], [None], {'a': 1}, 'NaN', '<img src=x onerror=alert(1)>', 'γδ', [1e308, 1e308], [5, 5], [10**6, 10**6])
CELLS = ('', '../../etc/passwd', '/etc/passwd', '/etc/hostname', 'a/../../b.png', '\0', '=cmd()', '<img src=x>', 'x'*200_000, '"', "'",
         ',', ';', '\t', 'NA', 'nan', '1e999', '-', '\ufeff', 'A/0.png', 'A', 'C:\\Windows\\x.png', '.', '..', '/', '~', 'A/\n0.png',
         '//host/share/x.png', 'file:///etc/passwd', '%00', '\u202egnp.exe', 'CON')


# --- whole files --------------------------------------------------------------------------------------------------------

def pixels(seed=0, side=24, channels=1, dtype='uint8'):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    disc = np.hypot(y - rng.integers(8, 16), x - rng.integers(8, 16)) < 4 + 4*(seed % 2)
    a = (.2 + .5*disc[..., None] + .2*rng.random((side, side, channels)))
    a = a if dtype == 'float32' else a*np.iinfo(dtype).max
    return a.astype(dtype)[..., 0] if channels == 1 else a.astype(dtype)


def image_bytes(kind):
    "Whole files of one format, several forms each."
    import tifffile
    from PIL import Image
    if kind == 'npy':
        for n, (c, d) in enumerate(((1, 'uint8'), (3, 'uint8'), (1, 'uint16'), (1, 'float32'))):
            np.save(out := io.BytesIO(), pixels(n, channels=c, dtype=d))
            yield out.getvalue()
    elif kind == 'tiff':
        for n, (c, d, k) in enumerate(((1, 'uint8', {}), (3, 'uint8', {'compression': 'zlib'}), (1, 'uint16', {'compression': 'lzw'}),
                (1, 'float32', {'tile': (16, 16)}), (1, 'uint8', {'compression': 'packbits'}), (1, 'uint16', {'bigtiff': True}))):
            more = dict(photometric='rgb') if c == 3 else {}
            tifffile.imwrite(out := io.BytesIO(), pixels(n, channels=c, dtype=d), **k, **more)
            yield out.getvalue()
        tifffile.imwrite(out := io.BytesIO(), np.stack([pixels(1), pixels(2)]), ome=True, metadata={'axes': 'CYX'})
        yield out.getvalue()
    else:
        for n, c in enumerate((1, 3)):
            Image.fromarray(pixels(n, channels=c)).save(out := io.BytesIO(), {'jpg': 'JPEG'}.get(kind, kind))
            yield out.getvalue()
        if kind != 'png': return
        Image.fromarray(pixels(3, dtype='uint16')).save(out := io.BytesIO(), 'PNG')
        yield out.getvalue()
        Image.fromarray(pixels(4, channels=4)).save(out := io.BytesIO(), 'PNG')
        yield out.getvalue()


def npz_bytes():
    x = np.stack([pixels(i) for i in range(8)])
    for f, more in ((np.savez, {}), (np.savez_compressed, dict(group=np.arange(8)//2))):
        f(out := io.BytesIO(), images=x, labels=np.arange(8) % 2, **more)
        yield out.getvalue()


def some_run(folder):
    "A run of a tiny model of random weights, with everything that `train` leaves."
    import torch
    from sparseattnnet.data.splits import Split
    from sparseattnnet.learn import records as R
    from sparseattnnet.learn.run import RunSpec
    from sparseattnnet.method.model import SparseAttnNet, config_to_dict, preset
    torch.manual_seed(0)
    model = SparseAttnNet(preset('edge', classes=2)).eval()
    R.save_checkpoint(model, folder, dict(config=config_to_dict(model.config), class_names=['A', 'B'], value_range=[0., 255.], k=40,
        channels=1, size=[24, 24], channel_names=['grey'], simulated=False, model='sparseattnnet'))
    ids, p = [f'{c}/{i}.png' for c in 'AB' for i in range(6)], np.linspace(.1, .9, 12)
    R.save_predictions(folder/'predictions.csv', ids, np.repeat([0, 1], 6), np.stack([1 - p, p], 1), ['A', 'B'])
    Split(ids[:4], ids[4:8], ids[8:], 'strict', 0, {}).save(folder/'split.json')
    R.write_json(folder/'record.json', dict(run_id='r', dataset='folder', dataset_title='cells', simulated=False, class_names=['A', 'B'],
        data_fingerprint='0'*64, split_hash='0'*64, split_counts=dict(train=4, val=4, test=4), protocol='strict', model='sparseattnnet',
        preset='edge', code_version=2, config=dict(model={}, recipe={}, data=dict(size=[1, 24, 24], only='', drop='', too_few='stop')),
        seed=0, profile='smoke', history=[], best_epoch=1, k=40, share_of_pixels=.07, k_per_epoch=[], parameters=1, checkpoint_sha256='0'*64,
        test=dict(n=12, accuracy=.5, accuracy_interval=[.3, .7], macro_f1=.5, confusion=[[3, 3], [3, 3]], per_class={}), environment={},
        spec={n: getattr(RunSpec(), n) for n in RunSpec.__dataclass_fields__}, finished='2026-01-01T00:00:00Z', train_s=1., wall_s=1.))
    R.save_state(folder/'state.safetensors', dict(a=torch.ones(3), b=torch.zeros(2, 2)), dict(epoch=1, best=.5))
    torch.save(model.state_dict(), folder/'weights.pt')
    return folder


# --- damage -------------------------------------------------------------------------------------------------------------

def damaged(raw, rng):
    "Bytes with one to four kinds of damage."
    b = bytearray(raw)
    for _ in range(rng.integers(1, 5)):
        if not b: break
        at, n = int(rng.integers(len(b))), int(rng.choice([1, 2, 4, 8, 64]))
        if rng.random() < .6: at = int(min(at, rng.integers(1, 300)))
        how = rng.integers(9)
        if how == 0: b[at] ^= 1 << int(rng.integers(8))
        elif how == 1: b = b[:at]
        elif how == 2: del b[at:at + n]
        elif how == 3: b[at:at] = b[at:at + n]*int(rng.choice([1, 2, 50]))
        elif how == 4: b[at:at + n] = rng.bytes(n)
        elif how == 5: b[at:at + n] = rng.choice([b'\0', b'\xff', b'\x7f'])*n
        elif how == 6: b[at:at + 4] = int(rng.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1, 10**6])).to_bytes(4, rng.choice(['big', 'little']))
        elif how == 7: b += rng.bytes(n)
        else: b[at:at + n], b[:n] = b[:n], b[at:at + n]
    return bytes(b)


def resealed_png(raw):
    "A PNG whose checksums are right again, so that the damage reaches the decoder."
    out, at = bytearray(raw[:8]), 8
    while at + 12 <= len(raw):
        n = int.from_bytes(raw[at:at + 4], 'big')
        body = raw[at + 4:at + 8 + n]
        out += len(body[4:]).to_bytes(4, 'big') + body + zlib.crc32(body).to_bytes(4, 'big')
        at += 12 + n
    return bytes(out)


def damaged_json(value, rng):
    "Plain values with one to three entries that are gone, exchanged, or of another kind."
    value = json.loads(json.dumps(value))
    for _ in range(rng.integers(1, 4)):
        spots = []

        def walk(v):
            for k in (v if isinstance(v, dict) else range(len(v)) if isinstance(v, list) else ()):
                spots.append((v, k))
                walk(v[k])
        walk(value)
        if not spots: break
        v, k = spots[int(rng.integers(len(spots)))]
        if rng.random() < .25: del v[k]
        else: v[k] = deepcopy(NASTY[int(rng.integers(len(NASTY)))])  # else later damage would change the list itself
    return value


def json_text(value, rng):
    "Damaged values, and now and then damaged text: NaN, depth, halves, bytes."
    text = json.dumps(damaged_json(value, rng), ensure_ascii=bool(rng.integers(2)))
    how = rng.integers(12)
    if how == 0: return damaged(text.encode(), rng)
    if how == 1: return ('['*int(rng.choice([50, 5_000, 100_000]))).encode()
    if how == 2: return text.replace('1', 'NaN', 1).encode()
    if how == 3: return json.dumps(NASTY[int(rng.integers(len(NASTY)))]).encode()
    if how == 4: return text.encode('utf-16')
    if how == 5: return (text[:-1] + ', "k": ' + '9'*5000 + '}').encode()
    return text.encode()


def damaged_table(head, rows, rng):
    "A table with odd cells, columns, marks and bytes."
    rows = [list(r) for r in [head, *rows]]
    for _ in range(rng.integers(1, 5)):
        r = rows[int(rng.integers(len(rows)))]
        if r: r[int(rng.integers(len(r)))] = CELLS[int(rng.integers(len(CELLS)))]
    how = rng.integers(8)
    if how == 0: rows[int(rng.integers(len(rows)))] *= 40
    if how == 1: rows[0] = rows[0]*2
    csv.writer(out := io.StringIO(), delimiter=str(rng.choice([',', ';', '\t'])), lineterminator=str(rng.choice(['\n', '\r\n', '\r']))).writerows(rows)
    raw = out.getvalue().encode(str(rng.choice(['utf-8', 'utf-8', 'utf-8-sig', 'utf-16', 'cp1252'])), 'replace')
    return damaged(raw, rng) if how == 2 else raw


# --- stacks -------------------------------------------------------------------------------------------------------------

TYPES = ('<u2', '>u2', '<f2', '>f4', '<f8', '>f8', '<f16', '|b1', '|i1', '<i4', '>u8', '<c8', '<U3', '|S5', '<M8[s]', '<m8[D]', '|V4', '|O',
         [('a', '|u1')], [('x', '<f4'), ('y', '<f4')])
DESCRS = ("'|u1'", "'>u1'", "'<f4'", "'O'", "'|O'", "[('a', 'O')]", "'V99999999999'", "'<U2147483647'", "''", "'u1,u1'", "('|u1', (10**9,))", '3', 'None', "'|u1'*9",
          "[]", "[('', '|u1'), ('', '|u1')]", "('|u1', (24, 24))", "'S0'", "__import__('os').getcwd()", "b'|u1'")
SHAPES = ('(5, 24, 24)', '(2**40, 24, 24)', '(10000000000000, 24, 24)', '(-1, 24, 24)', '(5, -24, -24)', '(5, 24.0, 24)', '(True, 24, 24)', '(5, 24, 24', '()', '[5, 24, 24]',
          '5', 'None', '(0, 24, 24)', '(5, 0, 24)', '(5, 24, 24, 0)', '(18446744073709551616, 24, 24)', '(5, 4294967296, 4294967296)', '(4611686018427387904, 8, 8)',
          "('5', '24', '24')", '(' + '1, '*3000 + ')', '-'*9000 + '1', '('*199 + ')'*199, '(' + '9'*5000 + ', 24, 24)', '(1j, 24, 24)', '(5, 24, 24)*1000', '{5, 24, 24}')
MEMBERS = ('images.npy', 'images', 'IMAGES.NPY', 'arr_0.npy', '../../images.npy', '/etc/images.npy', '..\\..\\images.npy', 'a/b/images.npy', 'images.npy/', '', '.npy', '\0images.npy',
           'x'*60_000 + '.npy', 'γδ.npy', '\u202eimages.npy', '\x1b[31mimages.npy', 'images.npy\n', 'CON.npy', 'C:\\images.npy', 'images.npy.npy', 'images.pkl', '__MACOSX/images.npy')


class Trap:
    "An object that leaves a folder behind when it is unpickled."
    def __init__(self, path): self.path = str(path)
    def __reduce__(self): return os.mkdir, (self.path,)


def npy(x, **how):
    np.lib.format.write_array(out := io.BytesIO(), x, allow_pickle=True, **how)
    return out.getvalue()


def npy_text(text, rest, version=1, length=None):
    "An .npy of any header, right or not."
    text = text.encode('latin1')
    text += b' '*(-(len(text) + 11) % 64) + b'\n'
    n = len(text) if length is None else length
    size = 2 if version == 1 else 4
    return b'\x93NUMPY' + bytes([version, 0]) + (n % 256**size).to_bytes(size, 'little') + text + rest


def zipped(members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(out := io.BytesIO(), 'w', method) as z, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for name, raw in members: z.writestr(zipfile.ZipInfo(name), raw, method)
    return out.getvalue()


def relabelled(raw, rng):
    "An archive whose records say another size, checksum, method, flag or place."
    b, spots = bytearray(raw), []
    for mark, at in ((b'PK\x01\x02', ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4))), (b'PK\x03\x04', ((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))),
            (b'PK\x05\x06', ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)))):
        i = -1
        while (i := raw.find(mark, i + 1)) >= 0: spots += [(i + a, n) for a, n in at]
    for _ in range(rng.integers(1, 3)):
        at, n = spots[int(rng.integers(len(spots)))]
        old = int.from_bytes(b[at:at + n], 'little')
        new = int(rng.choice([0, 1, 2, 8, 9, 12, 14, 93, 99, old + 1, max(old - 1, 0), 2*old, 2**16 - 1, 2**31 - 1, 2**32 - 1]))
        b[at:at + n] = (new % 256**n).to_bytes(n, 'little')
    return bytes(b)


def some_stack(rng, channels):
    "Images (n, C, H, W), which a whole stack holds, and one layout of them."
    n, side = int(rng.choice([1, 2, 5, 70])), int(rng.choice([24, 24, 24, 20, 31]))
    x = np.stack([np.moveaxis(pixels(i, side, channels)[..., None] if channels == 1 else pixels(i, side, channels), 2, 0) for i in range(n)])
    return x, x[:, 0] if channels == 1 and n not in (1, 3) and rng.random() < .5 else np.moveaxis(x, 1, 3) if rng.random() < .5 else x


def stack_case(rng, channels, trap):
    "(ending, bytes, images that it holds, or None where it is damaged) of one stack."
    x, a = some_stack(rng, channels)
    deflated = zipfile.ZIP_DEFLATED if rng.random() < .5 else zipfile.ZIP_STORED
    archive = lambda raw, name='images.npy', method=deflated: zipped([(name, raw)], method)
    either = lambda raw: ('npz', archive(raw)) if rng.random() < .5 else ('npy', raw)
    how = int(rng.integers(16))
    if how == 0: return *either(npy(np.zeros(rng.choice([0, 1, 2, 3, 4, 7, 8, 24, 25], rng.integers(0, 7)), np.uint8))), None
    if how == 1:
        d = np.dtype(TYPES[int(rng.integers(len(TYPES)))])
        raw = npy(a.astype(d)) if d.names is None and not d.hasobject else npy(np.zeros(a.shape, d) if d.names else np.array([[[Trap(trap)]]], d))
        return *either(raw), None
    if how == 2:
        f = a.astype(rng.choice([np.float16, np.float32, np.float64]))/255
        odd, some = rng.choice([np.nan, np.inf, -np.inf, -1, 2, 1e-320, 65e3]), rng.random(len(f)) < .5
        f[some] = odd if rng.random() < .5 else np.where(rng.random(f[some].shape) < .01, odd, f[some])
        if f.dtype == np.float64 and rng.random() < .3: f *= 1e300
        return *either(npy(f)), None
    if how == 3: return *either(npy(np.asfortranarray(a))), x
    if how == 4: return *either(npy(a)[:int(rng.integers(len(npy(a))))]), None
    if how == 5: return *either(npy(a) + rng.bytes(int(rng.choice([1, 1000])))), None
    if how == 6:
        pick = lambda of, usual: of[int(rng.integers(len(of)))] if rng.random() < .5 else usual
        text = f"{{'descr': {pick(DESCRS, DESCRS[0])}, 'fortran_order': {pick(('True', '1', 'None', '[]'), 'False')}, 'shape': {pick(SHAPES, str(a.shape))}, }}"
        if rng.random() < .2: text = pick(('', '{}', '[', '{' + 'a'*60_000, '\0', text + '#'*20_000, text.replace('descr', 'shape'), '[]', '1', text + ' '*60_000), text)
        length = int(rng.choice([0, 1, 117, 2**16 - 1, 2**32 - 1, 2**31])) if rng.random() < .2 else None
        return *either(npy_text(text, a.tobytes(), int(rng.choice([1, 1, 2, 3, 4, 0, 255])), length)), None
    if how == 7: return *either(damaged(npy(a), rng)), None
    if how == 8:
        some = [(MEMBERS[int(rng.integers(len(MEMBERS)))], npy(a) if rng.random() < .7 else rng.bytes(50)) for _ in range(rng.integers(1, 4))]
        return 'npz', zipped(some, deflated), None
    if how == 9: return 'npz', zipped([*((f'{i}.npy', b'') for i in range(int(rng.choice([100, 5000])))), ('images.npy', npy(a))]), None
    if how == 10:
        n, side = int(rng.choice([2000, 60_000])), int(rng.choice([24, 64, 512]))
        n = min(n, 150_000_000//side**2)
        return 'npz', archive(npy_text(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({n}, {side}, {side}), }}", bytes(n*side*side)), method=zipfile.ZIP_DEFLATED), None
    if how == 11: return 'npz', relabelled(archive(npy(a)), rng), None
    if how == 12: return 'npz', relabelled(archive(npy(a), method=int(rng.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))), rng), None
    if how == 13:
        raw = archive(npy(a), method=int(rng.choice([0, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])))
        return 'npz', damaged(raw, rng), None
    if how == 14:
        return str(rng.choice(['npy', 'npz'])), (b'', b'PK\5\6' + bytes(18), b'PK', npy(a), archive(npy(a)), rng.bytes(500), zipped([('images.npy', archive(npy(a)))]),
            b'\x80\x04.', b'\x93NUMPY', b'\x93NUMPY\1\0\xff')[int(rng.integers(10))], None
    return 'npz', zipped([('images.npy', npy(a)), ('labels.npy', npy(np.arange(len(x)))), ('names.npy', npy(np.array([Trap(trap)])))], deflated), x


# --- readers ------------------------------------------------------------------------------------------------------------

class Wrong(Exception):
    "A result that cannot be right."


def sound(x):
    "What every image that was read must be."
    if x.dtype.name not in ('uint8', 'uint16', 'float32') or x.ndim != 3 or min(x.shape[1:]) < 8: raise Wrong(f'{x.dtype} {x.shape}')
    if not np.isfinite(x.astype(float)).all() or x.min() == x.max(): raise Wrong('not finite, or constant')


class Bench:
    "Whole files, made once, and a function for each format that damages one and reads it."
    def __init__(self, place):
        from sparseattnnet.use import trained as T
        self.place, self.T, self.models = Path(place), T, {}
        self.run = some_run(self.place/'run')
        self.model = T.load(self.run)
        self.cells = self.place/'cells'
        from PIL import Image
        for c in 'AB':
            (self.cells/c).mkdir(parents=True)
            for i in range(4): Image.fromarray(pixels(2*i + (c == 'B'))).save(self.cells/c/f'{i}.png')
        self.rows = [[f'{c}/{i}.png', c, f'd{i}', i] for c in 'AB' for i in range(4)]
        self.whole = {k: [*image_bytes(k)] for k in ('png', 'jpg', 'tiff', 'npy', 'bmp', 'webp')} | {'npz': [*npz_bytes()]}
        self.json = {n: json.loads((self.run/f'{n}.json').read_text()) for n in ('model', 'record', 'split')}

    def image(self, kind, rng):
        from sparseattnnet.data.images import open_image
        raw = damaged(whole := self.whole[kind][int(rng.integers(len(self.whole[kind])))], rng)
        sealed = kind == 'png' and rng.random() < .5
        if sealed: raw = resealed_png(raw)
        f = self.place/f'x.{kind}'
        f.write_bytes(raw)
        names = ('a', 'b') if kind == 'tiff' and rng.random() < .2 else ()
        x = open_image(f, names)
        sound(x)
        if kind == 'png' and not sealed:
            (g := self.place/'whole.png').write_bytes(whole)
            if x.shape == (y := open_image(g)).shape and (x != y).any() and not _crc_holds(raw): raise Wrong('other pixels, broken checksum')

    def npz(self, rng):
        from sparseattnnet.data.images import read_npz
        f = self.place/'x.npz'
        f.write_bytes(damaged(self.whole['npz'][int(rng.integers(2))], rng))
        s = read_npz(f, on_bad='skip')
        for x in s.images: sound(x)

    def table(self, rng):
        from sparseattnnet.data.images import read_images
        f = self.cells/'labels.csv'
        f.write_bytes(damaged_table(['path', 'label', 'donor', 'note'], self.rows, rng))
        try: s = read_images(self.cells, on_bad='skip', progress=False)
        finally: f.unlink()
        if any(i.startswith(('/', '..')) for i in s.ids): raise Wrong(f'read from outside: {s.ids}')

    def list(self, rng):
        from sparseattnnet.use.verdicts import write_table
        f, out = self.cells/'list.csv', self.place/'out.csv'
        f.write_bytes(damaged_table(['path', 'donor', 'note'], [[r[0], *r[2:]] for r in self.rows], rng))
        try: n = write_table(self.model, f, out)
        finally: f.unlink()
        got = [*csv.DictReader(open(out, newline='', encoding='utf-8'))]
        if len(got) != n['images']: raise Wrong(f"{len(got)} rows for {n['images']} images")
        if any(r['ml_class'] and r['id'].startswith(('/', '..')) for r in got): raise Wrong('read from outside')

    def stack_model(self, channels):
        "A model of that many channels."
        import torch
        from sparseattnnet.learn.records import save_checkpoint
        from sparseattnnet.method.model import SparseAttnNet, config_to_dict, preset
        if channels not in self.models:
            torch.manual_seed(0)
            net = SparseAttnNet(preset('edge', channels=channels, classes=2, rgb=channels == 3)).eval()
            save_checkpoint(net, to := self.place/f'run{channels}', dict(config=config_to_dict(net.config), class_names=['A', 'B'], value_range=[0., 255.], k=40,
                channels=channels, size=[24, 24], model='sparseattnnet'))
            self.models[channels] = self.T.load(to, 'cpu')
        return self.models[channels]

    def stack(self, rng):
        import shutil
        from sparseattnnet.use.verdicts import Asked, write_table
        channels, place = int(rng.choice([1, 3])), self.place/'stack'
        model = self.stack_model(channels)
        place.exists() and shutil.rmtree(place)
        place.mkdir()
        ending, raw, whole = stack_case(rng, channels, place/'sprung')
        f, out = place/f's.{ending}', place/'out.csv'
        f.write_bytes(raw)
        try: n = write_table(model, f, out, Asked(engine='torch'))['images']
        except ValueError as e:
            if len(str(e)) > 2000 or not str(e).replace('\n', '').isprintable(): raise Wrong(f'an error of {len(str(e))} characters: {str(e)[:80]!r}') from e
            if {p.name for p in place.iterdir()} != {f.name}: raise Wrong(f'left behind: {sorted(p.name for p in place.iterdir())}') from e
            raise
        if {p.name for p in place.iterdir()} != {f.name, out.name}: raise Wrong(f'left behind: {sorted(p.name for p in place.iterdir())}')
        rows = [*csv.DictReader(open(out, newline='', encoding='utf-8'))]
        if len(rows) != n or n == 0: raise Wrong(f'{len(rows)} rows for {n} images')
        for i, r in enumerate(rows):
            if r['id'] not in (f.name, f'{f.name}, image {i}'): raise Wrong(f"row {i} is {r['id']}")
            p = [float(r[f'ml_score_{c}'] or 'nan') for c in 'AB']
            if bool(r['problem']) == bool(r['ml_class']) or r['ml_class'] and not abs(sum(p) - 1) < 1e-3: raise Wrong(f'{r}')
        if whole is None: return
        from sparseattnnet.data.images import resize_image
        want = self.T.predict_proba(model, np.stack([resize_image(x, (24, 24)) for x in whole]))
        got = np.array([[float(r[f'ml_score_{c}']) for c in 'AB'] for r in rows])
        if np.abs(got - want).max() > 1e-4: raise Wrong('other verdicts than the images have')

    def files(self, name, raw):
        import shutil
        (to := self.place/'case').exists() and shutil.rmtree(to)
        shutil.copytree(self.run, to)
        (to/name).write_bytes(raw)
        return to

    def card(self, rng):
        x = np.stack([pixels(i) for i in range(2)])
        m = self.T.load(self.files('model.json', json_text(self.json['model'], rng)))
        p = self.T.predict_proba(m, x)
        if p.shape != (2, len(m.class_names)) or not np.isfinite(p).all(): raise Wrong(f'{p}')

    def record(self, rng):
        from sparseattnnet.use import evaluate as E
        case = E.open_case(self.files('record.json', json_text(self.json['record'], rng)), device='cpu')
        E.evaluation_lines(E.judge_case(case))

    def split(self, rng):
        from sparseattnnet.data.splits import Split
        Split.load(self.files('split.json', json_text(self.json['split'], rng))/'split.json')

    def predictions(self, rng):
        from sparseattnnet.learn.records import load_predictions
        head, *rows = [*csv.reader(open(self.run/'predictions.csv'))]
        p = load_predictions(self.files('predictions.csv', damaged_table(head, rows, rng))/'predictions.csv')
        if not np.isfinite(p.probs).all(): raise Wrong('not finite')

    def safetensors(self, rng):
        raw = damaged((self.run/'model.safetensors').read_bytes(), rng)
        to = self.files('model.safetensors', raw)
        if rng.random() < .8: (to/'model.json').write_text(json.dumps(self.json['model'] | dict(sha256=hashlib.sha256(raw).hexdigest())))
        self.T.predict_proba(self.T.load(to), pixels()[None])

    def state(self, rng):
        from sparseattnnet.learn.records import load_state
        tensors, state = load_state(self.files('state.safetensors', damaged((self.run/'state.safetensors').read_bytes(), rng))/'state.safetensors')
        if set(tensors) != {'a', 'b'}: raise Wrong(f'{set(tensors)}')

    def pt(self, rng):
        raw = (self.run/'weights.pt').read_bytes()
        to = self.files('weights.pt', damaged(raw, rng) if rng.random() < .9 else raw)
        self.T.load(to/'weights.pt')
        raise Wrong('a pickle was read')

    def onnx(self, rng):
        from sparseattnnet.deploy.export import FoldedNet, _write_onnx, onnx_session
        if not (f := self.place/'model.onnx').exists(): _write_onnx(FoldedNet(self.model.net, 24, 24, 40), f, 1)
        onnx_session(self.files('model.onnx', damaged(f.read_bytes(), rng))/'model.onnx')

    def options(self, rng):
        from sparseattnnet.data.datasets import read_options
        from sparseattnnet.data.simulation import check_options
        from sparseattnnet.data.datasets import load_simulator
        from sparseattnnet.learn.run import RunSpec
        from sparseattnnet.method.model import config_from_dict, preset
        text = json_text(dict(dim=48, heads=2, tau=.07, gamma=2., gate=True, select='learned', hidden=64), rng).decode('utf-8', 'replace')
        how = rng.integers(4)
        if how == 0: config_from_dict(damaged_json(self.json['model']['config'], rng))
        elif how == 1: preset('edge', **read_options(text))
        elif how == 2: check_options(load_simulator('opd'), read_options(text.replace('dim', 'sep')))
        else: RunSpec(dataset='opd', changes=text, recipe=text, simulator=text)


def _crc_holds(raw):
    at = 8
    while at + 12 <= len(raw):
        n = int.from_bytes(raw[at:at + 4], 'big')
        if zlib.crc32(raw[at + 4:at + 8 + n]) != int.from_bytes(raw[at + 8 + n:at + 12 + n], 'big'): return False
        at += 12 + n
    return True


IMAGES = ('png', 'jpg', 'tiff', 'npy', 'bmp', 'webp')
FORMATS = (*IMAGES, 'npz', 'table', 'list', 'card', 'record', 'split', 'predictions', 'safetensors', 'state', 'pt', 'onnx', 'options', 'stack')


def named(e):
    "Whether an error is one of ours: a ValueError or FileNotFoundError that our code raised, with words in it."
    *_, last = traceback.extract_tb(e.__traceback__)
    return isinstance(e, (ValueError, FileNotFoundError)) and last.filename.startswith(PACKAGE) and len(str(e).split()) > 2


def peak():
    "MiB of memory at the most since the last call of `rest`."
    return int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])/1024


def rest():
    try: Path('/proc/self/clear_refs').write_text('5')
    except OSError: pass
    return peak()


def one(bench, kind, seed, number):
    "What became of one case."
    rng = np.random.default_rng([seed, FORMATS.index(kind), number])
    before, t0, out = rest(), time.process_time(), dict(format=kind, number=number, outcome='read')
    try: bench.image(kind, rng) if kind in IMAGES else getattr(bench, kind)(rng)
    except Exception as e:
        out['outcome'] = 'refused' if named(e) else 'fault'
        out['error'] = f'{type(e).__name__}: {e}'[:300]
        if out['outcome'] == 'fault': out['where'] = ''.join(traceback.format_exception(e))[-1500:]
    out |= dict(seconds=round(time.process_time() - t0, 3), mib=round(peak() - before))
    if out['outcome'] != 'fault' and (out['seconds'] > SECONDS or out['mib'] > MIB): out |= dict(outcome='fault', error='slow or large: ' + out.get('error', 'read'))
    return out


def work(cases, seed, file):
    "One batch, in this process."
    import logging
    for n in ('sparseattnnet', 'tifffile'): logging.getLogger(n).setLevel(logging.CRITICAL)
    warnings.simplefilter('ignore')
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, (6 << 30, 6 << 30))
    with tempfile.TemporaryDirectory() as d, open(file, 'a') as f:
        bench = Bench(d)
        warm = set()
        for kind, n in cases:
            if kind not in warm:
                for i in range(20): one(bench, kind, seed, 10**6 + i)  # imports what it needs
            warm.add(kind)
            f.write(json.dumps(one(bench, kind, seed, n)) + '\n')
            f.flush()


def done(file):
    "Cases that are written down: (format, number) -> what became of them."
    return {(r['format'], r['number']): r for r in map(json.loads, file.read_text().splitlines())} if file.is_file() else {}


def batch(cases, seed, file):
    "One batch in a process of its own; a case on which it dies or hangs is a fault."
    job = subprocess.Popen([sys.executable, __file__, str(file.parent), '--seed', str(seed), '--work', *(f'{k}:{n}' for k, n in cases)],
        env=os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1'})
    size = first = file.stat().st_size if file.is_file() else 0
    last = time.monotonic()
    while job.poll() is None:
        time.sleep(.1)
        now = file.stat().st_size if file.is_file() else 0
        if now != size: size, last = now, time.monotonic()
        if time.monotonic() - last > (DEAD_S if size != first else 10*DEAD_S):  # the imports may take long
            job.kill()
            job.wait()
    if job.returncode == 0: return
    known = done(file)
    at = next((c for c in cases if c not in known), None)
    if at is None: return
    with open(file, 'a') as f:
        f.write(json.dumps(dict(format=at[0], number=at[1], outcome='fault', error=f'the process ended with {job.returncode}', seconds=0, mib=0)) + '\n')


def main(argv=None):
    "Exit code 0 where no case is a fault."
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('folder', type=Path, metavar='DIR', help='where the list of cases lies')
    p.add_argument('--cases', type=int, default=300, metavar='N', help='cases of each format (default 300)')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--formats', default=','.join(FORMATS), help='some of them, with commas')
    p.add_argument('--again', nargs=2, metavar=('FORMAT', 'NUMBER'), help='run one case here and show what became of it')
    p.add_argument('--work', nargs='+', help=argparse.SUPPRESS)
    a = p.parse_args(argv)
    a.folder.mkdir(parents=True, exist_ok=True)
    file = a.folder/f'cases-{a.seed}.jsonl'
    if a.work: return work([(k, int(n)) for k, n in (w.split(':') for w in a.work)], a.seed, file)
    if a.again:
        with tempfile.TemporaryDirectory() as d: r = one(Bench(d), a.again[0], a.seed, int(a.again[1]))
        print(*(f'{k}: {v}' for k, v in r.items()), sep='\n')
        return int(r['outcome'] == 'fault')
    wanted = [(k, n) for k in a.formats.split(',') for n in range(a.cases)]
    while todo := [c for known in [done(file)] for c in wanted if c not in known]:
        print(f'{len(wanted) - len(todo)} of {len(wanted)} cases are done', file=sys.stderr, flush=True)
        batch(todo[:BATCH], a.seed, file)
    for kind in a.formats.split(','):
        mine = [r for (k, n), r in done(file).items() if k == kind and n < a.cases]
        count = {o: sum(r['outcome'] == o for r in mine) for o in ('read', 'refused', 'fault')}
        most = max(mine, key=lambda r: r['seconds']), max(mine, key=lambda r: r['mib'])
        print(f"{kind:<12} {count['read']:>5} read {count['refused']:>5} refused {count['fault']:>4} faults; at most {most[0]['seconds']:.2f} s, {most[1]['mib']} MB", flush=True)
    faults = [r for (k, n), r in done(file).items() if r['outcome'] == 'fault' and n < a.cases and k in a.formats.split(',')]
    for r in faults[:20]: print(f"  {r['format']} {r['number']}: {r['error']}")
    print(f"{len(wanted)} cases in all, {len(faults)} faults")
    return int(bool(faults))


if __name__ == '__main__': sys.exit(main())
