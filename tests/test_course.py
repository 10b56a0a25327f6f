"The course hangs together: one way through all pages, captions that are seen, the method in less than a hundred lines."
import ast
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
import course  # noqa: E402
from course import COURSE, MARK, caption_of, file_of, join, main, made  # noqa: E402

LINK = re.compile(r'\[([^\]]*)\]\(([^)\s]+)\)')


def cells(path, root=ROOT): return json.loads(file_of(root, path).read_text(encoding='utf-8'))['cells']


def links(path, source):
    "Links of a cell as pages below nbs: `{text: page}`."
    folder = file_of(ROOT, path).parent
    return {text: (folder/to).resolve().relative_to(ROOT/'nbs').as_posix().removesuffix('.ipynb') for text, to in LINK.findall(source)}


def neighbours(path):
    "The previous and the next page, as the way of a page says."
    first = join(cells(path)[1]['source']).split('\n')[1]
    there = links(path, first)
    one = lambda test: next((to for text, to in there.items() if test(text)), None)
    return one(lambda t: t.startswith('← ')), one(lambda t: t.endswith(' →'))


def test_the_pages_are_what_the_tool_makes(capsys):
    assert main(['--check']) == 0, capsys.readouterr().out


def test_following_next_visits_every_page_once():
    at, seen = COURSE[0].path, []
    while at:
        seen.append(at)
        assert len(seen) <= len(COURSE), f'the way runs in a circle at {at}'
        before, after = neighbours(at)
        assert before == (seen[-2] if len(seen) > 1 else None)
        if after: assert list(links(at, join(cells(at)[-1]['source'])).values()) == [after]
        at = after
    assert seen == [p.path for p in COURSE]
    assert seen.index('method/02_first_model') < seen.index('method/08_losses'), 'the reader trains before reading about losses'


@pytest.mark.parametrize('page', COURSE, ids=lambda p: p.path)
def test_map_and_first_picture(page):
    found = cells(page.path)
    map_line = join(found[1]['source']).split('\n')[-1]
    assert [p for p in links(page.path, map_line).values()] == [p.path for p in COURSE if p != page]
    assert f'**{page.short}**' in map_line
    if not page.path.startswith('method/'): return
    first = next(c for c in found if caption_of(c))
    assert 'label: fig-here' in join(first['source']), 'the page opens with the picture of the running example'


def anchor(heading): return re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-')


@pytest.mark.parametrize('page', course.pages(ROOT))
def test_each_link_of_a_page_leads_to_a_file_and_a_heading(page):
    prose = '\n'.join(join(c['source']) for c in cells(page) if c['cell_type'] == 'markdown')
    for _, to in LINK.findall(re.sub(r'```.*?```|`[^`\n]*`', '', prose, flags=re.S)):
        if re.match(r'[a-z]+:|#', to): continue
        path, _, part = to.partition('#')
        target = file_of(ROOT, page).parent/path
        assert target.exists(), f'{page}: {to}'
        if part and target.suffix == '.ipynb':
            there = '\n'.join(join(c['source']) for c in json.loads(target.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'markdown')
            heads = {anchor(h) for h in re.findall(r'^#+ (.+)$', there, re.M)} | set(re.findall(r'id="([^"]+)"', there))
            assert part in heads, f'{page}: {to}'


@pytest.mark.parametrize('page', course.pages(ROOT))
def test_each_figure_has_its_caption_below(page):
    found, in_course = cells(page), page in {p.path for p in COURSE}
    with_caption = 0
    for i, c in enumerate(found):
        drawn = any(k.startswith('image/') for o in c.get('outputs', ()) for k in o.get('data', {}))
        if (text := caption_of(c)) and (drawn or in_course):
            with_caption += 1
            assert join(found[i + 1]['source']) == f'{MARK}caption -->\n**Figure.** {text}'
    assert sum(made(c) for c in found) == 2*in_course + with_caption


def test_a_second_write_changes_nothing_and_a_stray_page_is_found(tmp_path, capsys):
    for p in COURSE:
        file = file_of(tmp_path, p.path)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure = dict(cell_type='code', id='f1', metadata={}, source=['#| label: fig-a\n', '#| fig-cap: "Seen."\n', 'draw()'], outputs=[])
        nb = dict(cells=[dict(cell_type='markdown', id='t', metadata={}, source=[f'# {p.short}\n', '\n', '> One line.']), figure], metadata={}, nbformat=4, nbformat_minor=5)
        file.write_text(json.dumps(nb))
    assert main(['--root', str(tmp_path)]) == 1
    assert main(['--write', '--root', str(tmp_path)]) == 0
    before = {p.path: file_of(tmp_path, p.path).read_text() for p in COURSE}
    assert main(['--write', '--root', str(tmp_path)]) == 0
    assert before == {p.path: file_of(tmp_path, p.path).read_text() for p in COURSE}
    assert join(cells('method/01_pixels', tmp_path)[3]['source']).endswith('**Figure.** Seen.')
    file_of(tmp_path, 'method/lonely').write_text('{}')
    capsys.readouterr()
    assert main(['--check', '--root', str(tmp_path)]) == 1 and 'method/lonely.ipynb is on no page' in capsys.readouterr().out


def test_the_whole_method_takes_less_than_a_hundred_lines():
    wanted = {'conv', 'Whole', 'coarse_map', 'select', 'take', 'tokens', 'attend', 'classify', 'forward', 'focal', 'contrast', 'distill', 'loss_of'}
    lines, seen = 0, set()
    for c in cells('method/09_whole'):
        if c['cell_type'] != 'code': continue
        source = join(c['source'])
        for n in ast.parse(source).body:
            if getattr(n, 'name', '') in wanted:
                seen.add(n.name)
                lines += sum(bool(l.strip()) for l in source.split('\n')[n.lineno - 1:n.end_lineno])
    assert seen == wanted and 50 < lines <= 100, lines


def test_order_comes_from_one_list():
    assert len({p.path for p in course.COURSE}) == len(course.COURSE) and not course.stray(ROOT)
