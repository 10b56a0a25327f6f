"""Strangers' recordings: what is read is right, what cannot be read is refused at once, by name."""
import subprocess
import sys

import numpy as np
import pytest

from sparseattnnet.data import events as E

HEAD = b'% evt 3.0\n% format EVT3;height=720;width=1280\n% end\n'


def raw(path, words, head=HEAD, dtype='<u2'):
    path.write_bytes(head + np.array(words, dtype).tobytes())
    return path


def refusal(f, *args, **kw):
    with pytest.raises(ValueError) as e: f(*args, **kw)
    return str(e.value)


# ---------------------------------------------------------------- times
def test_evt3_counts_each_wrap_of_time_low_once(tmp_path):
    t, words, high = np.arange(0, 40_000, 100), [], -1
    for k in t.tolist():
        if k >> 12 != high: words.append(0x8000 | (high := k >> 12))
        words += [0x6000 | k & 0xFFF, 50, 0x2000 | (k//100 % 2) << 11 | 60]
    e = E.read_events(raw(tmp_path/'a.raw', words))
    assert (e['t'] == t).all() and set(e['x']) == {60} and set(e['y']) == {50} and (e['p'] == np.arange(400) % 2).all()
    assert [len(w) for w in E.windows(e, 10_000)] == [100]*4


def test_evt3_time_high_wraps_after_two_to_the_24(tmp_path):
    words = []
    for high in range(0, 2*4096 + 10): words += [0x8000 | high & 0xFFF] + ([0x6005, 0x0001, 0x2001] if high % 1000 == 0 else [])
    e = E.read_events(raw(tmp_path/'a.raw', words))
    assert e['t'].tolist() == [(h << 12) + 5 for h in range(0, 2*4096 + 10, 1000)]


def test_evt3_a_new_time_high_starts_time_low_again_and_a_repeated_one_does_not(tmp_path):
    e = E.read_events(raw(tmp_path/'a.raw', [0x8001, 0x6007, 0, 0x2000, 0x8001, 0x2000, 0x8002, 0x2000, 0x6003, 0x2000]))
    assert e['t'].tolist() == [4096 + 7, 4096 + 7, 8192, 8192 + 3]


def test_evt3_a_small_step_back_is_no_wrap(tmp_path):
    path = raw(tmp_path/'a.raw', [0x8005, 0x6001, 0, 0x2000, 0x8004, 0x6FFF, 0x2000])
    assert 'time runs backwards' in refusal(E.read_events, path)
    assert E.read_events(path, sort=True)['t'].tolist() == [4*4096 + 4095, 5*4096 + 1]


def test_evt3_wraps_between_blocks_of_bits_agree_with_one_block():
    rng = np.random.default_rng(1)
    words = (rng.choice([3, 4, 5, 6, 8, 0], 5000) << 12 | rng.integers(0, 4096, 5000)).astype(np.uint16)
    masks = (words & 0xFFF).astype(np.uint16)
    for one, many in zip(E._set_bits(masks, 12), E._set_bits(masks, 12, block=7)): assert (one == many).all()


def test_evt2_wraps_after_two_to_the_34(tmp_path):
    words = [0x8 << 28 | 0xFFFFFFF, 1 << 28 | 63 << 22 | 3 << 11 | 4, 0x8 << 28, 0 << 28 | 1 << 22 | 5 << 11 | 6]
    e = E.read_events(raw(tmp_path/'a.raw', words, b'% evt 2.0\n% end\n', '<u4'))
    assert e.tolist() == [(2**34 - 1, 3, 4, 1), (2**34 + 1, 5, 6, 0)]


def test_big_endian_words(tmp_path):
    e = E.read_events(raw(tmp_path/'a.raw', [0x8000, 0x6001, 5, 0x2801], b'% format EVT3;endianness=big\n% end\n', '>u2'))
    assert e.tolist() == [(1, 1, 5, 1)]


# ---------------------------------------------------------------- words that are no events
def test_padding_and_triggers_are_skipped_and_said(tmp_path, capsys):
    words = [0x8000]
    for k in range(200): words += [0x6000 | k*10, 50, 0x2000 | (k % 2) << 11 | 60] + ([0x9999] if k % 50 == 49 else [])
    assert len(E.read_events(raw(tmp_path/'a.raw', words + [0xA001]))) == 200
    assert 'words of reserved types (0x9), skipped: 4' in (said := capsys.readouterr().out) and 'external triggers, not read: 1' in said


def test_events_before_any_time_or_row_are_left_out_and_said(tmp_path, capsys):
    e = E.read_events(raw(tmp_path/'a.raw', [5, 0x2001, 0x8000, 0x6001, 0x2002, 0x4FFF]))
    assert e.tolist() == [(1, 2, 5, 0)]
    assert 'events before the first word of time or place, left out: 13' in capsys.readouterr().out


def test_rows_of_another_kind_of_event_are_no_events_of_pixels(tmp_path):
    assert E.read_events(raw(tmp_path/'a.raw', [0x8000, 0x6001, 5, 0x2001, 0x1007, 0x2002, 6, 0x2003]))['x'].tolist() == [1, 3]


@pytest.mark.parametrize('extra', range(1, 8))
def test_a_last_word_that_was_cut_off_is_left_out_and_said(tmp_path, capsys, extra):
    words = np.array([0x8 << 60, 1 << 60 | 9 << 54 | 64 << 43 | 100 << 32 | 1], '<u8')
    path = tmp_path/'a.raw'
    path.write_bytes(b'% format EVT21;endianness=little\n% end\n' + words.tobytes() + words.tobytes()[-8:-8 + extra])
    assert E.read_events(path).tolist() == [(9, 64, 100, 1)]
    assert f'bytes of a last word that was cut off: {extra}' in capsys.readouterr().out


def test_a_few_events_outside_the_sensor_are_left_out_and_said(tmp_path, capsys):
    words = [0x8000, 0x6001, 5] + [0x2000 | k for k in range(300)] + [800, 0x2001]
    assert len(E.read_events(raw(tmp_path/'a.raw', words))) == 300
    assert 'events outside the sensor of 1280x720 pixels, left out: 1' in capsys.readouterr().out


# ---------------------------------------------------------------- headers
def test_evt21_is_not_evt2(tmp_path):
    words = []
    for k in range(50): words += [(0x8 << 60) | k << 32, ((k % 2) << 60) | (64 << 43) | (100 << 32) | 0x1]
    head = b'% evt 2.1\n% format EVT21;endianness=little;height=320;width=320\n% end\n'
    r = E.read_recording(raw(tmp_path/'a.raw', words, head, '<u8'))
    assert r.sensor == (320, 320) and r.events['t'].tolist() == [64*k for k in range(50)]
    assert set(zip(r.events['x'].tolist(), r.events['y'].tolist())) == {(64, 100)}
    assert 'EVT2.1 with endianness not named' in refusal(E.read_events, raw(tmp_path/'b.raw', words, b'% evt 2.1\n% end\n', '<u8'))


@pytest.mark.parametrize('text', [b'% date 2024-01-01 10:00:00\n% evt 3.0\n% format EVT3', b'% ', b'% evt 3.0\n', b'% evt 3.0\n% end', b'% evt 3.0\n% end\n', b'% ' + b'x'*10_000])
def test_a_header_that_breaks_off_is_refused_at_once(tmp_path, text):
    (tmp_path/'a.raw').write_bytes(text)
    code = 'import sys; from sparseattnnet.data.events import read_events\ntry: read_events(sys.argv[1])\nexcept ValueError as e: print(e)'
    out = subprocess.run([sys.executable, '-c', code, str(tmp_path/'a.raw')], capture_output=True, text=True, timeout=60)
    assert out.stdout.startswith("'a.raw': truncated: ") and not out.stderr


@pytest.mark.parametrize('text, why', [('% format EVT4;height=9;width=9', 'EVT4 is not read'), ('% format DIFF3D;height=9', 'DIFF3D is not read'), ('% evt 4.0', 'EVT4'),
    ('% date today', 'names no encoding'), ('% evt 3.0\n% format EVT2', 'EVT2 and EVT3'), ('% format EVT3;endianness=middle', 'endianness middle')])
def test_other_encodings_are_refused_by_name(tmp_path, text, why):
    assert why in refusal(E.read_events, raw(tmp_path/'a.raw', [0x8000, 0x6001, 5, 0x2801], f'{text}\n% end\n'.encode()))


@pytest.mark.parametrize('text, size', [('% format EVT3;height=720;width=1280', (720, 1280)), ('% evt 3.0\n% geometry 640x480', (480, 640)), ('% evt 3.0', None),
    ('% format EVT3;width=1280;height=720\r\n% geometry 1280x720\r', (720, 1280)), ('% format EVT3.0;height=2;width=3', (2, 3)), ('% evt 3.0\n% geometry wide', None)])
def test_size_of_the_sensor(tmp_path, text, size):
    assert E.sensor_size(raw(tmp_path/'a.raw', [], f'{text}\n% end\n'.encode())) == size


def test_rubbish_after_a_header_never_breaks_the_reader(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(300):
        head = [b'% evt 2.0\n', b'% evt 3.0\n', b'% format EVT21;endianness=legacy\n', HEAD][i % 4] + [b'% end\n', b''][i % 3 == 0]
        (tmp_path/'a.raw').write_bytes(head + rng.bytes(rng.integers(0, 200)))
        try: e = E.read_events(tmp_path/'a.raw', sort=True)
        except ValueError as problem: assert str(problem).startswith("'a.raw': ")
        else: assert len(e) and (np.diff(e['t']) >= 0).all()


# ---------------------------------------------------------------- arrays and tables
def structured(t, x, y, p):
    p = np.asarray(p)
    a = np.empty(len(t), [('t', np.asarray(t).dtype), ('x', '<u2'), ('y', '<u2'), ('p', p.dtype)])
    a['t'], a['x'], a['y'], a['p'] = t, x, y, p
    return a


def test_times_that_are_no_microseconds(tmp_path):
    t = np.sort(np.random.default_rng(0).uniform(0, .5, 500))
    np.save(tmp_path/'s.npy', structured(t, np.ones(500), np.ones(500), np.ones(500, int)))
    (tmp_path/'s.csv').write_text('t,x,y,p\n' + ''.join(f'{a:.6f},1,1,1\n' for a in t))
    for name in ('s.npy', 's.csv'):
        assert "pass unit='s'" in refusal(E.read_events, tmp_path/name)
        assert abs(E.read_events(tmp_path/name, unit='s')['t'] - t*1e6).max() <= 1
    assert "pass unit='s'" in refusal(E.as_events, [.5], [0], [0], [1])


def test_epoch_nanoseconds_keep_their_microseconds(tmp_path):
    t = 1_700_000_000_000_000_000 + np.arange(50)*1000
    np.save(tmp_path/'ns.npy', structured(t, np.ones(50), np.ones(50), np.ones(50, int)))
    assert (E.read_events(tmp_path/'ns.npy', unit='ns')['t'] == t//1000).all()
    np.save(tmp_path/'far.npy', structured(np.array([2**63], np.uint64), [1], [1], [1]))
    assert 'whole microseconds' in refusal(E.read_events, tmp_path/'far.npy')


def test_polarities(tmp_path):
    p = np.arange(100) % 2
    for name, q, on in (('minus', 2*p - 1, p), ('bool', p.astype(bool), p), ('ones', p*0 + 1, p*0 + 1), ('zeros', p*0, p*0), ('float', p*1., p)):
        np.save(tmp_path/'a.npy', structured(np.arange(100), p, p, q))
        assert (E.read_events(tmp_path/'a.npy')['p'] == on).all(), name
    for q in (p + 1, np.array([-1, 0, 1, 1]*25), p*.5, p*255):
        np.save(tmp_path/'a.npy', structured(np.arange(100), p, p, q))
        assert 'expected 0 and 1, or -1 and 1' in refusal(E.read_events, tmp_path/'a.npy')


def test_columns_in_another_order(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 100, (2, 100))
    np.save(tmp_path/'xytp.npy', np.stack([x, y, np.arange(100)*10, x % 2], 1))
    assert 'pass order=' in refusal(E.read_events, tmp_path/'xytp.npy')
    assert (E.read_events(tmp_path/'xytp.npy', order='xytp')['x'] == x).all()
    np.save(tmp_path/'turned.npy', np.zeros((4, 100)))
    assert 'transpose it' in refusal(E.read_events, tmp_path/'turned.npy')


def test_float32_times_are_read_and_said(tmp_path, capsys):
    t = np.arange(100)*10 + 2**25
    np.save(tmp_path/'f.npy', np.stack([t, t*0, t*0, t*0], 1).astype(np.float32))
    assert abs(E.read_events(tmp_path/'f.npy')['t'] - t).max() <= 2
    assert 'stored as float32' in capsys.readouterr().out


@pytest.mark.parametrize('text, why', [
    ('%geometry:1280,720\n1,2,1,3\n', "'%geometry:1280,720' is no header"), ('1,2,3,1\n2,2,3,1\n', 'is no header'), ('t x y p\n1 2 3 1\n', 'spaces; expected commas'),
    ('t;x;y;p\n1;2;3;1\n', 'semicolons; expected commas'), ('t\tx\ty\tp\n1\t2\t3\t1\n', 'tabs; expected commas'), ('x,y,polarity,timestamp\n1,2,1,3\n', 'rename timestamp to t, polarity to p'),
    ('t,x,x,y,p\n1,2,2,3,1\n', 'column x twice'), ('t,x,y,p\n1,2,3,1\n# a remark\n', 'unreadable'), ('t,x,y,p\n1,2,3,1\n2,2\n', 'unreadable'), ('t,x,y,p\n1,2.5,3,1\n', 'not whole')])
def test_tables_that_are_not_read(tmp_path, text, why):
    (tmp_path/'a.csv').write_text(text)
    assert why in refusal(E.read_events, tmp_path/'a.csv')


def test_a_table_from_another_programme(tmp_path):
    (tmp_path/'a.csv').write_bytes('\ufeffT, X ,Y,P,note\r\n1,2,3,1,4\r\n'.encode())
    assert E.read_events(tmp_path/'a.csv').tolist() == [(1, 2, 3, 1)]
    (tmp_path/'a.csv').write_bytes('t,x,y,p\n1,2,3,1\n'.encode('utf-16'))
    assert "'CSV UTF-8'" in refusal(E.read_events, tmp_path/'a.csv')


@pytest.mark.parametrize('name', ['a.dat', 'a.h5', 'a.aedat4', 'a.txt', 'a.npz', 'a'])
def test_other_recordings_are_refused_by_ending(tmp_path, name):
    (tmp_path/name).write_bytes(b'1')
    assert 'is not read; expected one of .npy, .csv, .raw' in refusal(E.read_events, tmp_path/name)
