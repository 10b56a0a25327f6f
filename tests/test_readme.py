"""README.md is rendered from the stored index: what is dropped, how links move, what is refused."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1]/'tools'
sys.path.insert(0, str(TOOLS))
from readme import main, move_link, move_links, render  # noqa: E402


def cell(kind, source, tags=(), outputs=()):
    c = dict(cell_type=kind, id=f'c{abs(hash(source))}', metadata={'tags': list(tags)}, source=source)
    return c | dict(outputs=list(outputs), execution_count=None) if kind == 'code' else c


def result(**data): return dict(output_type='display_data', data={k.replace('_', '/'): v for k, v in data.items()}, metadata={})


def project(root, *cells):
    (root/'nbs'/'method').mkdir(parents=True)
    (root/'nbs'/'method'/'coarse.ipynb').touch()
    nb = dict(cells=list(cells), metadata={'kernelspec': {'name': 'python3', 'display_name': 'python3', 'language': 'python'}}, nbformat=4, nbformat_minor=5)
    (root/'nbs'/'index.ipynb').write_text(json.dumps(nb))
    return root


@pytest.mark.parametrize('link,there', [
    ('method/coarse.ipynb', 'nbs/method/coarse.ipynb'), ('../outputs/reference/a.svg', 'outputs/reference/a.svg'),
    ('../LICENSE', 'LICENSE'), ('method/', 'nbs/method/'), ('method/coarse.ipynb#half', 'nbs/method/coarse.ipynb#half'),
    ('#top', '#top'), ('https://example.org/x', 'https://example.org/x'), ('mailto:a@example.org', 'mailto:a@example.org')])
def test_move_link(link, there): assert move_link(link) == there


def test_link_out_of_the_repository():
    with pytest.raises(ValueError, match='leaves the repository'): move_link('../../elsewhere')


def test_links_in_code_stay():
    text = 'See [a](method/a.ipynb), `[b](b)`, <img src="../outputs/c.svg" alt="c">.\n\n```\n[d](d)\n```\n\n[e](e.ipynb) `x`\n\n[ref]: method/f.ipynb\n'
    assert move_links(text) == ('See [a](nbs/method/a.ipynb), `[b](b)`, <img src="outputs/c.svg" alt="c">.\n\n```\n[d](d)\n```\n\n'
                                '[e](nbs/e.ipynb) `x`\n\n[ref]: nbs/method/f.ipynb\n')


def test_render(tmp_path):
    root = project(tmp_path,
        cell('markdown', '# Title\n\n> One line.'), cell('markdown', 'Hidden prose', ['hide']), cell('code', '#| hide\nsecret = 1'),
        cell('code', '#| echo: false\ntable()', outputs=[result(text_markdown='| a |\n|---|\n| [c](method/coarse.ipynb) |', text_plain='<object>')]),
        cell('code', '#| label: x\nshow(2)', outputs=[result(text_plain='2')]), cell('code', '#| output: false\nquiet()', outputs=[result(text_plain='noise')]))
    text = render(root/'nbs'/'index.ipynb')
    assert text.startswith('<!-- rendered from nbs/index.ipynb by make readme; do not edit -->\n\n# Title\n\n> One line.\n')
    assert '| [c](nbs/method/coarse.ipynb) |' in text
    assert 'show(2)' in text and 'quiet()' in text
    for gone in ('secret', 'Hidden', 'table()', '<object>', 'noise', '#|', '```python\n```'): assert gone not in text


@pytest.mark.parametrize('output,why', [(result(image_png='iVBOR'), 'holds a picture'), (dict(output_type='stream', name='stderr', text='w'), 'stderr')])
def test_refused_outputs(tmp_path, output, why):
    root = project(tmp_path, cell('markdown', '# T'), cell('code', 'x', outputs=[output]))
    with pytest.raises(ValueError, match=why): render(root/'nbs'/'index.ipynb')


def test_write_and_check(tmp_path, capsys):
    root = project(tmp_path, cell('markdown', '# T'), cell('markdown', '[c](method/coarse.ipynb)'))
    args = ['--root', str(root)]
    assert main(args + ['--check']) == 1
    assert main(args) == 0
    assert main(args + ['--check']) == 0
    (root/'README.md').write_text('edited by hand')
    assert main(args + ['--check']) == 1
    assert 'run `make readme`' in capsys.readouterr().out
    assert [p.name for p in root.iterdir() if p.name.startswith('.')] == []


def test_dead_link_fails_the_check(tmp_path, capsys):
    root = project(tmp_path, cell('markdown', '# T'), cell('markdown', '[c](method/gone.ipynb)'))
    main(['--root', str(root)])
    assert main(['--root', str(root), '--check']) == 1
    assert 'nbs/method/gone.ipynb is linked but not there' in capsys.readouterr().out


def test_no_index_is_said(tmp_path):
    run = subprocess.run([sys.executable, '-B', str(TOOLS/'readme.py'), '--check', '--root', str(tmp_path)], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, 'nbs/index.ipynb does not exist yet: nothing to render\n')
