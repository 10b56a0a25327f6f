"""Class names as laboratories write them, through tables and figures; parameters as papermill passes them."""
import csv
import re
from io import StringIO

import matplotlib
import numpy as np
import pandas as pd
import pytest

from sparseattnnet.judge.figures import house_style, literal, save_figure, show_image
from sparseattnnet.judge.tables import (
    latex,
    literal_markdown,
    markdown,
    table_caption,
    write_recall,
)
from sparseattnnet.learn import records as R
from sparseattnnet.learn.metrics import confusion_figure
from sparseattnnet.reproduce.runner import ParameterError, check_injected, check_parameters

matplotlib.use('Agg')
NAMES = ['Ba$$o', 'CD4$^+$', 'CD4|CD8', 'a_b & 50 %', 'γδ-T', '<b>x</b>', '*_z_*', r'a\nb {x}', '~^#1', 'B, "naive"', '[x](y)', '`c`', '&lt;']
IDS = [f'{i:02d}' for i in range(len(NAMES))]


def figure(*size):
    import matplotlib.pyplot as plt
    house_style()
    return plt.subplots(1, 1, figsize=size or (4, 4))


def drawn(fig, folder):
    "The texts of a figure, as an SVG has them."
    from xml.etree import ElementTree
    path, = save_figure(fig, folder/'figure', ('svg',))
    save_figure(fig, folder/'figure', ('png',))
    return [''.join(t.itertext()) for t in ElementTree.parse(path).iter('{http://www.w3.org/2000/svg}text')]


# --- figures ----------------------------------------------------------------------------------------------------------

def test_confusion_matrix_shows_every_name(tmp_path):
    fig, ax = figure(6, 6)
    confusion_figure(ax, np.eye(len(NAMES), dtype=int), NAMES)
    texts = drawn(fig, tmp_path)
    assert {n: texts.count(n) for n in NAMES} == dict.fromkeys(NAMES, 2)


@pytest.mark.parametrize('name', NAMES + ['$', '$$', r'\$a$', 'cost: 5 $'])
def test_title_of_an_image(tmp_path, name):
    fig, ax = figure()
    show_image(ax, np.zeros((8, 8)), name)
    assert drawn(fig, tmp_path) == [name]


def test_names_of_channels(tmp_path):
    fig, ax = figure()
    show_image(ax, np.zeros((2, 8, 8)), channel='strip', names=('CD4$^+$', 'Ba$$o'))
    assert drawn(fig, tmp_path) == ['CD4$^+$ | Ba$$o']


def test_literal_leaves_a_formula_to_those_who_want_one(tmp_path):
    fig, ax = figure()
    ax.set(xticks=[], yticks=[], title='$k_2$', xlabel=literal('$k_2$'))
    texts = drawn(fig, tmp_path)
    assert '$k_2$' in texts and texts.count('$k_2$') == 1


# --- tables -----------------------------------------------------------------------------------------------------------

def html(text):
    from mistune import create_markdown
    return create_markdown(plugins=['table', 'strikethrough', 'math'])(text)


def shown(text):
    "Cells of the one table in a Markdown text, as a reader sees them."
    from html import unescape
    page = html(text)
    return [[unescape(re.sub('<[^>]*>', '', c)) for c in re.findall('<t[dh][^>]*>(.*?)</t[dh]>', row, re.S)]
            for row in re.findall('<tr>(.*?)</tr>', page, re.S)]


def test_markdown_shows_every_name_in_one_column():
    frame = pd.DataFrame({'class': [literal_markdown(n) for n in NAMES], 'n': range(len(NAMES))})
    assert shown(markdown(frame)) == [['class', 'n'], *([n, str(i)] for i, n in enumerate(NAMES))]


def test_no_tag_and_no_emphasis_comes_out_of_a_name():
    for n in NAMES: assert not re.search('<(b|em|strong|a|code|del|div|span)[ >]', html(f'classes {literal_markdown(n)};')), n


def test_markdown_keeps_a_table_whole_that_nobody_escaped():
    table = markdown(pd.DataFrame({'a|b': ['CD4|CD8', 'two\nlines', r'already\|escaped'], 'n': [1, 2, None]}))
    assert len(table.splitlines()) == 5
    assert shown(table) == [['a|b', 'n'], ['CD4|CD8', '1.0'], ['two lines', '2.0'], ['already|escaped', '—']]


@pytest.mark.parametrize('name,written', [
    ('Ba$$o', r'Ba\$\$o'), ('CD4$^+$', r'CD4\$\textasciicircum{}+\$'), ('CD4|CD8', r'CD4\textbar{}CD8'), ('a_b & 50 %', r'a\_b \& 50 \%'),
    ('γδ-T', r'$\gamma$$\delta$-T'), ('Δ', r'$\Delta$'), ('<b>', r'\textless{}b\textgreater{}'), (r'a\nb {x}', r'a\textbackslash{}nb \{x\}'),
    ('~^#1', r'\textasciitilde{}\textasciicircum{}\#1'), ('[x]', '{[}x]'), ('*', '{*}'), ('two\nlines', 'two lines'), ('90 ± 1', r'90 $\pm$ 1')])
def test_latex_escapes(name, written):
    assert latex(pd.DataFrame({'class': [name], 'n': [1]})).splitlines()[4] == written + r' & 1 \\'


def run():
    "The record of a run whose classes have those names."
    k = len(NAMES)
    record = dict(run_id='r', dataset='folder-x', dataset_title='cells_1 <i> #1', simulated=False, class_names=NAMES, data_fingerprint='f', split_hash='s',
                  split_counts=dict(train=k, val=k, test=k), profile='smoke', protocol='strict', seed=0, model='sparseattnnet', preset='corrected',
                  test=dict(per_class={n: dict(support=1) for n in NAMES}))
    return record


def test_recall_and_caption_carry_the_names(tmp_path, monkeypatch):
    from sparseattnnet.judge import tables
    record = run()
    Predictions = type('P', (), dict(ids=IDS, labels=np.arange(len(NAMES)), predicted=np.arange(len(NAMES))))
    monkeypatch.setattr(tables, 'run_predictions', lambda record, runs: Predictions)
    monkeypatch.setattr(R, 'write_provenance', lambda *a, **k: None)
    table, page = write_recall([record], tmp_path, tmp_path/'recall')
    rows = list(csv.DictReader(StringIO(table.read_text(encoding='utf-8'))))
    assert [r['class'] for r in rows if r['rows'] == 'pooled'] == NAMES
    assert [row[2] for row in shown(page.read_text(encoding='utf-8'))[1:]] == NAMES
    caption = table_caption([record])
    from html import unescape
    text = unescape(re.sub('<[^>]*>', '', html(caption)))
    assert text.startswith('cells_1 <i> #1: real images, classes ' + ', '.join(NAMES) + '; 13 test images')


# --- parameters as papermill passes them ------------------------------------------------------------------------------

PAGE = 'dataset:str = "opd"\nsize:int = 0\npixel_um:float = 0.\npretrained:bool = False'


def page(*given):
    check_injected(dict(In=['', PAGE, '# Parameters\n' + '\n'.join(given) + '\n', 'size + 1']))


def test_parameters_that_fit():
    page('dataset = "folder"', 'size = 64', 'pixel_um = 1', 'pretrained = True')
    check_injected({})
    check_injected(dict(In=['', PAGE, 'size = "own cell, no parameters"']))


@pytest.mark.parametrize('given,said', [
    ('size = None', "size=None is of type NoneType, expected int; leave it out to take the default, 0"),
    ('dataset = None', "dataset=None is of type NoneType, expected str; leave it out to take the default, 'opd'"),
    ('pretrained = None', 'pretrained=None'), ('pixel_um = None', 'pixel_um=None'),
    ('dataset = 2024', 'dataset=2024 is of type int, expected str'), ('size = "64"', "size='64' is of type str, expected int"),
    ('size = ""', "size='' is of type str"), ('size = 64.0', 'size=64.0'), ('size = True', 'size=True is of type bool'),
    ('dataset = []', 'dataset=[]'), ('sizes = 64', "no parameter 'sizes': choose from dataset, size, pixel_um, pretrained")])
def test_parameters_that_do_not_fit(given, said):
    with pytest.raises(ParameterError, match=re.escape(said)): page('pixel_um = .1', given)


def test_our_own_runner_says_the_same(tmp_path):
    import nbformat
    from nbformat import v4
    file = tmp_path/'page.ipynb'
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(PAGE, metadata=dict(tags=['parameters'])),
                                          v4.new_code_cell('dataset, size, pixel_um, pretrained')]), file)
    with pytest.raises(ParameterError, match='page.ipynb: size=None .* leave it out'): check_parameters(file, dict(size=None))


def test_papermill_alone_stops_at_a_null(tmp_path):
    papermill = pytest.importorskip('papermill')
    import nbformat
    from nbformat import v4
    check = 'from sparseattnnet.reproduce.runner import check_injected\ncheck_injected(globals())'
    file = tmp_path/'page.ipynb'
    nb = v4.new_notebook(cells=[v4.new_code_cell(PAGE, metadata=dict(tags=['parameters'])), v4.new_code_cell(check)],
                         metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python')))
    nbformat.write(nb, file)
    with pytest.raises(papermill.PapermillExecutionError, match='size=None is of type NoneType'):
        papermill.execute_notebook(file, tmp_path/'out.ipynb', dict(size=None), progress_bar=False)
