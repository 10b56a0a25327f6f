"""How fast `predict` is beside its own engine, and how late `--watch` is: `python tools/bench_predict.py build/bench --run RUN`

For a quiet machine. Two questions, each with bars that are printed with the answer:

- throughput: images per second of `predict_proba` on one array in memory, and of `write_table` (what `sparseattnnet predict`
  calls) on the same images as one NPY file with a stack, and as an NPY file for each, all divided by what the engine alone does
  with images that are already prepared. The bar is 90 %, for the array and for the stack; the files are told beside it.
- latency: from the moment in which a file is whole to its row in the table, of `watch_folder`. A thread writes one file after
  another, each into a hidden name and renamed, as a careful instrument does.

`--png N` asks a third one instead: N small PNG files (64 px) through the command itself, with one worker and with two: wall time,
peak memory, the share of decoding, and whether both tables are the same bytes. The files are removed afterwards.

The ways are timed in turn, round after round, so that a machine that grows warm is unfair to none; medians over the rounds.
The seconds of the processor are told as well. They say what a way costs on a machine that does other work, too.
Without `--run` a network with first weights is timed: its speed does not depend on what it has learned."""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from threading import Thread

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
BAR = .9
BARRED = 'memory', 'stack' # the ways that the bar is for


def fresh(folder, side):
    "A checkpoint of preset `guided` with first weights, for grey images of `side` pixels."
    from sparseattnnet.learn.records import save_checkpoint
    from sparseattnnet.method.model import SparseAttnNet, config_to_dict, preset
    torch.manual_seed(0)
    net = SparseAttnNet(preset('guided', channels=1, classes=3)).eval()
    save_checkpoint(net, folder, dict(config=config_to_dict(net.config), class_names=['a', 'b', 'c'], value_range=[0., 255.],
        k=max(1, side*side//16), channels=1, size=[side, side]))
    return folder


def images_for(model, n):
    "Noise as the model takes it, uint8 (n, C, H, W)."
    return np.random.default_rng(0).integers(0, 255, (n, model.channels, *model.size), dtype=np.uint8)


def engine_alone(model, x, engine):
    "The engine on images that are prepared and in memory, in the batches that `predict` uses."
    from sparseattnnet.use.trained import _probabilities
    for i in range(0, len(x), 64): _probabilities(model, x[i:i + 64], engine)


def throughput(model, folder, n, rounds, engine):
    "Images per second of each way, round after round; seconds of decoding and computing of the last table."
    from sparseattnnet.use.trained import predict_proba
    from sparseattnnet.use.verdicts import Asked, write_table
    x = images_for(model, n)
    files, stack = folder/'npy', folder/'stack.npy'
    files.mkdir()
    for i, a in enumerate(x): np.save(files/f'{i:06d}.npy', a if len(a) > 1 else a[0])
    np.save(stack, x)
    ready, said = model.prepare(x), {}

    def table(source):
        said.update(write_table(model, source, folder/'table.csv', Asked(engine=engine)))
        assert said['images'] == n and not said['without_verdict'], said
        (folder/'table.csv').unlink()

    ways = dict(engine=lambda: engine_alone(model, ready, engine), memory=lambda: predict_proba(model, x, engine), stack=lambda: table(stack),
        npy=lambda: table(files))
    wall, cpu = ({w: [] for w in ways} for _ in range(2))
    engine_alone(model, ready[:128], engine)
    for _ in range(rounds):
        for w, work in ways.items():
            t0, c0 = time.perf_counter(), time.process_time()
            work()
            wall[w].append(n/(time.perf_counter() - t0))
            cpu[w].append(n/(time.process_time() - c0))
    shares, of_cpu = ({w: round(median(a/b for a, b in zip(rates[w], rates['engine'])), 3) for w in ways if w != 'engine'} for rates in (wall, cpu))
    return dict(images=n, rounds=rounds, engine=engine, images_per_s={w: round(median(v), 1) for w, v in wall.items()},
        share_of_engine=shares, share_of_engine_by_cpu_time=of_cpu, passed={w: shares[w] >= BAR for w in BARRED},
        each_round={w: [round(r, 1) for r in v] for w, v in wall.items()}, each_round_by_cpu_time={w: [round(r, 1) for r in v] for w, v in cpu.items()},
        decoding_s=round(said['decoding'], 3), computing_s=round(said['computing'], 3))


def latency(model, folder, n, rounds, gap):
    "Seconds from a whole file to its row: median and 95th percentile of each round."
    from sparseattnnet.use.verdicts import Asked
    from sparseattnnet.use.watch import Watching, watch_folder
    x, each = images_for(model, n), []
    for r in range(rounds):
        place = folder/f'watched{r}'
        place.mkdir()

        def arrive():
            time.sleep(1)
            for i, a in enumerate(x):
                hidden = place/f'.{i:04d}.npy'
                np.save(hidden, a if len(a) > 1 else a[0])
                os.replace(hidden, place/f'{i:04d}.npy')
                time.sleep(gap)

        writer = Thread(target=arrive)
        writer.start()
        found = watch_folder(model, place, folder/f'watched{r}.csv', Asked(engine='torch'), Watching(idle=3))
        writer.join()
        assert found['rows'] == n, found
        each.append([float(np.quantile(found['latencies'], q)) for q in (.5, .95)])
    return dict(files=n, rounds=rounds, seconds_between_files=gap, settle_s=Watching().settle,
        median_s=round(median(m for m, _ in each), 3), p95_s=round(median(p for _, p in each), 3),
        each_round=[[round(v, 3) for v in e] for e in each])


def many_png(run, folder, n):
    "What `sparseattnnet predict` needs for n PNG files, with one worker and with two."
    from PIL import Image
    from sparseattnnet.use.trained import load
    x, out = images_for(load(run, 'cpu'), min(n, 500)), {}
    for i in range(n):
        place = folder/'png'/f'{i//1000:03d}'
        if i % 1000 == 0: place.mkdir(parents=True)
        a = x[i % len(x)].copy()
        a[:, 0, 0] = i % 256, *(i//256 % 256,)*(len(a) - 1)
        Image.fromarray(a[0] if len(a) == 1 else a.transpose(1, 2, 0)).save(place/f'{i:06d}.png', compress_level=1)
    for w in (1, 2):
        call = [sys.executable, '-m', 'sparseattnnet.use.command', 'predict', str(run), str(folder/'png'), '-o', str(folder/f'{w}.csv'), '--workers', str(w), '--json']
        t0 = time.perf_counter()
        made = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | dict(PYTHONPATH=str(ROOT), TQDM_DISABLE='1'))
        assert made.returncode == 0, made.stderr[-2000:]
        said = json.loads(made.stdout)
        out[f'workers_{w}'] = dict(seconds=round(time.perf_counter() - t0, 1), images_per_s=round(n/(time.perf_counter() - t0), 1),
            waiting_for_decoding=round(said['decoding']/(said['decoding'] + said['computing']), 3), engine=said['engine'], rows=said['images'],
            peak_mib_so_far=round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024))
    out['same_bytes'] = (folder/'1.csv').read_bytes() == (folder/'2.csv').read_bytes()
    return dict(images=n) | out


def main(argv=None):
    "Exit code 0 where the array and the stack reach the bar."
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('folder', type=Path, metavar='DIR', help='where bench_predict.json is written')
    p.add_argument('--run', default='', help='a run (default: first weights)')
    p.add_argument('--side', type=int, default=64, help='side of the images without --run, px (default 64)')
    p.add_argument('--images', type=int, default=20_000, metavar='N', help='images of a round (default 20000)')
    p.add_argument('--files', type=int, default=100, metavar='N', help='files that arrive in a round (default 100)')
    p.add_argument('--gap', type=float, default=.2, metavar='S', help='seconds between two files (default 0.2)')
    p.add_argument('--rounds', type=int, default=5, metavar='N', help='rounds (default 5)')
    p.add_argument('--engine', default='fast', choices=('fast', 'torch'))
    p.add_argument('--png', type=int, default=0, metavar='N', help='only classify N PNG files through the command (once: 100000)')
    a = p.parse_args(argv)
    from sparseattnnet.learn.records import environment, write_json
    from sparseattnnet.use.trained import load
    a.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=a.folder) as d:
        run = a.run or fresh(Path(d)/'run', a.side)
        if a.png:
            write_json(a.folder/'bench_png.json', found := many_png(run, Path(d), a.png) | dict(load=list(os.getloadavg()), environment=environment()))
            print(json.dumps({n: v for n, v in found.items() if n != 'environment'}, indent=1))
            return int(not found['same_bytes'])
        model = load(run, 'cpu')
        found = dict(model=model.card['sha256'], size=list(model.size), k=model.k, load=list(os.getloadavg()),
            throughput=throughput(model, Path(d), a.images, a.rounds, a.engine),
            latency=latency(model, Path(d), a.files, a.rounds, a.gap), environment=environment())
    write_json(a.folder/'bench_predict.json', found)
    t, late = found['throughput'], found['latency']
    print(f"{t['images']:,} images of {' × '.join(map(str, model.size))} pixels, engine {t['engine']}, medians of {a.rounds} rounds in turn; "
        f"load before: {found['load'][0]:.1f}")
    titles = dict(engine='the engine alone', memory='predict_proba, array in memory', stack='predict, one NPY with a stack', npy='predict, an NPY for each image')
    for w, title in titles.items():
        share = '' if w == 'engine' else (f", {100*t['share_of_engine'][w]:.0f} % of the engine, by time of the processor "
            f"{100*t['share_of_engine_by_cpu_time'][w]:.0f} %")
        bar = '' if w not in t['passed'] else f" ({'reaches' if t['passed'][w] else 'misses'} {100*BAR:.0f} %)"
        print(f"  {title:<31}{t['images_per_s'][w]:>9,.0f} images/s{share}{bar}")
    print(f"watch: {late['files']} files per round, {late['median_s']:.2f} s (95th percentile {late['p95_s']:.2f} s) from a whole file to its row; "
        f"{late['settle_s']:g} s of it is waiting")
    print(json.dumps(dict(passed=all(t['passed'].values()))))
    return int(not all(t['passed'].values()))


if __name__ == '__main__': sys.exit(main())
