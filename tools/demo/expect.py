#!/usr/bin/env python3
"""What Python says about the cells of the demonstration, for its tests: probabilities, pixels, resized images, times.

    python tools/demo/expect.py build/demo FOLDER             writes expected.json, and the files that the tests drop
    python tools/demo/expect.py build/demo times.json         milliseconds per image
    python tools/demo/expect.py build/demo FOLDER asked.json  probabilities for given cells and pixels"""
import json
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sparseattnnet.deploy.steer import steered_session
from sparseattnnet.use.trained import load, open_raw

KS = (8, 64, 655, 4096, 16384, 65536)
TIMED = (655, 4096, 16384)
REPEATS = 15


def median_ms(call):
    call()
    spent = []
    for _ in range(REPEATS):
        t0 = time.perf_counter()
        call()
        spent.append(1e3*(time.perf_counter() - t0))
    return statistics.median(spent)


def odd_files(to):
    "Images to drop: larger, smaller and narrower than the model's, grey, transparent; and files that are none."
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:300, :410]/300
    waves = (127 + 120*np.stack([np.sin(9*x + c)*np.cos(7*y*c + x) for c in (1, 2, 3)], 2)).astype(np.uint8)
    noise = rng.integers(0, 256, (100, 90, 3), np.uint8)
    images = {'large.png': waves, 'small.png': noise, 'grey.png': waves[..., 0], 'narrow.png': waves[:, :40]}
    for name, a in images.items():
        Image.fromarray(a).save(to/name)
    clear = np.dstack([waves, (255*(x < 1)).astype(np.uint8)])
    Image.fromarray(clear).save(to/'clear.png')
    Image.fromarray(waves).save(to/'photo.jpg', quality=90)

    (to/'text.png').write_text('This is no picture.')
    (to/'nothing.png').write_bytes(b'')
    whole = (to/'large.png').read_bytes()
    (to/'cut.png').write_bytes(whole[:len(whole)//2])
    photo = (to/'photo.jpg').read_bytes()
    (to/'cut.jpg').write_bytes(photo[:len(photo)//2])
    (to/'damaged.png').write_bytes(whole[:60] + bytes(200) + whole[260:])
    (to/'huge.png').write_bytes(whole[:16] + (60000).to_bytes(4, 'big')*2 + whole[24:])
    with open(to/'heavy.png', 'wb') as f: f.truncate(31_000_000)
    Image.fromarray(np.full((50, 50), 4000, np.uint16)).save(to/'sixteen.png')
    Image.fromarray(np.full((50, 50, 3), 200, np.uint8)).save(to/'flat.png')
    Image.fromarray(noise[:4, :4]).save(to/'tiny.png')
    return ('large.png', 'small.png', 'grey.png', 'narrow.png', 'clear.png', 'photo.jpg')


def as_python_reads(model, path):
    "(H, W, 3) as the command reads it; a grey image is repeated in the three channels, which the command refuses."
    with Image.open(path) as im:
        if im.mode == 'L':
            path = path.with_name(f'rgb-{path.name}')
            im.convert('RGB').save(path)
    return open_raw(model, path).transpose(1, 2, 0)


def main(demo, to):
    data = json.loads((demo/'data.json').read_text(encoding='utf-8'))
    model, cells = load(data['run_id']), []
    for cell in data['cells']:
        x = model.prepare(open_raw(model, demo/cell['file'])[None])
        with torch.inference_mode(): seen = {k: model.net(x, k) for k in KS}
        told = lambda s: dict(probabilities=s.logits.double().softmax(1)[0].tolist(), pixels=s.idx[0].tolist())
        cells.append({k: told(s) for k, s in seen.items()})
    good = odd_files(to)
    resized = {n: as_python_reads(model, to/n).flatten().tolist() for n in good}
    (to/'expected.json').write_text(json.dumps(dict(cells=cells, resized=resized)), encoding='utf-8')


@torch.inference_mode()
def times(demo, to):
    "Milliseconds per image of PyTorch and of ONNX Runtime, one thread each."
    data = json.loads((demo/'data.json').read_text(encoding='utf-8'))
    model, ask = load(data['run_id']), steered_session(demo/data['model'], 1)
    x = model.prepare(open_raw(model, demo/data['cells'][0]['file'])[None])
    spent = {k: [median_ms(lambda: model.net(x, k)), median_ms(lambda: ask(x.numpy(), k))] for k in TIMED}
    to.write_text(json.dumps(spent))


@torch.inference_mode()
def from_pixels(demo, asked):
    "Probabilities when the network reads the pixels that it is told to read."
    data = json.loads((demo/'data.json').read_text(encoding='utf-8'))
    model, out = load(data['run_id']), []
    for a in json.loads(asked.read_text()):
        x = model.prepare(open_raw(model, demo/data['cells'][a['cell']]['file'])[None])
        net, idx = model.net, torch.tensor(a['pixels'])[None]
        m = net.coarse(x)
        gate = m.attention.flatten(1).gather(1, idx) if net.config.gate else None
        z, _ = net.fine(net.embed(net.tokens(x, idx, m.features)), gate)
        out.append(net.classify(torch.cat([z, m.z], 1) if net.config.use_coarse else z).double().softmax(1)[0].tolist())
    asked.write_text(json.dumps(out))


if __name__ == '__main__':
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    demo, to, *asked = map(Path, sys.argv[1:])
    if asked: from_pixels(demo, asked[0])
    elif to.suffix == '.json': times(demo, to)
    else: main(demo, to)
