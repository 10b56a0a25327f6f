"""Folders and tables of event streams: every stream is read, or named with the reason why not."""
import warnings

import numpy as np
import pytest

from sparseattnnet.data.datasets import load_images
from sparseattnnet.data.images import BadImages

CLASSES = ('SW480', 'SW620')


def columns(seed=0, n=300, rows=135, cols=135):
    rng = np.random.default_rng(seed)
    return np.stack([np.arange(n), rng.integers(0, cols, n), rng.integers(0, rows, n), rng.integers(0, 2, n)], 1)


def folder(root, each=4, **kw):
    for c in CLASSES:
        (root/c).mkdir(parents=True)
        for i in range(each): np.save(root/c/f'{i}.npy', columns(i + 9*(c == 'SW480'), **kw))
    return root


def raw(path, e, head):
    words = np.stack([0x8 << 28 | e[:, 0] >> 6, e[:, 3] << 28 | (e[:, 0] & 63) << 22 | e[:, 1] << 11 | e[:, 2]], 1)
    path.write_bytes(f'% {head}\n% end\n'.encode() + words.astype('<u4').tobytes())


def load(root, cache=False, **kw):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return load_images('event', folder=root, cache=cache, progress=False, **kw)


def problems(root, **kw):
    with pytest.raises(BadImages) as e: load(root, **kw)
    return {p.path: p.reason for p in e.value.problems}


def test_hidden_files_are_passed_over(tmp_path, capsys):
    root = folder(tmp_path/'event')
    for c in CLASSES:
        for i in range(4): (root/c/f'._{i}.npy').write_bytes(b'\x00\x05\x16\x07' + b'\x00'*100)
        (root/c/'.DS_Store').write_bytes(b'1')
        (root/c/'Thumbs.db').write_bytes(b'1')
        (root/c/'.hidden').mkdir()
        np.save(root/c/'.hidden'/'9.npy', columns())
    assert load(root).counts().tolist() == [4, 4]
    assert 'Not read' not in capsys.readouterr().out


def test_other_files_are_counted_by_ending(tmp_path, capsys):
    root = folder(tmp_path/'event')
    for name in ('SW480/a.dat', 'SW480/b.DAT', 'SW620/note.txt', 'README', 'notes.csv'): (root/name).write_text('1')
    assert len(load(root)) == 8
    assert "Not read in 'event': 1 of .csv, 2 of .dat, 1 of .txt, 1 of no ending; streams end in .npy, .csv, .raw." in capsys.readouterr().out


def test_a_folder_of_other_recordings_alone(tmp_path):
    for c in CLASSES:
        (tmp_path/c).mkdir()
        (tmp_path/c/'a.dat').write_text('1')
    with pytest.raises(ValueError, match='no event stream and no frame in .*: 2 of .dat; streams end in .npy, .csv, .raw. Convert'): load(tmp_path)


def test_streams_outside_the_classes_and_classes_without_streams(tmp_path):
    root = folder(tmp_path/'event')
    np.save(root/'loose.npy', columns())
    (root/'SW000').mkdir()
    assert problems(root) == {'loose.npy': 'unlabelled: it lies outside the class folders', 'SW000/': 'empty: a class folder without event streams'}
    assert len(load(root, on_bad='skip')) == 8


def test_a_broken_array_among_streams_is_a_broken_stream(tmp_path):
    root = folder(tmp_path/'event')
    (root/'SW480'/'1.npy').write_bytes((root/'SW480'/'1.npy').read_bytes()[:50])
    assert list(problems(root)) == ['SW480/1.npy']
    np.save(root/'SW480'/'1.npy', np.zeros((135, 135), np.uint8))
    with pytest.raises(ValueError, match='8 frames|1 frames'): load(root)


def test_tables_of_events_with_other_names_say_what_to_rename(tmp_path):
    for c in CLASSES:
        (tmp_path/c).mkdir()
        (tmp_path/c/'a.csv').write_text('x,y,polarity,timestamp\n1,2,1,3\n')
    assert all('rename timestamp to t, polarity to p' in why for why in problems(tmp_path).values()) and len(problems(tmp_path)) == 2


def test_linked_folders_inside_a_class_are_read_or_said(tmp_path, capsys):
    root = folder(tmp_path/'event')
    other = folder(tmp_path/'other')
    (root/'SW480'/'plate').symlink_to(other/'SW480', target_is_directory=True)
    counts, said = load(root).counts().tolist(), capsys.readouterr().out
    assert (counts, '1 linked folders' in said) in (([8, 4], False), ([4, 4], True))


# ---------------------------------------------------------------- tables of labels
def table(root, lines, each=12):
    root.mkdir()
    for i in range(each): np.save(root/f'{i}.npy', columns(i))
    (root/'labels.csv').write_text('\n'.join(['path,label', *lines]))
    return root


def test_labels_without_stream_and_streams_without_label(tmp_path, capsys):
    lines = [f"{i}.npy,{'' if i in (3, 4) else CLASSES[i % 2]}" for i in range(12)]
    found = problems(table(tmp_path/'a', [*lines, '5.npy,SW480', 'gone.npy,SW480']))
    assert {k: v.split(':')[0] for k, v in found.items()} == {'3.npy': 'unlabelled', '4.npy': 'unlabelled', '5.npy': 'listed twice', 'gone.npy': 'missing'}
    found = problems(table(tmp_path/'b', [*lines, '5.npy,SW480']))
    assert sorted(found) == ['3.npy', '4.npy', '5.npy']
    capsys.readouterr()
    got = load(table(tmp_path/'c', lines[:3] + lines[5:]))
    assert len(got) == 10 and 'labels.csv does not list them: 2 event streams, such as 3.npy' in capsys.readouterr().out
    assert len(load(table(tmp_path/'d', lines), on_bad='skip')) == 10
    assert 'Left out, as asked: 2; kept: 10' in capsys.readouterr().out


def test_the_one_table_is_found_whatever_its_name(tmp_path):
    root = table(tmp_path/'a', [f'{i}.npy,{CLASSES[i % 2]}' for i in range(12)])
    (root/'labels.csv').rename(root/'cells.csv')
    assert load(root).counts().tolist() == load(root, labels_csv='cells.csv').counts().tolist() == [6, 6]


# ---------------------------------------------------------------- the sensor
def test_a_sensor_that_is_wider_than_high(tmp_path, capsys):
    s = load(folder(tmp_path/'event', n=4000, rows=480, cols=640))
    assert s.meta['sensor'] == [480, 640] and not (abs(s.images).sum((0, 1, 3)) == 0).any()
    said = capsys.readouterr().out
    assert 'No stream says how large the sensor is: taken as 480 rows × 640 columns' in said and 'they are stretched' in said
    e = columns(9, n=4000, rows=480, cols=640)
    want = np.zeros((135, 135))
    np.add.at(want, (e[:, 2]*135//480, e[:, 1]*135//640), 2*e[:, 3] - 1)
    assert (s.images[s.ids.index('SW480/0.npy'), 0] == want).all()


@pytest.mark.parametrize('rows, cols, sensor', [(135, 135, [135, 135]), (100, 130, [135, 135]), (256, 256, [256, 256]), (260, 346, [260, 346]), (720, 1280, [720, 1280]), (300, 400, None)])
def test_a_size_taken_from_events(tmp_path, rows, cols, sensor):
    got = load(folder(tmp_path/'event', n=4000, rows=rows, cols=cols)).meta
    assert got['sensor'] == (sensor or [got['reach'][0] + 1, got['reach'][1] + 1]) and got['sensor_from'] == 'events'


def test_the_header_comes_first(tmp_path, capsys):
    for k, c in enumerate(CLASSES):
        (tmp_path/c).mkdir()
        raw(tmp_path/c/'a.raw', columns(k, rows=200, cols=200), 'format EVT2;height=480;width=640')
    s = load(tmp_path)
    assert (s.meta['sensor'], s.meta['sensor_from']) == ([480, 640], 'header') and 'No stream says' not in capsys.readouterr().out
    assert load(tmp_path, shape=(480, 640)).fingerprint == s.fingerprint
    with pytest.raises(ValueError, match='but the headers name 480 rows and 640 columns'): load(tmp_path, shape=(640, 480))
    np.save(tmp_path/'SW480'/'b.npy', columns(rows=500))
    with pytest.raises(ValueError, match=r'the headers name \(480, 640\), but events lie in up to 499 rows'): load(tmp_path)
    (tmp_path/'SW480'/'b.npy').unlink()
    raw(tmp_path/'SW480'/'b.raw', columns(), 'format EVT2;height=320;width=320')
    with pytest.raises(ValueError, match='sensors of 2 sizes, 320 × 320 and 480 × 640'): load(tmp_path)


@pytest.mark.parametrize('shape', [640, (640,), '480x640', (0, 4), (480., 640.)])
def test_a_shape_that_is_none(tmp_path, shape):
    with pytest.raises(ValueError, match=r'expected the sensor.s \(rows, columns\)'): load(folder(tmp_path/'event'), shape=shape)


def test_a_set_from_the_cache_says_the_same(tmp_path, capsys):
    root = folder(tmp_path/'event', n=4000, rows=480, cols=640)
    first, said = load(root, cache=tmp_path/'cache'), capsys.readouterr().out
    second = load(root, cache=tmp_path/'cache')
    assert capsys.readouterr().out == said and second.fingerprint == first.fingerprint and 'No stream says' in said


# ---------------------------------------------------------------- times and remarks
def test_times_in_seconds(tmp_path):
    for c in CLASSES:
        (tmp_path/c).mkdir()
        e = columns()
        np.savetxt(tmp_path/c/'a.csv', np.column_stack([e[:, 0]/1e6, e[:, 1:]]), ['%.6f', '%d', '%d', '%d'], ',', header='t,x,y,p', comments='')
    assert all("pass unit='s'" in why for why in problems(tmp_path).values())
    assert len(load(tmp_path, unit='s')) == 2


def test_remarks_of_streams_are_passed_on(tmp_path, capsys):
    for c in CLASSES:
        (tmp_path/c).mkdir()
        raw(tmp_path/c/'a.raw', columns(), 'format EVT2;height=135;width=135')
        with (tmp_path/c/'a.raw').open('ab') as f: f.write(b'\x01')
    assert load(tmp_path).meta['remarks'] == [[f'{c}/a.raw', 'bytes of a last word that was cut off: 1'] for c in CLASSES]
    assert 'SW480/a.raw: bytes of a last word' in capsys.readouterr().out
