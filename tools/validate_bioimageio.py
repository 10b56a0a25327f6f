"""Let the BioImage.IO libraries judge packages: `python tools/validate_bioimageio.py model.bioimageio.zip …`

The libraries go into an environment of their own (default `build/bioimageio`, made the first time); nothing of the project is
installed there, so a package that passes runs without it. The judgement itself asks for no network.
"""
import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ('bioimageio.core==0.11.0', 'bioimageio.spec==0.5.12.0', 'pydantic<2.13', 'onnxruntime', 'torch')
JUDGE = """
import sys
from bioimageio.core import test_description
from bioimageio.spec import load_description
from bioimageio.spec.common import InvalidDescr
failed = 0
for path in sys.argv[1:]:
    made = load_description(path, format_version='discover', perform_io_checks=True)
    if isinstance(made, InvalidDescr):
        print(made.validation_summary.format())
        failed += 1
        continue
    print(f'{path}: format {made.format_version} holds')
    for weights in ('onnx', 'pytorch_state_dict'):
        summary = test_description(path, weight_format=weights, expected_type='model')
        errors = [e.msg for d in summary.details for e in d.errors]
        print(f'{path}: {weights} {summary.status}', *errors, sep='\\n  ')
        failed += summary.status not in ('passed', 'valid-format') or bool(errors)
sys.exit(min(failed, 1))
"""


def python_of(place):
    "The interpreter of an environment that holds the libraries; it is made where it is missing."
    python = place/('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    if not python.exists():
        print(f'making {place} …', file=sys.stderr, flush=True)
        venv.create(place, with_pip=True)
    found = subprocess.run([python, '-c', 'import bioimageio.core, onnxruntime, torch'], capture_output=True)
    if found.returncode: subprocess.run([python, '-m', 'pip', 'install', '-q', *NEEDED], check=True)
    return python


def main(argv=None):
    "Exit code 0 where every package holds, 1 where one fails."
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('packages', nargs='+', type=Path, metavar='ZIP')
    p.add_argument('--venv', type=Path, default=ROOT/'build'/'bioimageio', metavar='DIR', help='environment of the libraries')
    a = p.parse_args(argv)
    if absent := [str(f) for f in a.packages if not f.is_file()]: p.error(f"no such file: {', '.join(absent)}")
    return subprocess.run([python_of(a.venv), '-c', JUDGE, *map(str, a.packages)]).returncode


if __name__ == '__main__': sys.exit(main())
