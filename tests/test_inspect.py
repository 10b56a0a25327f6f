"""Looking through a folder: copies under two labels, odd images, groups in names, the split that is proposed, and the command."""
import json
import re
import shlex
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sparseattnnet.data.images import ImageSet
from sparseattnnet.use import inspect as S
from sparseattnnet.use.command import ask_group, main
from sparseattnnet.use.report import Page, Picture, Section, Table, picture_uri, render_page



def cell(seed, side=64, r=14):
    "A blob with a structure of its own on a flat ground, uint8 (side, side)."
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    at = rng.uniform(.4*side, .6*side, 2)
    spots = sum(rng.uniform(30, 90)*np.exp(-((y - a)**2 + (x - b)**2)/rng.uniform(4, 20))
                for a, b in at + rng.normal(0, r/2, (14, 2)))
    inside = np.hypot(y - at[0], x - at[1]) < r
    return (200 - (60 + spots)*inside + rng.normal(0, 2, (side, side))).clip(0, 255).astype(np.uint8)


def image_set(pictures, labels=None, ids=None, groups=None):
    n = len(pictures)
    ids = ids or [f'{i:03d}.png' for i in range(n)]
    return ImageSet(np.stack(pictures)[:, None], labels if labels is not None else np.arange(n) % 2, ids, groups or ids, ('a', 'b'))


def saved_again(x, quality=70):
    Image.fromarray(x).save(body := BytesIO(), 'JPEG', quality=quality)
    return np.asarray(Image.open(BytesIO(body.getvalue())))


# copies

@pytest.mark.parametrize('change, kind', [
    (lambda x: x, 'equal'), (lambda x: np.rot90(x, 3).copy(), 'turned'), (saved_again, 'near'), (lambda x: saved_again(np.rot90(x).copy(), 50), 'near'),
    (lambda x: (x*.7).astype(np.uint8), 'near'), (lambda x: np.asarray(Image.fromarray(x).resize((48, 48)).resize((64, 64))), 'near'),
    (lambda x: np.asarray(Image.fromarray(x[:, ::-1]).filter(ImageFilter.GaussianBlur(.7))), 'near')])
def test_a_changed_copy_is_found_and_nothing_else(change, kind):
    pictures = [cell(i) for i in range(40)]
    found = S.find_copies(image_set([*pictures, change(pictures[7])], labels=[*(np.arange(40) % 2), 0]))
    assert [(c.ids, c.kind, c.torn) for c in found] == [(('007.png', '040.png'), kind, True)]


def test_two_labels_come_first_and_groups_are_counted():
    p = [cell(i) for i in range(30)]
    images = image_set([*p, p[3], p[4]], labels=[*(np.arange(30) % 2), 1, 1], groups=[*(f'g{i % 3}' for i in range(30)), 'g0', 'g2'])
    found = S.find_copies(images)
    assert [(c.ids, c.torn, c.groups) for c in found] == [(('004.png', '031.png'), True, 2), (('003.png', '030.png'), False, 1)]


def test_all_eight_positions_have_the_hash_of_the_turned_picture():
    small = S._small(image_set([cell(i) for i in range(12)]))
    h = S.picture_hashes(small)
    for v in range(8):
        turned = S.picture_hashes(np.concatenate([S._turned(small, v), S._turned(small, v ^ 4)]))[0][:12]
        assert np.bitwise_count(turned ^ h[v]).mean() < 3


def test_candidates_stay_few_where_all_pictures_are_alike():
    one = cell(0)
    rng = np.random.default_rng(0)
    small = S._small(image_set([(one + rng.normal(0, 1, one.shape)).clip(0, 255).astype(np.uint8) for _ in range(200)]))
    assert len(S._candidates(S.picture_hashes(small), None, most=3)) <= 600


# odd images

def test_odd_images_are_named_and_good_ones_are_not():
    p = [cell(i) for i in range(60)]
    assert len(S.suspicious(image_set(p))) <= 1
    p[10] = np.asarray(Image.fromarray(p[10]).filter(ImageFilter.GaussianBlur(6)))
    p[11] = np.random.default_rng(0).normal(200, 2, (64, 64)).astype(np.uint8)
    p[12] = np.minimum(p[12].astype(int) + 60, 230).astype(np.uint8)
    kinds = {o.id: o.kind for o in S.suspicious(image_set(p))}
    assert kinds['010.png'] == 'out of focus' and kinds['011.png'] == 'faint' and kinds['012.png'] in ('light', 'clipped')
    assert len(kinds) <= 4


# groups in names

def named(make, n=48): return image_set([cell(i) for i in range(n)], ids=[make(i) for i in range(n)])


@pytest.mark.parametrize('make, groups', [
    (lambda i: f'{"ab"[i % 2]}/donor{i//2 % 6}_cell{i}.png', [6]), (lambda i: f'slide_{i % 4}/{"ab"[i % 2]}_{i:03d}.png', [4]),
    (lambda i: f'{"ab"[i % 2]}/{i:04d}.png', []), (lambda i: f'{"ab"[i % 2]}/{("XY", "ZW")[i % 2]}_{i*7919}.png', []),
    (lambda i: f'{("train", "test")[i % 2]}/{i}.png', []), (lambda i: f'{i}.png' if i % 7 else f'p{i}_x_{i}.png', [])])
def test_names_suggest_a_group_only_where_they_repeat(make, groups):
    images = named(make)
    hints = S.group_hints(images)
    assert [h.groups for h in hints] == groups
    for h in hints:
        pattern = shlex.split(h.flag)[1]
        assert tuple(re.search(pattern, i)[1] for i in images.ids) == h.values


def test_columns_suggest_a_group_by_their_name():
    images = named(lambda i: f'{i}.png')
    columns = dict(donor=[f'd{i//2 % 5}' for i in range(48)], age=[str(i % 9) for i in range(48)], Slide_ID=[f's{i//2 % 3}' for i in range(48)])
    assert [(h.flag, h.groups) for h in S.group_hints(images, columns)] == [("--group-column 'Slide_ID'", 3), ("--group-column 'donor'", 5)]


def test_the_answer_of_a_person_becomes_the_option(capsys):
    hints = S.group_hints(named(lambda i: f'{"ab"[i % 2]}/donor{i//2 % 6}_cell{i}.png'))
    assert ask_group(hints, lambda _: '1') == {'group_pattern': '(donor[0-9]+)'}
    assert ask_group(hints, lambda _: '') == ask_group(hints, lambda _: '2') == ask_group(hints, lambda _: 'yes') == {}


# the split

def test_the_proposal_follows_what_is_known():
    plain = named(lambda i: f'{i}.png')
    assert S.propose_split(plain).basis == 'random' and 'random split is all there is' in S.propose_split(plain).warnings[0]
    grouped = replace(plain, groups=[f'g{i//2 % 6}' for i in range(48)])
    p = S.propose_split(grouped)
    assert (p.basis, p.protocol, p.warnings) == ('groups', 'strict', ()) and all(all(c.values()) for c in p.counts.values())
    parts = dict(train=[f'{i}.png' for i in range(30)], test=[f'{i}.png' for i in range(30, 48)])
    assert S.propose_split(replace(plain, meta=dict(official_split=parts))).protocol == 'official'
    few = replace(plain, groups=[f'g{i % 2}' for i in range(48)])
    assert any('No split can be drawn' in w or 'Too few' in w for w in S.propose_split(few).warnings)


# the page

def test_no_name_becomes_markup():
    evil = '</style><script>alert(1)</script>" onload="x'
    uri = picture_uri(np.zeros((1, 8, 8)))
    html = render_page(Page(evil, (evil,), ((evil, evil, True),), (Section(evil, (evil,), (Picture(uri, evil),), (Table((evil,), ((evil,),)),), (Picture(uri, evil),)),), evil, evil))
    assert '<script' not in html and 'onload="' not in html and html.count('</style>') == 1


# the command

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('lab')/'<b>cells'
    for i in range(40):
        name = ('small', 'large & pale')[i % 2]
        (root/name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(cell(i, r=(9, 15)[i % 2])).save(root/name/f'donor{i//2 % 8}_{i:03d}.png')
    Image.fromarray(np.rot90(cell(0, r=9))).save(root/'large & pale'/'donor0_900.png')
    (root/'small'/'donor1_901.png').write_bytes(b'no picture')
    return root


def test_the_command_says_what_is_wrong(folder, tmp_path, capsys):
    assert main(['inspect', str(folder), '--json', '-o', str(tmp_path/'look.html')]) == 0
    doc = json.loads(capsys.readouterr().out)
    assert doc['status'] == 0 and [c['torn'] for c in doc['copies']] == [True]
    assert [u['id'] for u in doc['unusable']] == ['small/donor1_901.png']
    assert doc['split']['basis'] == 'names' and doc['split']['hints'][0]['flag'] == "--group-pattern '(donor[0-9]+)'"
    html = (tmp_path/'look.html').read_text()
    assert '<b>cells' not in html and '&lt;b&gt;cells' in html and html.count('<img') > 20
    assert main(['inspect', str(folder), '--group-pattern', '(donor[0-9]+)']) == 0
    said = capsys.readouterr().out
    assert 'ONE PICTURE, TWO LABELS' in said and 'The images lie in 8 groups' in said and 'QUESTION' not in said
    assert 'Background-only control' in said and 'largest class' in said


@pytest.mark.parametrize('argv, said', [(['nowhere'], 'no such folder'), ([], 'FOLDER'), (['.', '--size', '-1'], '--size -1')])
def test_wrong_use_is_said(argv, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['inspect', *argv, '--json']) == 2
    assert said in json.loads(capsys.readouterr().out)['error']


def test_a_killed_or_interrupted_look_leaves_no_page(folder, tmp_path, monkeypatch, capsys):
    def stop(*a, **k): raise KeyboardInterrupt
    monkeypatch.setattr(S, 'inspect_images', stop)
    assert main(['inspect', str(folder), '-o', str(tmp_path/'look.html')]) == 130
    assert not list(tmp_path.iterdir())


def test_large_images_are_looked_at_with_fewer_pixels_and_it_is_said(tmp_path, capsys):
    for i in range(12):
        (tmp_path/'cells'/'ab'[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(cell(i, side=170, r=40)).save(tmp_path/'cells'/'ab'[i % 2]/f'{i}.png')
    assert main(['inspect', str(tmp_path/'cells')]) == 0
    assert 'They came with 170 × 170 pixels, and were looked at with 128 × 128' in capsys.readouterr().out
