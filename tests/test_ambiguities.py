"""The page of ambiguities is whole, and every citation of one of them is a link that leads to its entry."""
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))
from link_ambiguities import link_source, main  # noqa: E402

PAGE = 'nbs/paper/ambiguities.ipynb'
LINK = re.compile(r'\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]*)\)')


def texts(path): return [(c['id'], ''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'markdown']


ENTRIES = list(re.finditer(r'^<a id="(\d+)"></a>\*\*(\d+) · (.+?)\*\* \((.+?)\)\n\n((?:- .+\n?)+)', '\n\n'.join(t for _, t in texts(ROOT/PAGE)), re.M))
PAGES = [p for p in sorted((ROOT/'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts]


def links(path):
    "Links of a page to the entries: `(cell, words, number)`."
    for cell, text in texts(path):
        for words, to in LINK.findall(text):
            to, _, number = to.partition('#')
            if number and (path.parent/to).resolve() == (ROOT/PAGE).resolve() or (path == ROOT/PAGE and not to): yield cell, words, number


def test_seventy_two_entries_without_a_gap():
    assert [int(m[1]) for m in ENTRIES] == list(range(1, 73))
    assert all(m[1] == m[2] for m in ENTRIES) and len({m[3] for m in ENTRIES}) == 72


def test_each_entry_answers_the_four_questions():
    for m in ENTRIES: assert re.findall(r'^- \*(.+?):\*', m[5], re.M) == ['The paper', 'What is open', 'What we do', 'Where'], m[1]


@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.relative_to(ROOT/'nbs').as_posix())
def test_links_lead_to_the_entry_that_they_name(path):
    there = {m[1] for m in ENTRIES}
    for cell, words, number in links(path):
        assert number in there, f'{cell}: [{words}] leads to #{number}, which does not exist'
        assert re.fullmatch(rf'(?:[Aa]udit )?{number}|{number} .+', words), f'{cell}: [{words}] leads to #{number}'


@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.relative_to(ROOT/'nbs').as_posix())
def test_no_citation_without_a_link(path):
    for cell, text in texts(path):
        if path == ROOT/PAGE: text = text.replace('Other pages cite it as "audit 21"', '')
        bare = LINK.sub('', re.sub(r'```.*?```|`[^`\n]*`', '', text, flags=re.S))
        assert not re.search(r'\baudit\s+\d', bare, re.I), f'{cell}: run `python tools/link_ambiguities.py`'
        table = bare.split('\n') if re.search(r'^\| *audit *\|', bare, re.I | re.M) else []
        assert not [row for row in table if re.match(r'\|\s*\d[\d, –]*\|', row)], f'{cell}: a row has a number without a link, run `python tools/link_ambiguities.py`'


def test_how_many_citations():
    assert sum(len(list(links(p))) for p in PAGES if p != ROOT/PAGE) > 150


def test_the_tool_has_nothing_left_to_do(capsys):
    assert main(['--check']) == 0, capsys.readouterr().out


@pytest.mark.parametrize('text,linked', [
    ('See (audit 5, below).', 'See ([audit 5](p#5), below).'), ('**Audit 45.** Per set', '**[Audit 45](p#45).** Per set'),
    ('audit 57, 58', '[audit 57](p#57), [58](p#58)'), ('audit 30–32', '[audit 30](p#30)–[32](p#32)'), ('Audit 32 and 72 ask', '[Audit 32](p#32) and [72](p#72) ask'),
    ('| audit | x |\n|---|---|\n| 1, 17 | 3 |\n\n| 9 | y |', '| audit | x |\n|---|---|\n| [1](p#1), [17](p#17) | 3 |\n\n| 9 | y |'),
    ('by audit 4 and mended (22), (25–26)', 'by [audit 4](p#4) and mended ([22](p#22)), ([25](p#25)–[26](p#26))'),
    ('Twelve minutes (12)', 'Twelve minutes (12)'), ('the audit found 30 % and 2.5 (5 px)', 'the audit found 30 % and 2.5 (5 px)'),
    ('`audit 5`, $x \\quad(2)$ of audit 73', '`audit 5`, $x \\quad(2)$ of audit 73'), ('[audit](audit.ipynb) (7)', '[audit](audit.ipynb) (7)')])
def test_what_becomes_a_link(text, linked):
    page = 'p/ambiguities.ipynb'
    want = linked.replace('(p#', f'({page}#')
    assert link_source(text, page) == want == link_source(want, page)
