#!/usr/bin/env python3
"""What the pages of nbs/paper show: outputs of executed notebooks, put into the pages that are committed.

    python tools/store_pages.py JOB … [--out outputs] [--root FOLDER]

A page of nbs/paper is stored with its smallest parameters, because tests run it. A reader should see real results: JOB is
a job of `make paper`, such as table1_opd_quick, whose executed notebook lies in outputs/notebooks. Its outputs go into
the page, cell by cell, by id. Under the cell with the parameters stands what was passed. Left out are streams to stderr,
widgets, and lines with a path of this machine. Pictures are reduced to 256 colours. A page of the smoke profile says
that it is a rehearsal, and whether better results are published."""
import argparse
import base64
import io
import json
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from lint_notebooks import MACHINE_PATH, join  # noqa: E402

KEPT = ('text/markdown', 'text/html', 'text/plain', 'image/png', 'image/svg+xml')


def few_colours(data):
    "A PNG in base64 with at most 256 colours."
    from sparseattnnet.reproduce.main import small_picture
    out = io.BytesIO()
    small_picture(io.BytesIO(base64.b64decode(join(data))), out)
    return base64.b64encode(out.getvalue()).decode()


def kept_output(o):
    "An output as it is stored, None where nothing of it is."
    if o['output_type'] == 'stream':
        lines = [l for l in join(o['text']).splitlines(True) if not MACHINE_PATH.search(l)]
        return dict(output_type='stream', name='stdout', text=lines) if o['name'] == 'stdout' and lines else None
    if o['output_type'] == 'error': raise ValueError(f"an executed cell holds the error {o['ename']}: {o['evalue']}")
    if any('widget' in k for k in o['data']): return None
    data = {k: join(v).splitlines(True) for k, v in o['data'].items() if k in KEPT and k != 'image/png'}
    if 'image/png' in o['data']: data['image/png'] = few_colours(o['data']['image/png'])
    if not data or any(MACHINE_PATH.search(join(v)) for k, v in data.items() if k.startswith('text')): return None
    number = dict(execution_count=None) if o['output_type'] == 'execute_result' else {}
    return dict(output_type=o['output_type'], data=data, metadata={}, **number)


REHEARSAL = (' This is a **smoke run**, a rehearsal of seconds on a few images: it shows what the page draws, and says nothing'
    ' about the models.')
LACKING = (' No result of a longer run with today\'s code is published for this page: what older code gave was withdrawn.'
    ' `make paper ARTEFACTS={}` makes it.')


def remark(about, page, root):
    "What a reader must know of a page that was made in the smoke profile; '' in another."
    from sparseattnnet.reproduce.runner import notebook_parameters
    if (notebook_parameters(page) | about['parameters']).get('profile') != 'smoke': return ''
    longer = {Path(f).name.replace('_smoke', f'_{p}') for f in about.get('artefacts', ()) for p in ('quick', 'converged')}
    there = any((root/'outputs/reference'/f).is_file() for f in longer)
    return REHEARSAL + ('' if there else LACKING.format(about.get('kind') or page.stem))


def store(page, executed, given, remark=''):
    "Put the outputs of an executed notebook into a page; ValueError where a cell's source has changed since."
    nb, done = (json.loads(p.read_text(encoding='utf-8')) for p in (page, executed))
    by_id = {c['id']: c for c in done['cells'] if c['cell_type'] == 'code'}
    for c in nb['cells']:
        if c['cell_type'] != 'code': continue
        tagged, made = 'parameters' in c['metadata'].get('tags', ()), by_id.get(c['id'])
        if made is None or join(made['source']) != join(c['source']):
            raise ValueError(f"{page.name}: cell {c['id']} is not what {executed.name} ran: run the job again")
        c['outputs'] = [k for o in made['outputs'] if (k := kept_output(o))]
        if tagged:
            said = ', '.join(f'`{k}={v!r}`' for k, v in sorted(given.items())) or 'the defaults'
            text = f'The outputs on this page were made with {said}.{remark}'
            c['outputs'] = [dict(output_type='display_data', data={'text/markdown': [text]}, metadata={})]
    part = page.with_name(f'.{page.stem}.{os.getpid()}')
    part.write_text(json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=False) + '\n', encoding='utf-8')
    os.replace(part, page)


def passed(about, page):
    "What a job passed to its page and is not the page's default; folders and devices are left out."
    from sparseattnnet.reproduce.runner import notebook_parameters
    defaults = notebook_parameters(page)
    return {k: v for k, v in about['parameters'].items()
        if v != defaults.get(k) and k not in ('out', 'device', 'folder') and not MACHINE_PATH.search(str(v))}


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('jobs', nargs='+', help='jobs whose executed notebooks are stored, e.g. table1_opd_quick')
    ap.add_argument('--out', type=Path, default=Path('outputs'), help='folder for results')
    ap.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[1], help='the project')
    a = ap.parse_args(argv)
    for job in a.jobs:
        executed = a.out/'notebooks'/f'{job}.ipynb'
        if not executed.is_file():
            print(f'{job}: no {executed.name} in {a.out}/notebooks; run it with `make paper` first')
            return 1
        about = json.loads(executed.with_name(f'{job}.job.json').read_text(encoding='utf-8'))
        page = a.root/about['notebook']
        try: store(page, executed, passed(about, page), remark(about, page, a.root))
        except ValueError as e:
            print(f'{job}: {e}')
            return 1
        print(f'{page.relative_to(a.root).as_posix()}: outputs of {job}')
    return 0


if __name__ == '__main__': sys.exit(main())
