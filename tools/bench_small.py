"""How fast the small presets are: `python tools/bench_small.py outputs/tables/speed_small.json`

For a quiet machine, some two minutes. `guided-edge`, `edge` and three dense rivals, each in every engine that runs it, in the
same rounds: one image on one thread, and a batch of 64 on all cores. The ratios are medians over rounds with their interval.
`nbs/paper/bars.ipynb` reads the file, once it is published."""
import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('out', type=Path, help='JSON file to write')
    p.add_argument('--rounds', type=int, default=60, help='rounds of each setting (default 60)')
    a = p.parse_args()
    from sparseattnnet.deploy import bench as D
    from sparseattnnet.learn import records as R
    from sparseattnnet.studies import benchmark as B
    who = (D.Rival('sparseattnnet', 'guided-edge'), D.Rival('sparseattnnet', 'edge'), D.Rival('dense_cnn'), D.Rival('tiny_cnn'),
        D.Rival('mobilenet_v2'))
    entered, missing = D.entries(who, ('fast', 'onnxruntime', 'openvino'))
    settings = D.Setting('', threads=1, batch=1), D.Setting('', threads=B.cores(), batch=B.PAPER_BATCH)
    rows = []
    for s in settings: rows += D.contest(entered, s, a.rounds, 2 if s.batch == 1 else 0)
    R.write_json(a.out, dict(environment=R.environment(), missing=missing, rows=rows))
    R.write_provenance(a.out, (), dict(rounds=a.rounds), 'tools/bench_small.py')
    for r in rows:
        if r['fastest']:
            ratios = ', '.join(f"{n} {v[0]:.2f}" for n, v in r['against'].items() if n != r['name'])
            print(f"batch {r['batch']}, {r['threads']} threads: {r['name']} in {r['engine']}: {r['images_per_s']:,.0f} images/s; "
                f"times as fast as {ratios}")
    print(json.dumps(missing) if missing else f'written to {a.out}')


if __name__ == '__main__': main()
