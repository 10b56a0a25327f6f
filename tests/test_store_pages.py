"Outputs of executed notebooks get into the pages that are committed: by id, without this machine, never beside other code."
import base64
import io
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import store_pages  # noqa: E402

PAGE = 'nbs/paper/toy.ipynb'


def code(id, source, *outputs, tags=()):
    meta = {'tags': list(tags)} if tags else {}
    return dict(cell_type='code', id=id, metadata=meta, source=source, outputs=list(outputs), execution_count=None)


def text(s, **more): return dict(output_type='execute_result', data={'text/plain': s, **more}, metadata={}, execution_count=7)


def picture():
    out = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert('RGB').save(out, 'PNG')
    return base64.b64encode(out.getvalue()).decode()


@pytest.fixture
def project(tmp_path):
    cells = code('aa', "dataset:str = 'opd'\nprofile:str = 'smoke'\nout:str = ''", tags=['parameters']), code('bb', 'dataset, profile, out')
    ran = [code('aa', cells[0]['source'], tags=['parameters']), code('injected', "profile = 'quick'"), code('bb', cells[1]['source'],
        text('42'), dict(output_type='stream', name='stderr', text='a warning'),
        dict(output_type='stream', name='stdout', text='kept\nwritten to /home/somebody/x\n'),
        text('bar', **{'application/vnd.jupyter.widget-view+json': {}}),
        dict(output_type='display_data', data={'image/png': picture()}, metadata={}))]
    for at, cells in ((PAGE, cells), ('outputs/notebooks/toy_quick.ipynb', ran)):
        (tmp_path/at).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/at).write_text(json.dumps(dict(cells=list(cells), metadata={}, nbformat=4, nbformat_minor=5)))
    (tmp_path/'outputs/notebooks/toy_quick.job.json').write_text(json.dumps(dict(notebook=PAGE,
        parameters=dict(dataset='opd', profile='quick', out='/home/somebody'))))
    return tmp_path


def run(project, job='toy_quick'): return store_pages.main([job, '--root', str(project), '--out', str(project/'outputs')])


def test_outputs_get_into_the_page(project):
    assert run(project) == 0
    first, second = json.loads((project/PAGE).read_text())['cells']
    assert first['outputs'][0]['data']['text/markdown'] == ["The outputs on this page were made with `profile='quick'`."]
    value, stream, image = second['outputs']
    assert (value['data'], value['execution_count']) == ({'text/plain': ['42']}, None)
    assert stream['text'] == ['kept\n']
    assert Image.open(io.BytesIO(base64.b64decode(image['data']['image/png']))).mode == 'P'


@pytest.mark.parametrize('published', [False, True])
def test_a_smoke_run_says_that_it_is_a_rehearsal(project, published):
    job = project/'outputs/notebooks/toy_quick.job.json'
    job.write_text(json.dumps(dict(notebook=PAGE, parameters=dict(profile='smoke'), artefacts={'tables/toy_smoke.md': ''})))
    if published:
        (project/'outputs/reference').mkdir()
        (project/'outputs/reference/toy_quick.md').touch()
    assert run(project) == 0
    said = json.loads((project/PAGE).read_text())['cells'][0]['outputs'][0]['data']['text/markdown'][0]
    assert said.startswith('The outputs on this page were made with the defaults. This is a **smoke run**')
    assert ('`make paper ARTEFACTS=toy` makes it' in said) == (not published)


def test_a_page_that_has_changed_since(project, capsys):
    nb = json.loads((project/PAGE).read_text())
    nb['cells'][1]['source'] += ' # other'
    (project/PAGE).write_text(json.dumps(nb))
    before = (project/PAGE).read_text()
    assert run(project) == 1 and 'cell bb is not what toy_quick.ipynb ran' in capsys.readouterr().out
    assert (project/PAGE).read_text() == before


def test_a_job_that_has_not_run(project, capsys):
    assert run(project, 'toy_full') == 1 and 'run it with `make paper` first' in capsys.readouterr().out
