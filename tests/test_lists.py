"""Strangers' folders, tables and .npz files: no file, label, donor or part is lost or doubled without a word."""
import os
import subprocess
import sys
import unicodedata
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from sparseattnnet.data.datasets import load_images
from sparseattnnet.data.images import (
    BadImages,
    find_table,
    is_hidden,
    list_images,
    merge_names,
    part_of,
    read_images,
    read_npz,
    report_unread,
    source_files,
)
from sparseattnnet.data.splits import make_split

JUNK = b'\x00\x05\x16\x07' + b'\x00'*200


def picture(path, seed=None, side=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = crc32(os.fsencode(path)) if seed is None else seed
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side), np.uint8)).save(path, 'PNG')


def folders(root, *names, n=4, ending='png'):
    for name in names:
        for i in range(n): picture(root/name/f'{i}.{ending}')
    return root


def table(path, *lines, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(lines) + '\n', **how)
    return path


def shown(capsys, *args, **kw):
    capsys.readouterr()
    return read_images(*args, progress=False, **kw), capsys.readouterr().out


# --- which files ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('parts', [('train', 'val', 'test'), ('Train', 'Validation', 'TEST'),
                                   ('training', 'valid', 'testing'), ('train_set', 'dev', 'Test-A')])
def test_part_folders_are_no_classes(tmp_path, capsys, parts):
    for part, n in zip(parts, (6, 3, 3)): folders(tmp_path/'data'/part, 'neutrophil', 'lymphocyte', n=n)
    s, out = shown(capsys, tmp_path/'data')
    assert s.class_names == ('lymphocyte', 'neutrophil') and s.counts().tolist() == [12, 12]
    assert {p: len(v) for p, v in s.meta['official_split'].items()} == {'train': 12, 'val': 6, 'test': 6}
    assert 'train 12, val 6, test 6' in out and "Protocol 'official' keeps them" in out
    official = make_split(s, 'official')
    assert {i.split('/')[0] for i in official.test} == {parts[2]}
    assert {i.split('/')[0] for i in official.train} == {parts[0]}


def test_parts_below_the_classes_and_two_test_folders(tmp_path, capsys):
    folders(tmp_path/'a', 'x/train', 'x/test', 'y/train', 'y/test')
    s, _ = shown(capsys, tmp_path/'a')
    assert s.class_names == ('x', 'y') and len(s.meta['official_split']['test']) == 8
    folders(tmp_path/'b', 'Train/x', 'Train/y', 'Test-A/x', 'Test-A/y', 'Test-B/x', 'Test-B/y')
    s, out = shown(capsys, tmp_path/'b')
    assert s.class_names == ('x', 'y')
    assert len(s.meta['official_split']['test']) == 16
    assert 'Test-A, Test-B, Train' in out


def test_parts_without_classes_are_refused(tmp_path):
    folders(tmp_path/'data', 'train', 'test')
    with pytest.raises(ValueError, match='look like the parts of a split'): read_images(tmp_path/'data')


def test_one_folder_called_test_is_a_class(tmp_path):
    s = read_images(folders(tmp_path/'data', 'control', 'test'))
    assert s.class_names == ('control', 'test') and 'official_split' not in s.meta


def test_image_with_unread_ending_is_named(tmp_path):
    folders(tmp_path/'data', 'blast', 'mature')
    for end in ('heic', 'czi', 'gif'): picture(tmp_path/'data'/'mature'/f'x.{end}')
    with pytest.raises(BadImages) as e: read_images(tmp_path/'data')
    assert {p.path for p in e.value.problems} == {f'mature/x.{end}' for end in ('heic', 'czi', 'gif')}
    assert e.value.total == 11


def test_class_whose_every_image_has_an_unread_ending(tmp_path):
    folders(tmp_path/'data', 'blast')
    folders(tmp_path/'data', 'mature', ending='heic')
    with pytest.raises(BadImages, match='4 of 8 images'): read_images(tmp_path/'data')


def test_hidden_files_are_ignored_everywhere(tmp_path, capsys):
    folders(tmp_path/'data', 'ALL', 'AML')
    for name in ('ALL/._0.png', 'ALL/Thumbs.db', 'AML/desktop.ini', '__MACOSX/ALL/._0.png', '._top.png', '.cache/0.png',
                 'AML/@eaDir/t.jpg'):
        (tmp_path/'data'/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/'data'/name).write_bytes(JUNK)
    s, out = shown(capsys, tmp_path/'data')
    assert s.counts().tolist() == [4, 4] and 'hidden files and folders: 7' in out
    assert is_hidden('AML/@eaDir/t.jpg') and not is_hidden('../AML/0.png')


def test_linked_folders_are_read_and_loops_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('SPARSEATTNNET_OUTSIDE', str(tmp_path/'store'))
    folders(tmp_path/'store', 'p1', 'p2')
    folders(tmp_path/'data', 'A/p0', 'B/p0')
    for link, to in (('A/p1', 'store/p1'), ('B/p2', 'store/p2'), ('B/loop', 'data'), ('A/up', '.'),
                     ('B/other', 'data/B')):
        os.symlink(tmp_path/to, tmp_path/'data'/link)
    os.symlink('self', tmp_path/'data'/'A'/'self')
    s, out = shown(capsys, tmp_path/'data')
    assert s.counts().tolist() == [8, 8] and 'lead back' in out and 'A/self' in out


def test_one_file_in_two_classes_and_twice_in_one(tmp_path, capsys):
    folders(tmp_path/'data', 'A', 'B')
    os.symlink(tmp_path/'data'/'A'/'0.png', tmp_path/'data'/'A'/'again.png')
    s, out = shown(capsys, tmp_path/'data')
    assert s.counts().tolist() == [4, 4] and 'second links to one file: 1 (A/again.png)' in out
    os.symlink(tmp_path/'data'/'A'/'1.png', tmp_path/'data'/'B'/'also.png')
    os.symlink('gone.png', tmp_path/'data'/'B'/'lost.png')
    with pytest.raises(BadImages) as e: read_images(tmp_path/'data')
    assert [(p.path, p.kind) for p in e.value.problems] == [('A/1.png', 'listed twice'), ('B/lost.png', 'missing')]


@pytest.mark.parametrize('layout', ['below the class', 'above the classes', 'beside the classes', 'by name'])
def test_masks_are_no_cells(tmp_path, capsys, layout):
    where = {'below the class': ('{c}/images/{i}.png', '{c}/masks/{i}.png'),
             'above the classes': ('images/{c}/{i}.png', 'masks/{c}/{i}.png'),
             'beside the classes': ('{c}/{i}.png', 'Masks/{c}/{i}.png'),
             'by name': ('{c}/{i}.png', '{c}/{i}_mask.png')}[layout]
    for k, c in enumerate(('apoptotic', 'viable')):
        for i in range(5):
            for j, w in enumerate(where): picture(tmp_path/'data'/w.format(c=c, i=i), 100*k + 10*j + i)
    s, out = shown(capsys, tmp_path/'data')
    assert s.class_names == ('apoptotic', 'viable')
    assert s.counts().tolist() == [5, 5]
    assert not any('mask' in i.lower() for i in s.ids)
    assert 'masks: 10 (' in out


def test_masks_alone_are_images(tmp_path):
    assert len(read_images(folders(tmp_path/'data', 'a/masks', 'b/masks'))) == 8


def test_subfolders_and_twins_are_said(tmp_path, capsys):
    folders(tmp_path/'data', 'A/donor1', 'A/donor2', 'B/donor1')
    Image.open(tmp_path/'data/A/donor1/0.png').save(tmp_path/'data/A/donor1/0.bmp')
    s, out = shown(capsys, tmp_path/'data')
    assert 'donor1/ 9, donor2/ 4' in out and '1 names come with more than one ending, such as 0' in out


def test_images_above_the_class_folders_are_named(tmp_path):
    folders(tmp_path/'data', 'only/A', 'only/B')
    picture(tmp_path/'data'/'overview.png')
    with pytest.raises(BadImages, match='overview.png  unlabelled'): read_images(tmp_path/'data')


# --- names --------------------------------------------------------------------------------------------------------------

def test_odd_class_names_stay(tmp_path):
    names = ['0', 'CD4$^+$', 'γδ-T', 'a_b & 50%', 'B, "naive"', 'Ba$$o', 'CD4|CD8', 'NA', '²', "it's"]
    s = read_images(folders(tmp_path/'my cells (März) #1', *names))
    assert set(s.class_names) == set(names) and s.counts().tolist() == [4]*len(names)
    assert set(read_images(tmp_path/'my cells (März) #1',
                           drop_classes='B, "naive",0').class_names) == set(names) - {'0', 'B, "naive"'}


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems have no such file names')
def test_names_that_are_not_utf8(tmp_path, capsys):
    folders(tmp_path/'data', 'A', os.fsdecode(b'K\xfcche'))
    picture(tmp_path/'data'/'A'/os.fsdecode(b'\xe4.png'))
    table(tmp_path/'data'/'part.csv', 'path,label', 'A/ä.png,a', 'A/0.png,b')
    (tmp_path/'two').mkdir()
    s, _ = shown(capsys, tmp_path/'data', labels_csv=tmp_path/'data'/'part.csv')
    assert s.ids == ('A/ä.png', 'A/0.png')
    (tmp_path/'data'/'part.csv').unlink()
    s, _ = shown(capsys, tmp_path/'data')
    assert s.class_names == ('A', 'Küche') and s.counts().tolist() == [5, 4]
    assert len(s.fingerprint) == 64 and ''.join(s.ids).encode()


def test_folders_that_differ_in_form_are_one_class(tmp_path, capsys):
    folders(tmp_path/'data', 'Zürich', unicodedata.normalize('NFD', 'Zürich ') + 'x', 'neutrophil ', 'Neutrophil')
    folders(tmp_path/'data', unicodedata.normalize('NFD', 'Zürich'))
    s, out = shown(capsys, tmp_path/'data')
    assert len(s) == len(set(s.ids)) and 'One class, written in 2 ways' in out
    assert {n.lower() for n in s.class_names} == {'zürich', 'zürich x', 'neutrophil'}


def test_merge_takes_the_usual_spelling_whatever_the_order():
    names = ['b cell', 'B  cell', 'B cell', 'B cell\u200b', '007', '7', '7.0', '-1', '-01', '10', '1e3']
    for order in (names, names[::-1]):
        merged = dict(zip(order, merge_names(order)[0]))
        assert [merged[n] for n in names] == ['B cell']*4 + ['7']*3 + ['-1']*2 + ['10', '1e3']
    assert len(merge_names(names)[1]) == 3


def test_class_numbers_do_not_depend_on_the_hash_seed(tmp_path):
    for i in range(8): picture(tmp_path/f'{i}.png', i)
    table(tmp_path/'labels.csv', 'path,label', *(f"{i}.png,{('1', '01', '2', '1.0')[i % 4]}" for i in range(8)))
    run = ("from sparseattnnet.data.images import read_images as r; import sys; s = r(sys.argv[1]); "
           "print(s.class_names, s.labels, s.fingerprint)")
    out = {subprocess.run([sys.executable, '-c', run, str(tmp_path)], env=os.environ | {'PYTHONHASHSEED': str(h)},
                          capture_output=True, text=True, check=True).stdout for h in range(3)}
    assert len(out) == 1 and "('1', '2') [0 0 1 0 0 0 1 0]" in out.pop()


def test_part_names():
    assert [part_of(n) for n in ('Train', 'Test-A', 'TestB', 'valid', '1_train', 'β-test', 'invalid', 'control',
                                 '')] == ['train', 'test', 'test', 'val', 'train', '', '', '', '']


# --- tables -------------------------------------------------------------------------------------------------------------

def slides(root, head, cut=',', name='labels.csv', more=lambda i: ''):
    for s in ('slide1', 'slide2'):
        for i in range(4): picture(root/s/f'{i}.png', i + 10*(s == 'slide2'))
    table(root/name, cut.join(head),
          *(cut.join([f's{j}'.replace('s', 'slide') + f'/{i}.png', 'ba'[i % 2], *([more(i)] if len(head) > 2 else [])])
            for j in (1, 2) for i in range(4)))
    return root


@pytest.mark.parametrize('name, head, cut',
                         [('Labels.CSV', ('Path', 'Label'), ','), ('labels.tsv', ('path', 'label'), '\t'),
                          ('LABELS.csv', ('File Name', 'Class'), ';'),
    ('annotations.csv', ('image_path', 'cell_type'), ';'), ('my cells.TSV', ('filename', 'category'), '\t'),
    ('cells.txt', ('image', 'label'), '\t')])
def test_a_table_of_another_name_is_found_and_said(tmp_path, capsys, name, head, cut):
    s, out = shown(capsys, slides(tmp_path/'data', head, cut, name))
    assert s.class_names == ('a', 'b') and s.counts().tolist() == [4, 4] and f'Labels come from {name}' in out


def test_a_table_that_is_not_used_is_said(tmp_path, capsys):
    slides(tmp_path/'data', ('Bild', 'Klasse'), name='annotations.csv')
    (tmp_path/'data'/'labels.xlsx').write_bytes(b'PK')
    (tmp_path/'data'/'slide1'/'notes.json').write_text('{}')
    s, out = shown(capsys, tmp_path/'data')
    assert s.class_names == ('slide1', 'slide2')
    assert 'tables: 2 (annotations.csv with the columns Bild, Klasse; labels.xlsx)' in out
    assert 'other files (.json 1): 1 (slide1/notes.json)' in out


def test_two_tables_are_a_question(tmp_path):
    slides(tmp_path/'data', ('path', 'label'), name='a.csv')
    slides(tmp_path/'data', ('path', 'label'), name='b.tsv')
    with pytest.raises(ValueError, match='2 tables of labels'): read_images(tmp_path/'data')
    (tmp_path/'data'/'Labels.csv').write_text((tmp_path/'data'/'a.csv').read_text())
    assert find_table(tmp_path/'data').name == 'Labels.csv'


@pytest.mark.parametrize('column', ['patient_id', 'Patient ID', 'PatientNr', 'DONOR', 'slide', 'Session', 'cell',
                                    'track_id', 'group'])
def test_group_columns_are_used_and_said(tmp_path, capsys, column):
    for i in range(60): picture(tmp_path/f'{i}.png', i)
    table(tmp_path/'labels.csv', f'path,label,{column}',
          *(f"{i}.png,{('healthy', 'AML')[i % 2]},P{i//6}" for i in range(60)))
    s, out = shown(capsys, tmp_path)
    assert s.groups == tuple(f'P{i//6}' for i in range(60)) and '60 images in 10 groups' in out
    split = make_split(s)
    of = lambda ids: {int(i[:-4])//6 for i in ids}
    assert not of(split.train) & (of(split.val) | of(split.test)) and not of(split.val) & of(split.test)


def test_groups_without_a_value_and_in_several_spellings(tmp_path, capsys):
    slides(tmp_path/'data', ('path', 'label', 'donor'), more=lambda i: ('1', '01', '1.0', 'NA')[i])
    s, out = shown(capsys, tmp_path/'data')
    assert s.groups == ('1', '1', '1', 'slide1/3.png', '1', '1', '1', 'slide2/3.png')
    assert '2 of them name no group' in out


def test_several_group_columns_are_a_question(tmp_path, capsys):
    for i in range(8): picture(tmp_path/f'{i}.png', i)
    table(tmp_path/'labels.csv', 'path,label,patient_id,slide',
          *(f"{i}.png,{'ab'[i % 2]},{i//4},{i//2}" for i in range(8)))
    with pytest.raises(ValueError, match=r"patient_id \(2 values\), slide \(4 values\)"): read_images(tmp_path)
    assert len(set(load_images('folder', tmp_path, group_column='Slide').groups)) == 4
    assert set(read_images(tmp_path, group_pattern=r'(\d)').groups) == set('01234567')
    with pytest.raises(ValueError, match="group_column='donor'"): read_images(tmp_path, group_column='donor')
    table(tmp_path/'labels.csv', 'path,label,group,slide', *(f"{i}.png,{'ab'[i % 2]},{i//4},{i//2}" for i in range(8)))
    s, out = shown(capsys, tmp_path)
    assert len(set(s.groups)) == 2 and 'columns of labels.csv: 1 (slide)' in out


def test_a_split_column_is_the_official_split(tmp_path, capsys):
    for i in range(20): picture(tmp_path/f'{i}.png', i)
    part = lambda i: ('train', 'Train', 'training', 'val', 'TEST')[i % 5]
    table(tmp_path/'labels.csv', 'path,label,Split', *(f"{i}.png,{'ab'[i//5 % 2]},{part(i)}" for i in range(20)))
    s, out = shown(capsys, tmp_path)
    assert 'train 12, val 4, test 4' in out and s.class_names == ('a', 'b')
    assert set(make_split(s, 'official').test) == {f'{i}.png' for i in range(20) if i % 5 == 4}
    table(tmp_path/'labels.csv', 'path,label,split', *(f"{i}.png,{'ab'[i % 2]},{i % 5}" for i in range(20)))
    s, out = shown(capsys, tmp_path)
    assert 'official_split' not in s.meta and 'columns of labels.csv: 1 (split)' in out


def test_images_without_a_part_are_left_out_of_the_official_split(tmp_path):
    for i in range(20): picture(tmp_path/f'{i}.png', i)
    table(tmp_path/'labels.csv', 'path,label,split',
          *(f"{i}.png,{'ab'[i//5 % 2]},{('train', 'train', 'val', 'test', 'NA')[i % 5]}" for i in range(20)))
    split = make_split(read_images(tmp_path), 'official')
    assert split.meta['left_out'] == sorted(f'{i}.png' for i in range(20) if i % 5 == 4) and len(split.train) == 8


def write(root, head, rows, name='labels.csv', enc='utf-8-sig', end='\r\n'):
    (root/name).write_text(end.join([head, *rows, ';;']), encoding=enc, newline='')
    return root/name


@pytest.fixture
def lab(tmp_path):
    for i in range(12): picture(tmp_path/'s 1'/f'{i},ä.png', i)
    return tmp_path, [f'"s 1\\{i},ä.png";{"T-Zelle" if i % 2 else "B-Zelle"};{i//3}' for i in range(12)]


@pytest.mark.parametrize('head, end', [('Path;Label;Donor', '\r\n'), ('sep=;\r\nPath;Label;Donor', '\r\n'),
                                       ('"sep=;"\nPath;Label;Donor', '\n'), ('\r\nPath;Label;Donor', '\r\n'),
                                       ('Path;Label;Donor', '\r')])
def test_tables_from_excel(lab, head, end):
    s = read_images(write(lab[0], head, lab[1], end=end))
    assert s.class_names == ('B-Zelle', 'T-Zelle')
    assert s.counts().tolist() == [6, 6]
    assert s.groups == tuple(str(i//3) for i in range(12))


@pytest.mark.parametrize('enc, said',
                         [('cp1252', "is not UTF-8 text .*'CSV UTF-8'"), ('utf-16', "UTF-16 .*'CSV UTF-8'"),
                          ('utf-16-le', "UTF-16 .*'CSV UTF-8'")])
def test_other_encodings_are_refused(lab, enc, said):
    with pytest.raises(ValueError, match=said): read_images(write(lab[0], 'Path;Label;Donor', lab[1], enc=enc))


def test_a_workbook_called_csv_and_an_open_quote(lab):
    (lab[0]/'labels.csv').write_bytes(b'PK\x03\x04 whatever')
    with pytest.raises(ValueError, match='Excel workbook'): read_images(lab[0])
    table(lab[0]/'labels.csv', 'path,label', '"s 1/0,ä.png,a', 's 1/1.png,b')
    with pytest.raises(ValueError, match='labels.csv, line 2'): read_images(lab[0])


def test_two_columns_label(lab):
    with pytest.raises(ValueError, match="2 columns 'Label', which differ in line 2"):
        read_images(write(lab[0], 'Path;Label;Label', lab[1]))
    same = [r.rsplit(';', 1)[0] for r in lab[1]]
    assert len(read_images(write(lab[0], 'Path;Label;Label', [f"{r};{r.rsplit(';')[-1]}" for r in same]))) == 12


@pytest.mark.parametrize('word', ['#N/A', 'nan', 'NaN', 'NULL', 'None', '', 'n/a', '<NA>', '?'])
def test_missing_value_words_are_no_class(lab, word):
    rows = [r.replace('T-Zelle', word) if i % 4 == 1 else r for i, r in enumerate(lab[1])]
    with pytest.raises(BadImages) as e: read_images(write(lab[0], 'Path;Label;Donor', rows))
    assert [p.kind for p in e.value.problems] == ['unlabelled']*3
    assert 'line 11' in e.value.problems[1].reason + e.value.problems[2].reason
    assert read_images(lab[0]/'labels.csv', on_bad='skip').counts().tolist() == [6, 3]


def test_a_class_called_na_by_its_folder_or_by_request(tmp_path):
    folders(tmp_path/'data', 'NA', 'ACT')
    assert read_images(tmp_path/'data').class_names == ('ACT', 'NA')
    table(tmp_path/'data'/'labels.csv', 'path,label', *(f'{c}/{i}.png,{c}' for c in ('NA', 'ACT') for i in range(4)))
    assert read_images(tmp_path/'data').class_names == ('ACT', 'NA')
    for i in range(4): (tmp_path/'data'/f'{i}.png').write_bytes((tmp_path/'data'/'NA'/f'{i}.png').read_bytes())
    table(tmp_path/'data'/'labels.csv', 'path,label', *(f'{i}.png,NA' for i in range(4)),
          *(f'ACT/{i}.png,ACT' for i in range(4)))
    with pytest.raises(BadImages, match='4 unlabelled'): read_images(tmp_path/'data')
    assert read_images(tmp_path/'data', known_classes=('NA',)).counts().tolist() == [4, 4]


def test_one_file_under_many_names(tmp_path):
    for i in range(6): picture(tmp_path/f'{i}.png', i)
    os.symlink(tmp_path/'2.png', tmp_path/'two.png')
    table(tmp_path/'labels.csv', 'path,label', *(f"{i}.png,{'xy'[i % 2]}" for i in range(6)), './0.png,y',
          'a/../1.png,y', 'two.png,y', './3.png,y')
    (tmp_path/'a').mkdir()
    with pytest.raises(BadImages) as e: read_images(tmp_path)
    assert {p.path for p in e.value.problems} == {'0.png', '2.png', 'labels.csv, line 9', 'labels.csv, line 11'}
    assert {p.kind for p in e.value.problems} == {'listed twice'}
    s = read_images(tmp_path, on_bad='skip')
    assert s.ids == ('1.png', '3.png', '4.png', '5.png')  # one label each; 0.png and 2.png have two and are left out


def test_lines_are_those_of_the_file(tmp_path):
    for i in range(8): picture(tmp_path/f'{i}.png', i)
    table(tmp_path/'labels.csv', 'path,label,donor', '', '', '0.png,a,1', '', '1.png,b,1', '2.png,', '3.png',
          '4.png,a,2,x,y', '5,6.png,b,3',
          '6.png,b,3', '7.png,"a', 'b",3', ',a,1')
    with pytest.raises(BadImages) as e: read_images(tmp_path)
    said = {p.path: p.reason for p in e.value.problems}
    assert set(said) == {'2.png', '3.png', '5', '7.png', 'labels.csv, line 14'}
    assert 'line 7 ' in said['2.png']
    assert 'line 8 ' in said['3.png']
    assert 'line 10 ' in said['5']
    assert 'quotes' in said['5']
    assert 'line 12 ' in said['7.png']


def test_paths_from_another_folder_are_one_line(tmp_path):
    for i in range(30): picture(tmp_path/'scans'/f's{i % 2}'/f'{i}.png', i)
    for lead in ('scans/', '/elsewhere/scans/', 'C:\\old\\scans\\'):
        table(tmp_path/'scans'/'labels.csv', 'path,label',
              *(f"{lead}s{i % 2}/{i}.png,{'ab'[i//2 % 2]}" for i in range(30)))
        with pytest.raises(ValueError, match=r"none of the 30 files .* 's0/0.png' would fit") as e:
            read_images(tmp_path/'scans')
        assert len(str(e.value).splitlines()) == 1
    table(tmp_path/'scans'/'labels.csv', 'path,label', *(f"{i}.png,{'ab'[i//2 % 2]}" for i in range(30)))
    with pytest.raises(ValueError, match="a file of that name lies at 's0/0.png'"): read_images(tmp_path/'scans')


def test_a_table_elsewhere_counts_from_its_own_folder_or_from_the_images(tmp_path):
    folders(tmp_path/'data', 's1', 's2')
    rows = [f"s{k}/{i}.png,{'ab'[i % 2]}" for k in (1, 2) for i in range(4)]
    table(tmp_path/'lists'/'t.csv', 'path,label', *rows)
    assert len(read_images(tmp_path/'data', labels_csv=tmp_path/'lists'/'t.csv')) == 8
    nfd = unicodedata.normalize('NFD', 'ä.png')
    picture(tmp_path/'data'/nfd)
    table(tmp_path/'data'/'labels.csv', 'path,label', *rows, 'ä.png,a')
    assert read_images(tmp_path/'data').ids[-1] == nfd


def test_empty_tables(tmp_path):
    table(tmp_path/'labels.csv', 'path,label')
    with pytest.raises(ValueError, match='0 class'): read_images(tmp_path)
    with pytest.raises(ValueError): read_images(tmp_path, only='x*')
    (tmp_path/'labels.csv').write_text('')
    with pytest.raises(ValueError, match="expected 'path' and 'label'"): read_images(tmp_path)


def test_one_good_class_and_one_without_labels_names_the_labels(tmp_path):
    for i in range(4): picture(tmp_path/f'{i}.png', i)
    table(tmp_path/'labels.csv', 'path,label', '0.png,a', '1.png,a', '2.png,', '3.png,')
    with pytest.raises(BadImages, match='2 unlabelled'): read_images(tmp_path)
    with pytest.raises(ValueError, match='has 1 class'): read_images(tmp_path, on_bad='skip')


# --- what a result depends on -------------------------------------------------------------------------------------------

def test_source_files_of_a_list(tmp_path, monkeypatch):
    monkeypatch.setenv('SPARSEATTNNET_OUTSIDE', str(tmp_path))
    for i in range(4): picture(tmp_path/'images'/f'{i}.png', i)
    picture(tmp_path/'images'/'other.png')
    folders(tmp_path/'store', 'p1')
    lists = table(tmp_path/'lists'/'LIST.CSV', 'path,label', *(f'../images/{i}.png,{"ab"[i % 2]}' for i in range(4)),
                  '../images/gone.png,a')
    names = lambda p: sorted(f.name for f in source_files(p))
    assert names(lists) == ['0.png', '1.png', '2.png', '3.png', 'LIST.CSV']
    assert names(tmp_path/'lists') == names(lists)
    os.symlink(tmp_path/'store'/'p1', tmp_path/'images'/'linked')
    (tmp_path/'images'/'._0.png').write_bytes(JUNK)
    assert len(names(tmp_path/'images')) == 9
    assert source_files('') == [] and source_files(tmp_path/'absent') == []
    lists.write_text('no table of labels')
    assert names(lists) == ['LIST.CSV']


def test_cached_real_sets_notice_linked_files_and_say_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('SPARSEATTNNET_OUTSIDE', str(tmp_path/'store'))
    for k, c in enumerate(('NA', 'ACT', 'ACT7d')):
        for i in range(3): picture(tmp_path/'opd'/c/f'{i}.png', 10*k + i, side=40)
    for i in range(3): picture(tmp_path/'store'/f'x{i}.png', 90 + i, side=40)
    os.symlink(tmp_path/'store', tmp_path/'opd'/'NA'/'plate2')
    (tmp_path/'opd'/'notes.txt').write_text('x')
    read = lambda: load_images('opd', folder=tmp_path/'opd', cache=tmp_path/'cache', progress=False)
    with pytest.warns(UserWarning): first, again = read(), read()
    assert capsys.readouterr().out.count('other files (.txt 1)') == 2 and first.counts().tolist() == [6, 3, 3]
    picture(tmp_path/'store'/'x0.png', 7, side=40)
    with pytest.warns(UserWarning): assert read().fingerprint != first.fingerprint == again.fingerprint


# --- npz ----------------------------------------------------------------------------------------------------------------

def pixels(n, *shape, kind=np.uint8):
    return np.random.default_rng(n).integers(0, 255, (n, *(shape or (28, 28)))).astype(kind)


@pytest.mark.parametrize('val', ['val', 'valid', 'validation', 'Val'])
def test_every_name_of_the_validation_part(tmp_path, val):
    y = lambda n: (np.arange(n) % 2)[:, None]
    np.savez(tmp_path/'a.npz', train_images=pixels(40), train_labels=y(40), test_images=pixels(20), test_labels=y(20),
             **{f'{val}_images': pixels(16), f'{val}_labels': y(16)})
    s = read_images(tmp_path/'a.npz')
    assert len(s) == 76 and len(make_split(s, 'official').val) == 16


def test_unread_arrays_are_said(tmp_path, capsys):
    np.savez(tmp_path/'a.npz', images=pixels(6), labels=np.arange(6) % 2, weights=np.ones(6), test_images=pixels(3),
             meta=np.array([{}], object))
    s, out = shown(capsys, tmp_path/'a.npz')
    assert len(s) == 6 and 'arrays: 3 (weights, test_images, meta)' in out
    np.savez(tmp_path/'b.npz', train_images=pixels(6), train_labels=np.arange(6) % 2, val_images=pixels(3),
             valid_images=pixels(3), val_labels=np.arange(3) % 2, valid_labels=np.arange(3) % 2)
    with pytest.raises(ValueError, match='val_images and valid_images, both the val part'): read_npz(tmp_path/'b.npz')


def test_npz_groups(tmp_path, capsys):
    np.savez(tmp_path/'a.npz', train_images=pixels(6), train_labels=np.arange(6) % 2,
             train_patient_id=np.array([1, 1, 2, 2, 3, 3]), test_images=pixels(3), test_labels=np.arange(3) % 2,
             test_patient_id=np.array(['01', '4', '']))
    s, out = shown(capsys, tmp_path/'a.npz')
    assert s.groups == ('1', '1', '2', '2', '3', '3', '1', '4', 'test-000002') and '9 images in 5 groups' in out


@pytest.mark.parametrize('labels, names', [(['neutrophil', 'lymphocyte'], ('lymphocyte', 'neutrophil')),
                                           ([b'B', b'A'], ('A', 'B')), ([True, False], ('class 0', 'class 1')),
                                           ([2., 0.], ('class 0', 'class 2'))])
def test_npz_label_types(tmp_path, labels, names):
    np.savez(tmp_path/'a.npz', images=pixels(20), labels=np.array(labels*10))
    s = read_npz(tmp_path/'a.npz')
    assert s.class_names == names and s.labels[:2].tolist() == [1, 0] and s.counts().tolist() == [10, 10]


def test_npz_labels_that_are_no_classes(tmp_path):
    np.savez(tmp_path/'bloodmnist_mine.npz', train_images=pixels(40, 28, 28, 3),
             train_labels=np.array([0, 1, 2, -1]*10)[:, None])
    with pytest.raises(BadImages, match='10 unlabelled'): read_npz(tmp_path/'bloodmnist_mine.npz')
    assert read_npz(tmp_path/'bloodmnist_mine.npz', on_bad='skip').class_names == ('basophil', 'eosinophil',
        'erythroblast')
    np.savez(tmp_path/'nan.npz', images=pixels(4), labels=[0., 1., np.nan, np.inf])
    with pytest.raises(BadImages, match='2 unlabelled'): read_npz(tmp_path/'nan.npz')
    np.savez(tmp_path/'frac.npz', images=pixels(4), labels=[0., .9, 1., 1.2])
    with pytest.raises(ValueError, match='2 labels of all are fractions, such as 0.9'):
        read_npz(tmp_path/'frac.npz', on_bad='skip')
    np.savez(tmp_path/'bloodmnist.npz', images=pixels(4), labels=np.array(['Platelet', 'basophil', 'ig', 'platelet']))
    with pytest.raises(ValueError, match=r"has the labels \['ig'\]"): read_npz(tmp_path/'bloodmnist.npz')


@pytest.mark.parametrize('images, labels, said', [
    (np.array([1, None]*10, object), np.arange(20) % 2, "'images' holds Python objects"),
    (pixels(20), np.array(['a', 'b']*10, object), "'labels' holds Python objects"),
    (pixels(20), np.eye(2)[np.arange(20) % 2], 'argmax'),
    (pixels(20, 28, 28, 28), np.arange(20) % 2, 'volumes are not read'),
    (pixels(20), np.arange(19) % 2, 'one label an image'),
    (pixels(20, 3, 28), np.arange(20) % 2, 'at least 8 × 8'), (pixels(20, 28), np.arange(20) % 2, 'expected numbers'),
    (pixels(20)[:0], np.arange(0), 'holds no images'),
    (pixels(20), np.array(1), 'one label an image'), (pixels(20).astype(str), np.arange(20) % 2, 'expected numbers')])
def test_npz_forms_with_a_clear_error(tmp_path, images, labels, said):
    np.savez(tmp_path/'a.npz', images=images, labels=labels)
    with pytest.raises(ValueError, match=said) as e: read_npz(tmp_path/'a.npz')
    assert len(str(e.value).splitlines()) == 1 and 'truncated' not in str(e.value)


@pytest.mark.parametrize('images', [pixels(20, kind=np.uint16), pixels(20, 28, 28, 1), pixels(20, 3, 28, 28),
                                    np.random.default_rng(0).random((20, 28, 40))])
def test_npz_forms_that_must_pass(tmp_path, images):
    np.savez_compressed(tmp_path/'A.NPZ', images=images, labels=(np.arange(20) % 2)[:, None])
    file = next(tmp_path.iterdir())
    assert read_images(file).counts().tolist() == [10, 10]


def test_npz_that_is_none(tmp_path):
    (tmp_path/'a.npz').write_bytes(b'PK\x03\x04 cut')
    with pytest.raises(BadImages, match='not a whole .npz'): read_npz(tmp_path/'a.npz')
    with (tmp_path/'b.npz').open('wb') as f: np.save(f, pixels(3))
    with pytest.raises(ValueError, match='one array without a name'): read_npz(tmp_path/'b.npz')


def test_nothing_unread_says_nothing(tmp_path, capsys):
    s, out = shown(capsys, folders(tmp_path/'data', 'a', 'b'))
    assert out == '' and report_unread({'masks': []}) == '' and s.meta['said'] == []
    assert list_images(tmp_path/'data')[2]['labels'] == 'folder names'


def test_a_folder_named_by_a_dot_and_one_that_holds_an_npz(tmp_path, capsys, monkeypatch):
    folders(tmp_path/'cells', 'a', 'a ', 'b')
    (tmp_path/'cells'/'notes.txt').write_text('x')
    monkeypatch.chdir(tmp_path/'cells')
    s, out = shown(capsys, '.')
    assert "Not read in 'cells':" in out and "One class, written in 2 ways: 'a' ('a' 4, 'a ' 4)." in out
    assert s.counts().tolist() == [8, 4]
    (tmp_path/'box').mkdir()
    np.savez(tmp_path/'box'/'data.npz', images=pixels(4), labels=[0, 1]*2)
    with pytest.raises(ValueError, match='to read data.npz, point at the file itself'): read_images(tmp_path/'box')


def test_a_list_reads_no_more_folders_than_its_images_lie_in(tmp_path):
    folders(tmp_path/'near', 'a')
    folders(tmp_path, 'far')
    rows = [f'near/a/{i}.png,{"ab"[i % 2]}' for i in range(3)]
    _, _, note = list_images(table(tmp_path/'list.csv', 'path,label', *rows))
    assert note['unread']['images that list.csv does not list'] == ['near/a/3.png']
