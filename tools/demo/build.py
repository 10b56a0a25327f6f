#!/usr/bin/env python3
"""The demonstration in the browser: page, model, a dozen simulated cells and ONNX Runtime Web in one folder.

    python tools/demo/build.py [--out build/demo] [--run NAME]

The folder works on any static server and below any path, and asks no other host for anything. ONNX Runtime Web comes
from npm by tools/demo/package-lock.json. The folder is made under another name, and moved when it is whole."""
import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ('index.html', 'style.css', 'page.js', 'draw.js', 'worker.js', 'image.js')
RUNTIME = {'ort.wasm.bundle.min.mjs': 'ort.js', 'ort-wasm-simd-threaded.wasm': 'ort.wasm'}
RUN = 'wbc-sim_sparseattnnet-corrected_quick_strict_s0'
SEED, COUNTS = 2026, (3, 2, 2, 2, 2)  # cells that no run has seen: runs take seed 0
COURSE = ('eosinophil', 12)  # the cell that runs through the course, a test image of seed 0


class Missing(RuntimeError):
    "Raised when a program that the build needs is not there."


def say(*text): print(*text, flush=True)


def runtime(modules):
    "Install what package-lock.json names into a folder of its own, unless it is there already."
    wanted = hashlib.sha256((HERE/'package-lock.json').read_bytes()).hexdigest()
    stamp = modules/'stamp'
    if stamp.is_file() and stamp.read_text() == wanted: return modules/'node_modules/onnxruntime-web'
    npm = shutil.which('npm')
    if not npm or not shutil.which('node'):
        raise Missing('the demonstration needs Node and npm, to fetch ONNX Runtime Web: install Node 18 or newer')
    say('fetching ONNX Runtime Web: some 150 MB, once')
    modules.mkdir(parents=True, exist_ok=True)
    for name in ('package.json', 'package-lock.json', '.npmrc'): shutil.copy(HERE/name, modules)
    done = subprocess.run([npm, 'ci', '--no-progress'], cwd=modules, capture_output=True, text=True)
    said = (done.stdout + done.stderr)[-2000:]
    if done.returncode: raise Missing(f'npm ci ended with status {done.returncode}:\n{said}')
    stamp.write_text(wanted)
    return modules/'node_modules/onnxruntime-web'


def without_map(source):
    "A file without the line that names its source map, which is not there."
    head, mark, _ = source.rpartition(b'\n//# sourceMappingURL=')
    return head + b'\n' if mark else source


def draw_cells():
    "(class, number, seed, pixels (3, H, W)) of the dozen, class by class."
    from sparseattnnet.data.simulation import simulate, simulator_of
    sim = simulator_of('wbc')
    one = simulate(sim, [int(c == COURSE[0]) for c in sim.classes], first=COURSE[1], workers=1, progress=False)
    rest = simulate(sim, COUNTS, seed=SEED, workers=1, progress=False)
    named = [(c, int(i.rsplit('-', 1)[1]), seed, x) for s, seed in ((one, 0), (rest, SEED))
             for c, i, x in zip((s.class_names[y] for y in s.labels), s.ids, s.images)]
    return sorted(named, key=lambda c: sim.classes.index(c[0]))


def tested(run_id):
    "Accuracy and number of test images of a published run; {} where it has no record."
    from sparseattnnet.learn.store import load_runs
    found = [r['test'] for r in load_runs(ROOT/'outputs/reference') if r['run_id'] == run_id]
    return dict(accuracy=found[0]['accuracy'], images=found[0]['n']) if found else {}


def fill(to, run):
    "Write model, cells and data.json into a folder."
    from PIL import Image

    from sparseattnnet.deploy.steer import export_steered
    from sparseattnnet.use.trained import find_run
    say('writing and checking the model')
    card = export_steered(find_run(run), to)
    say('drawing the cells')
    cells, size = [], tuple(card['shape'][1:])
    for n, (label, number, seed, x) in enumerate(draw_cells()):
        if x.shape[1:] != size:
            raise ValueError(f'cells of {x.shape[1:]} pixels for a model of {size}: choose a run on simulated wbc')
        Image.fromarray(x.transpose(1, 2, 0)).save(to/f'cell{n:02d}.png', optimize=True)
        cells.append(dict(file=f'cell{n:02d}.png', label=label, number=number, seed=seed))
    facts = ('class_names', 'value_range', 'shape', 'trained_k', 'run_id', 'preset', 'pixel_um')
    data = {n: card[n] for n in facts} | dict(model=card['file'], cells=cells, tested=tested(card['run_id']))
    (to/'data.json').write_text(json.dumps(data, indent=1), encoding='utf-8')


def build(out, run=RUN):
    "Make the folder; Missing where Node is not there."
    t0, part = time.monotonic(), out.with_name(f'.{out.name}.part')
    ort = runtime(out.parent/'demo-npm')
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        for name in PAGE: shutil.copy(HERE/name, part)
        for name, short in RUNTIME.items(): (part/short).write_bytes(without_map((ort/'dist'/name).read_bytes()))
        fill(part, run)
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    finally: shutil.rmtree(part, ignore_errors=True)
    size = sum(f.stat().st_size for f in out.iterdir())/2**20
    say(f'{out} is ready ({size:.0f} MB, {time.monotonic() - t0:.0f} s): '
        f'serve it with  python3 -m http.server -d {out}')


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--out', type=Path, default=ROOT/'build/demo', help='the folder to make (default: build/demo)')
    ap.add_argument('--run', default=RUN, help='a run on simulated wbc, by folder or name')
    a = ap.parse_args(argv)
    warnings.simplefilter('ignore')
    try: build(a.out, a.run)
    except (Missing, ValueError, FileNotFoundError) as e:
        say(e)
        return 1
    return 0


if __name__ == '__main__': sys.exit(main())
