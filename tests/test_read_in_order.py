"The chain of links leads through the whole course, and a broken one is found."
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
from course import COURSE, file_of  # noqa: E402
from read_in_order import chain, execute, first_page, keep, links  # noqa: E402


def write(root, page, *cells):
    file = file_of(root, page)
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = [dict(cell_type=k, id=f'c{i}', metadata={}, source=s) | (dict(outputs=[], execution_count=None) if k == 'code' else {})
        for i, (k, s) in enumerate(cells)]
    file.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5), ensure_ascii=False), encoding='utf-8')


@pytest.fixture
def course(tmp_path):
    "Three pages in two folders that lead to each other."
    write(tmp_path, 'index', ('markdown', '# Front'), ('markdown', '[Contents](contents.ipynb)'))
    write(tmp_path, 'contents', ('markdown', 'Read [words](glossary.ipynb), then [one](m/1.ipynb), [two](m/2.ipynb)'))
    write(tmp_path, 'glossary', ('markdown', 'Words'))
    write(tmp_path, 'm/1', ('markdown', '# 1'), ('markdown', '**Page 1 of 3** · [two →](2.ipynb)\n\n[three](../l/3.ipynb)'), ('markdown', '**Next:** [two](2.ipynb). Why?'))
    write(tmp_path, 'm/2', ('markdown', '# 2'), ('markdown', '**Page 2 of 3** · [← one](1.ipynb) · [three →](../l/3.ipynb)'), ('markdown', '**Next:** [three](../l/3.ipynb). Why?'))
    write(tmp_path, 'l/3', ('markdown', '# 3'), ('markdown', '**Page 3 of 3** · [← two](../m/2.ipynb)'), ('markdown', 'The last page. [Others](../contents.ipynb)'))
    return tmp_path


def swap(root, page, old, new):
    file = file_of(root, page)
    text = file.read_text(encoding='utf-8')
    assert old in text
    file.write_text(text.replace(old, new), encoding='utf-8')


def test_the_links_of_the_pages_lead_through_exactly_the_course():
    assert chain(ROOT) == [p.path for p in COURSE]


def test_a_whole_chain_is_followed_across_folders(course):
    assert first_page(course) == 'm/1' and chain(course) == ['m/1', 'm/2', 'l/3']
    assert links('m/2', 'to [three](../l/3.ipynb#part), [one](1.ipynb) and [out](https://a.org)') == [('one', 'm/1')]


@pytest.mark.parametrize('page, old, new, says', [
    ('index', 'contents.ipynb', 'glossary.ipynb', 'does not lead to nbs/contents'),
    ('contents', 'm/1.ipynb', 'm/2.ipynb', 'leads to no page that says "Page 1 of"'),
    ('m/1', '[two →](2.ipynb)', '[two →](9.ipynb)', r"leads on to \['m/9'\] at its top and to \['m/2'\] at its end"),
    ('m/2', '[← one](1.ipynb)', '[← three](../l/3.ipynb)', r"leads back to \['l/3'\], but the reader came from \['m/1'\]"),
    ('m/2', 'Page 2 of 3', 'Page 3 of 3', 'says that it is page 3; its links make it page 2'),
    ('l/3', 'Page 3 of 3', 'The end', 'says no "Page 3 of"'),
    ('l/3', 'Page 3 of 3', 'Page 3 of 4', 'is page 3 of 4 and leads on to no page')])
def test_a_broken_chain_ends_the_reading(course, page, old, new, says):
    swap(course, page, old, new)
    with pytest.raises(SystemExit, match=says): chain(course)


def test_a_link_to_a_page_that_is_not_there_is_named(course):
    file_of(course, 'l/3').unlink()
    with pytest.raises(SystemExit, match='nbs/l/3.ipynb does not exist'): chain(course)


def test_a_page_that_fails_ends_the_reading_and_one_that_runs_is_timed(tmp_path):
    write(tmp_path, 'good', ('code', 'sum(range(10))'))
    write(tmp_path, 'bad', ('code', 'raise RuntimeError("no such cell")'))
    clock, processor = execute(tmp_path, 'good')
    assert clock > 0 and processor > 0
    with pytest.raises(SystemExit, match=r'nbs/bad.ipynb does not run[\s\S]*no such cell'): execute(tmp_path, 'bad')


def test_times_are_kept_beside_those_of_other_pages(tmp_path):
    (tmp_path/'tools').mkdir()
    keep(tmp_path, 'm/1', 2.04)
    keep(tmp_path, 'm/2', 3.)
    keep(tmp_path, 'm/1', 4.)
    assert json.loads((tmp_path/'tools/course_times.json').read_text()) == dict(seconds={'m/1': 4., 'm/2': 3.})


def test_make_lists_the_target():
    assert re.search(r'^read: .*## .*order of its links', (ROOT/'Makefile').read_text(encoding='utf-8'), re.M)
