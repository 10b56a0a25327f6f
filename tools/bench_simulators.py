#!/usr/bin/env python3
"""Images a second of each simulator on one core, truth included.

    python tools/bench_simulators.py [--out speed.json] [--rounds 5] [--images 24]

Medians over rounds that go over all simulators in turn; the record holds machine, versions and commit. A time is no
test: nothing here fails because a machine is slow."""
import argparse
import os

for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'): os.environ[name] = '1'

from sparseattnnet.data.simulation import simulator_speed  # noqa: E402
from sparseattnnet.learn.records import environment, write_json  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--out', default='', help='JSON file for the record; default none')
    p.add_argument('--rounds', type=int, default=5, help='rounds over all simulators')
    p.add_argument('--images', type=int, default=24, help='images a round and simulator')
    a = p.parse_args()
    rows = simulator_speed(n=a.images, rounds=a.rounds)
    for r in rows: print(f"{r['simulator']:6s} {r['median']:6.1f} images/s on one core ({r['least']:.1f} … {r['most']:.1f})")
    if a.out: write_json(a.out, dict(environment=environment('cpu'), rows=rows))


if __name__ == '__main__': main()
