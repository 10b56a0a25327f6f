"""The web site's pages: what nbdev's lines, equations, exercises and links become, and what stops the build."""
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import build_site  # noqa: E402
import site_api  # noqa: E402
from site_pages import PIECES, Site, SiteError, contents, equation, write_all  # noqa: E402

PICTURE = dict(output_type='display_data', data={'image/png': 'iVBORw0KGgo=', 'text/plain': '<Figure>'}, metadata={})


def md(text): return dict(cell_type='markdown', id=f'm{abs(hash(text)) % 10**7}', metadata={}, source=text)


def py(text, *outputs, tags=()): return dict(cell_type='code', id=f'c{abs(hash(text)) % 10**7}', metadata=dict(tags=list(tags)), source=text, outputs=list(outputs), execution_count=None)


@pytest.fixture
def project(tmp_path):
    "A small project: an index, two pages of the method, one module, one result."
    def put(path, *cells):
        (tmp_path/path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/path).write_text(json.dumps(dict(cells=list(cells), metadata={}, nbformat=4, nbformat_minor=5)), encoding='utf-8')

    put('nbs/index.ipynb', md('# Front'), md('Read [it](method/03_coarse.ipynb).'))
    put('nbs/method/03_coarse.ipynb', md('# Coarse'), md('$$F = f(I) \\tag{2}$$'), py('#| export\ndef f(x): return x'))
    put('nbs/method/05_fine.ipynb', md('# Fine'))
    (tmp_path/'sparseattnnet/method').mkdir(parents=True)
    (tmp_path/'sparseattnnet/method/coarse.py').write_text('"What is coarse."\n__all__ = ["widen_it", "edge", "Map"]\n'
        'def edge(): "No word to link."\ndef widen_it(\n    x:int=1, # the width | in pixels\n    *,\n    deep:bool=False, # go on\n)->int: # the new width\n    "Make it wider, as in Eq. 2."\n    return x\n\n'
        'class Map:\n    "A map."\n    def __init__(self,\n        w:int, # width\n    ): pass\n\n@patch\ndef look(self:Map,\n    at:int, # where\n):\n    "Look at it."\n')
    (tmp_path/'outputs/reference').mkdir(parents=True)
    (tmp_path/'outputs/reference/claims.md').write_text('All claims.\n')
    (tmp_path/'outputs/reference/claims.csv').write_text('a\n1\n')
    (tmp_path/'LICENSE').write_text('MIT\n')
    return tmp_path, put


def shown(root, page): return Site(root).notebook(page)['cells']


def text(cells): return '\n'.join(''.join(c['source']) for c in cells)


def test_hidden_cells_are_left_out_and_the_lines_of_nbdev_too(project):
    root, put = project
    out = dict(output_type='execute_result', data={'text/plain': '3'}, metadata={}, execution_count=1)
    put('nbs/a.ipynb', md('# A'), py('#| default_exp a'), py('#| hide\nsecret = 1', out), py('#| echo: false\n1 + 2', out), py('#| export\nkept = 1'), py('#| output: false\nloud()', out))
    cells = [c for c in shown(root, 'a') if c['cell_type'] == 'code']
    assert '#|' not in text(cells) and 'secret' not in text(cells)
    silent, kept, loud = cells
    assert silent['outputs'] and 'remove-input' in silent['metadata']['tags']
    assert 'exported' in kept['metadata']['tags'] and not loud['outputs']


def test_a_caption_stands_with_its_figure_once(project):
    root, put = project
    put('nbs/method/03_coarse.ipynb', md('# Coarse'), py('#| label: fig-x\n#| fig-cap: "A *cell*."\nplot()', PICTURE), md('<!-- made by tools/course.py: caption -->\n**Figure.** A *cell*.'))
    cells = shown(root, 'method/03_coarse')
    figure = cells[1]['metadata']['mystnb']
    assert 'Figure 1' in figure['figure']['caption'] and 'id="fig-x"' in figure['figure']['caption'] and 'A *cell*.' in figure['figure']['caption']
    assert figure['image']['alt'] == 'A cell.' and '**Figure.**' not in text(cells)


def test_a_figure_without_a_caption_stops_the_build(project, tmp_path_factory):
    root, put = project
    put('nbs/a.ipynb', md('# A'), py('plot()', PICTURE))
    with pytest.raises(SiteError, match='a.ipynb cell 2 .* a figure without a caption, add'): write_all(root, tmp_path_factory.mktemp('site'))


def test_each_exercise_has_a_fold_of_its_own(project):
    root, put = project
    put('nbs/a.ipynb', md('# A'), py('one = 1', tags=['solution']), py('check_1(one)', tags=['solution']), py('check_2(two)', tags=['solution']), md('after'), py('other', tags=['solution']))
    source = [''.join(c['source']) for c in shown(root, 'a')]
    opened = [s for s in source if s.startswith('<details')]
    assert ['Solution of exercise 1' in opened[0], 'Solution of exercise 2' in opened[1], 'A solution' in opened[2]] == [True]*3
    depth = 0
    for s in source:
        depth += s.startswith('<details') - (s == '</details>')
        assert (depth == 1) == (s.startswith('<details') or s in ('one = 1', 'check_1(one)', 'check_2(two)', 'other')), s


def test_an_equation_keeps_its_number_and_is_found_by_it(project):
    root, put = project
    put('nbs/method/05_fine.ipynb', md('# Fine'), md('As Eq. 2 and Eqs. 4–5 say, not `Eq. 2` or $Eq. 2$ or Eq. 99.'), md('$$\\begin{align}a &= 1 \\tag{4}\\\\b &= 2 \\tag{5}\\end{align}$$'))
    source = text(shown(root, 'method/05_fine'))
    assert 'Eq. [2](place:03_coarse.html#eq-2)' in source and 'Eqs. [4](place:#eq-4)–[5](place:#eq-5)' in source
    assert '`Eq. 2` or $Eq. 2$ or Eq. 99' in source and source.count('id="eq-') == 2
    assert '\\begin{equation}\nx \\tag{3}' in equation('$$x \\tag{3}$$') and 'equation*' in equation('$$x$$') and 'begin{equation' not in equation('$$\\begin{align}x\\end{align}$$')


def test_links_lead_to_their_place_in_the_site(project):
    root, put = project
    put('nbs/method/05_fine.ipynb', md('# Fine'), md('[a](03_coarse.ipynb#net) [b](../index.ipynb) [c](../../outputs/reference/claims.md) [`d`](../../outputs/reference/claims.csv) '
        '[e](../../LICENSE) [f](https://example.org/x) [g](#here) `[h](nowhere.ipynb)`'), md('## See [a](03_coarse.ipynb), Eq. 2'), md('`widen_it`, `edge` and `Map`'))
    source = text(shown(root, 'method/05_fine'))
    for link in ('[a](place:03_coarse.html#net)', '[b](page:../index.html)', '[c](page:../outputs/reference/claims.html)', '[`d`](page:../outputs/reference/claims.csv)', '[e](page:../files/LICENSE.txt.html)',
                 '[f](https://example.org/x)', '[g](place:#here)', '`[h](nowhere.ipynb)`', '## See [a](page:03_coarse.html), Eq. 2', '[`widen_it`](place:../api/method.coarse.html#widen-it), `edge` and [`Map`](place:../api/method.coarse.html#map)'): assert link in source, link


@pytest.mark.parametrize('link', ['[x](gone.ipynb)', '[x](../../../etc)', '![x](gone.png)', '![x](https://example.org/x.png)', '<img src="gone.png">', '[x](../outputs)'])
def test_a_link_that_leads_nowhere_stops_the_build(project, tmp_path_factory, link):
    root, put = project
    put('nbs/a.ipynb', md('# A'), md(link))
    with pytest.raises(SiteError, match='nbs/a.ipynb: '): write_all(root, tmp_path_factory.mktemp('site'))


def test_html_of_outputs_brings_no_style_and_leads_on(project):
    root, put = project
    html = '<style>td {color: red}</style><table><td><a href="method/03_coarse.ipynb">x</a> 1 ± 2</td></table><script>f()</script>'
    put('nbs/a.ipynb', md('# A'), py('t', dict(output_type='display_data', metadata={}, data={'text/html': html})))
    assert shown(root, 'a')[1]['outputs'][0]['data']['text/html'] == '<table><td><a href="method/03_coarse.html">x</a> 1\u00a0±\u00a02</td></table>'


def test_code_is_left_alone_however_it_is_fenced():
    for code in ('```sh\n[x](y) # Eq. 2\n```', '~~~\n$a$ [x](y)\n~~~', '`[x](y)`', '`` `[x](y)` ``'):
        m = PIECES.search(f'before\n\n{code}\n\nafter')
        assert m[0].strip() == code and (m['fence'] or m['code'])


def test_the_reference_is_made_from_comments_and_docstrings(project):
    root, _ = project
    module = site_api.modules(root)['method.coarse']
    _, widen, a_map = module.items
    assert widen.signature == 'widen_it(x=1, *, deep=False)' and widen.rows == [('x', 'int', '1', 'the width | in pixels'), ('deep', 'bool', 'False', 'go on')]
    assert widen.returns == ('int', 'the new width')
    assert a_map.signature == 'Map(w)' and a_map.rows == [('w', 'int', '', 'width')] and [m.name for m in a_map.members] == ['look'] and a_map.members[0].rows[0][0] == 'at'
    page = dict(site_api.pages({module.name: module}, {module.name: 'method/03_coarse'}))['method.coarse']
    assert '| <code>x</code> | `int` | `1` | the width \\| in pixels |' in page and 'page:../method/03_coarse.html' in page and '<span id="map-look"></span>' in page


@pytest.mark.parametrize('demo', [True, False])
def test_the_demonstration_is_linked_where_it_was_made(project, tmp_path_factory, demo):
    root, put = project
    put('nbs/use/classifier.ipynb', md('# The classifier'))
    to = tmp_path_factory.mktemp('site')
    write_all(root, to, demo)
    front = (to/'index.ipynb').read_text(encoding='utf-8')
    assert ('demo/index.html' in front) == ('In your browser </in_your_browser>' in front) == (to/'in_your_browser.md').exists() == demo


def test_the_project_writes_all_its_pages_and_names_each_once(tmp_path):
    assert write_all(ROOT, tmp_path) > 150
    site = Site(ROOT)
    parts, groups = contents(site)
    listed = [to for entries in parts.values() for _, to in entries if to in site.notebooks] + [p for _, _, pages in groups.values() for p in pages]
    assert sorted([*listed, 'index']) == site.notebooks


def test_the_four_public_names_are_those_of_the_package():
    import sparseattnnet
    assert site_api.FOUR == sparseattnnet._PLACES


def test_every_documented_function_of_the_package_has_its_table():
    rows = [(m.name, i.name, r) for m in site_api.modules(ROOT).values() for i in [*m.items, *(x for i in m.items for x in i.members)] if i.kind != 'value' for r in i.rows]
    bare = [f'{m}.{i}: {r[0]}' for m, i, r in rows if not r[3]]
    assert len(rows) > 500 and len(bare) < .02*len(rows), bare


def page(body, head=''): return f'<html><head>{head}</head><body>{body}</body></html>'


SOUND = {'index.html': page('<a href="a/b.html#here">b</a><a href="https://example.org">e</a>', '<link rel="canonical" href="https://example.org"><script src="_static/x.js?v=1"></script>'),
    'a/b.html': page('<p id="here"></p><div class="cell_output"><figure><img alt="y" src="../x.png"><figcaption><p>Seen.</p></figcaption></figure></div>'), '_static/x.js': '', 'x.png': '', '_static/x.css': 'a {background: url("y.png")}'}


def build(folder, files):
    for name, text in files.items():
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        (folder/name).write_text(text)
    return folder


def test_a_sound_site_passes(tmp_path):
    problems, followed, elsewhere = build_site.check(build(tmp_path, SOUND))
    assert not problems and len(followed) == 3 and elsewhere == ['https://example.org']


@pytest.mark.parametrize('name, text, why', [
    ('c.html', page('<a href="gone.html">x</a>'), 'leads to nothing'),
    ('c.html', page('<a href="a/b.html#gone">x</a>'), 'a place that is not on that page'),
    ('c.html', page('<a href="../../x">x</a>'), 'leads out of the site'),
    ('c.html', page('', '<script src="https://cdn.example.org/x.js"></script>'), 'from another host'),
    ('c.html', page('', '<link rel="stylesheet" href="//fonts.example.org/x.css">'), 'from another host'),
    ('c.html', page('<img alt="x" src="https://example.org/x.png">'), 'from another host'),
    ('c.html', page('<img src="x.png">'), 'no caption and no description'),
    ('c.html', page('<div class="cell_output"><img alt="x" src="x.png"></div>'), 'no caption'),
    ('c.html', page('<figure><img alt="x" src="x.png"><figcaption> </figcaption></figure>'), 'without a caption'),
    ('c.html', page('<figure><img alt="x" src="x.png"></figure>'), 'without a caption'),
    ('c.css', '@import url(https://fonts.example.org/x.css);', 'from another host'),
    ('c.css', 'a {src: url("//fonts.example.org/x.woff")}', 'from another host')])
def test_what_is_wrong_with_a_site_is_named(tmp_path, name, text, why):
    problems = build_site.check(build(tmp_path, SOUND | {name: text}))[0]
    assert len(problems) == 1 and why in problems[0] and problems[0].startswith(name), problems


def test_an_empty_folder_is_no_site(tmp_path):
    assert 'build the site first' in build_site.check(tmp_path)[0][0]
    assert build_site.main(['--check', str(tmp_path)]) == 1
