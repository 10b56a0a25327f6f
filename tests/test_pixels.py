"""What a file says about its pixels is obeyed, and what it does not say is asked for: strangers' images, one kind a test."""
import hashlib
import json

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from sparseattnnet.data.images import BadImages, ImageSet, open_image, read_images

RNG = np.random.default_rng(0)
FOUR = RNG.integers(0, 4000, (4, 24, 20), dtype=np.uint16)
COLOUR = RNG.integers(0, 256, (24, 20, 3), dtype=np.uint8)
NAMES = ('bf', 'dapi', 'fitc', 'pe')


def refuses(text, *args, **kw):
    with pytest.raises(ValueError, match=text): open_image(*args, **kw)


def first(a): return np.moveaxis(a, -1, 0)


# Stacks ---------------------------------------------------------------------------------------------------------------

def write_stack(path, kind):
    last = np.moveaxis(FOUR, 0, -1)
    if kind == 'samples': tifffile.imwrite(path, last, photometric='minisblack', planarconfig='contig')
    if kind == 'planes': tifffile.imwrite(path, FOUR, photometric='minisblack', planarconfig='separate')
    if kind == 'pages': tifffile.imwrite(path, FOUR, photometric='minisblack')
    if kind == 'imagej': tifffile.imwrite(path, FOUR, imagej=True, metadata={'axes': 'CYX'})
    if kind == 'one directory': tifffile.imwrite(path, FOUR, photometric='minisblack', contiguous=True, metadata={'axes': 'ZYX'})
    if kind == 'ome': tifffile.imwrite(path, FOUR, ome=True, photometric='minisblack', metadata={'axes': 'CYX'})
    if kind == 'plain pages':
        with tifffile.TiffWriter(path) as w:
            for p in FOUR: w.write(p, photometric='minisblack', metadata=None)
    if kind == 'unspecified': tifffile.imwrite(path, last, photometric='rgb', extrasamples=['unspecified'])
    if kind == 'npy first': np.save(path, FOUR)
    if kind == 'npy last': np.save(path, last)


@pytest.mark.parametrize('kind', ['samples', 'planes', 'pages', 'imagej', 'one directory', 'ome', 'plain pages', 'unspecified', 'npy first', 'npy last'])
def test_four_channels_are_refused_until_they_are_named(tmp_path, kind):
    path = tmp_path/('x.npy' if 'npy' in kind else 'x.tif')
    write_stack(path, kind)
    refuses(r"^oddly typed: .*channels='name,name,…'", path)
    np.testing.assert_array_equal(open_image(path, NAMES), FOUR)
    refuses('channels= names 3: bf, dapi, fitc', path, NAMES[:3])


@pytest.mark.parametrize('kind', ['samples', 'planes', 'pages'])
def test_three_planes_are_no_colours(tmp_path, kind):
    three = FOUR[:3]
    how = {'samples': (first(first(three)), 'contig'), 'planes': (three, 'separate'), 'pages': (three, None)}[kind]
    a = np.moveaxis(three, 0, -1) if kind == 'samples' else how[0]
    tifffile.imwrite(tmp_path/'x.tif', a, photometric='minisblack', planarconfig=how[1])
    refuses("channels='name,name,…'", tmp_path/'x.tif')
    np.testing.assert_array_equal(open_image(tmp_path/'x.tif', ('a', 'b', 'c')), three)


def test_a_file_of_more_dimensions_than_channels_is_refused_even_with_names(tmp_path):
    tifffile.imwrite(tmp_path/'zc.tif', np.stack([FOUR[:2], FOUR[2:]]), photometric='minisblack', metadata={'axes': 'ZCYX'})
    refuses(r'axes ZCYX \(2 × 2 × 24 × 20\)', tmp_path/'zc.tif', NAMES)
    with tifffile.TiffWriter(tmp_path/'sizes.tif') as w:
        w.write(FOUR[0], photometric='minisblack')
        w.write(FOUR[0, ::2, ::2], photometric='minisblack')
    refuses('a stack of 2 pages', tmp_path/'sizes.tif')
    refuses('one for each channel', tmp_path/'sizes.tif', NAMES[:2])


def test_the_axis_of_twelve_channels_is_found_by_their_number_or_refused(tmp_path):
    names = tuple(f'c{i}' for i in range(12))
    a = RNG.integers(0, 99, (12, 20, 30), dtype=np.uint8)
    for x in (a, np.moveaxis(a, 0, -1)):
        np.save(tmp_path/'x.npy', x)
        np.testing.assert_array_equal(open_image(tmp_path/'x.npy', names), a)
        refuses('12 channels of unknown meaning', tmp_path/'x.npy')
    np.save(tmp_path/'x.npy', RNG.integers(0, 99, (12, 30, 12), dtype=np.uint8))
    refuses('may be the first axis or the last', tmp_path/'x.npy', names)


def test_rgba_files_give_four_channels_to_those_who_name_four(tmp_path):
    rgba = RNG.integers(0, 256, (24, 20, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path/'x.png')
    np.testing.assert_array_equal(open_image(tmp_path/'x.png', NAMES), first(rgba))


def test_a_cut_stack_is_truncated(tmp_path):
    tifffile.imwrite(tmp_path/'x.tif', FOUR, photometric='minisblack')
    whole = (tmp_path/'x.tif').read_bytes()
    (tmp_path/'x.tif').write_bytes(whole[:-500])
    refuses('^truncated', tmp_path/'x.tif', NAMES)


# Colour ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('compression', [None, 'tiff_lzw', 'tiff_deflate', 'jpeg'])
@pytest.mark.parametrize('colour', [(200, 30, 30), (30, 30, 200), (30, 180, 60)])
def test_ycbcr_tiff_becomes_rgb(tmp_path, compression, colour):
    a = np.full((64, 64, 3), colour, np.uint8)
    a[:8, :16] = 90
    Image.fromarray(a).convert('YCbCr').save(tmp_path/'x.tif', **({'compression': compression} if compression else {}))
    got = open_image(tmp_path/'x.tif')
    assert np.abs(got[:, 40, 40].astype(int) - colour).max() <= 2
    assert np.abs(got[:, 3, 3].astype(int) - 90).max() <= 2


def test_ycbcr_with_subsampling_or_pages_is_refused(tmp_path):
    y = np.full((16, 16, 3), (80, 99, 213), np.uint8)
    y[:4] = 30
    tifffile.imwrite(tmp_path/'sub.tif', y, photometric='ycbcr', subsampling=(1, 1), extratags=[])
    assert np.abs(open_image(tmp_path/'sub.tif')[:, 9, 9].astype(int) - (199, 29, 28)).max() <= 2
    data = bytearray((tmp_path/'sub.tif').read_bytes())
    with tifffile.TiffFile(tmp_path/'sub.tif') as t: at = t.pages[0].tags[530].valueoffset
    data[at:at + 4] = (2, 0, 2, 0)
    (tmp_path/'sub.tif').write_bytes(data)
    refuses('kind YCBCR with pages, subsampling', tmp_path/'sub.tif')


def test_colour_kinds_without_a_conversion_are_refused_by_name(tmp_path):
    im, lab = Image.fromarray(COLOUR), ImageCms.createProfile('LAB')
    im.convert('CMYK').save(tmp_path/'cmyk.tif')
    im.convert('CMYK').save(tmp_path/'cmyk.jpg')
    ImageCms.applyTransform(im, ImageCms.buildTransform(ImageCms.createProfile('sRGB'), lab, 'RGB', 'LAB')).save(tmp_path/'lab.tif')
    im.convert('P').save(tmp_path/'palette.tif')
    for end in ('png', 'tif', 'bmp'): im.convert('1').save(tmp_path/f'one.{end}')
    refuses('kind SEPARATED', tmp_path/'cmyk.tif')
    refuses('colour mode CMYK', tmp_path/'cmyk.jpg')
    refuses('kind CIELAB', tmp_path/'lab.tif')
    refuses('palette, whose numbers may be measurements or colours', tmp_path/'palette.tif')
    for end in ('png', 'tif', 'bmp'): refuses('oddly typed: 1-bit', tmp_path/f'one.{end}')


def test_grey_palettes_and_white_is_zero_are_read_as_seen(tmp_path):
    grey = COLOUR[..., 0]
    ramp = np.repeat((np.arange(256)*257).astype(np.uint16)[None], 3, 0)
    tifffile.imwrite(tmp_path/'ramp.tif', grey, photometric='palette', colormap=ramp)
    np.testing.assert_array_equal(open_image(tmp_path/'ramp.tif'), grey[None])
    tifffile.imwrite(tmp_path/'back.tif', grey, photometric='palette', colormap=ramp[:, ::-1])
    refuses('palette', tmp_path/'back.tif')
    for kind, top in ((np.uint8, 255), (np.uint16, 65535)):
        tifffile.imwrite(tmp_path/'white.tif', grey.astype(kind), photometric='miniswhite')
        np.testing.assert_array_equal(open_image(tmp_path/'white.tif')[0], top - grey.astype(kind))


def test_grey_and_rgb_files_are_read_to_the_bit(tmp_path):
    deep = COLOUR.astype(np.uint16)*200 + 3
    wanted = {'g8.png': COLOUR[..., 0], 'c8.png': COLOUR, 'c8.bmp': COLOUR, 'g8.bmp': COLOUR[..., 1]}
    for name, a in wanted.items(): Image.fromarray(a).save(tmp_path/name)
    Image.fromarray(COLOUR).quantize(256).save(tmp_path/'p.png')
    wanted['p.png'] = np.asarray(Image.open(tmp_path/'p.png').convert('RGB'))
    for name, a in {'g16.png': deep[..., 0], 'c16.png': deep}.items():
        (tmp_path/name).write_bytes(imagecodecs.png_encode(np.ascontiguousarray(a)))
        wanted[name] = a
    for name, a in {'g16.tif': deep[..., 0], 'c16.tif': deep, 'c8.tif': COLOUR, 'f.tif': deep[..., 0]/np.float32(7)}.items():
        tifffile.imwrite(tmp_path/name, a, photometric='rgb' if a.ndim == 3 else 'minisblack')
        wanted[name] = a
    tifffile.imwrite(tmp_path/'planar.tif', first(COLOUR), photometric='rgb', planarconfig='separate')
    np.save(tmp_path/'last.npy', COLOUR)
    np.save(tmp_path/'first.npy', first(COLOUR))
    for name, a in (wanted | dict.fromkeys(('planar.tif', 'last.npy', 'first.npy'), COLOUR)).items():
        got = open_image(tmp_path/name)
        assert got.dtype == a.dtype
        np.testing.assert_array_equal(got, first(a) if a.ndim == 3 else a[None], err_msg=name)


# Orientation ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('turn', range(9))
@pytest.mark.parametrize('kind', ['jpg', 'png', 'png16', 'colour png16', 'tif', 'planar tif', 'ycbcr tif', 'stack'])
def test_orientation_is_obeyed(tmp_path, turn, kind):
    said = Image.Exif()
    said[0x0112] = turn
    a = np.kron(RNG.integers(20, 230, (6, 8), dtype=np.uint8), np.ones((8, 8), np.uint8))
    im = Image.fromarray(a)
    im.getexif()[0x0112] = turn
    want = np.asarray(ImageOps.exif_transpose(im)).astype(int)
    path, names, extra = tmp_path/('x.' + {'jpg': 'jpg'}.get(kind, 'png' if 'png' in kind else 'tif')), (), [(274, 3, 1, turn, True)]
    if kind in ('jpg', 'png'): Image.fromarray(a).save(path, exif=said, **({'quality': 98} if kind == 'jpg' else {}))
    elif kind == 'png16': Image.fromarray(a.astype(np.uint16)).save(path, exif=said)
    elif kind == 'colour png16':
        Image.fromarray(a).save(path, exif=said)
        chunk = path.read_bytes()
        at = chunk.index(b'eXIf') - 4
        chunk = chunk[at:at + 12 + int.from_bytes(chunk[at:at + 4], 'big')]
        plain = imagecodecs.png_encode(np.dstack([a.astype(np.uint16)]*3))
        path.write_bytes(plain[:33] + chunk + plain[33:])
    elif kind == 'tif': tifffile.imwrite(path, a, extratags=extra)
    elif kind == 'planar tif': tifffile.imwrite(path, np.stack([a]*3), photometric='rgb', planarconfig='separate', extratags=extra)
    elif kind == 'ycbcr tif': tifffile.imwrite(path, np.dstack([a, np.full_like(a, 128), np.full_like(a, 128)]), photometric='ycbcr', subsampling=(1, 1), extratags=extra)
    elif kind == 'stack': tifffile.imwrite(path, np.stack([a, a]), photometric='minisblack', extratags=extra); names = ('a', 'b')
    got = open_image(path, names)
    assert got.shape[1:] == want.shape
    assert np.abs(got.astype(int) - want).max() <= (30 if kind == 'jpg' else 0)
    assert np.abs(got.astype(int) - want).mean() < 2
    assert got.flags.c_contiguous


# Transparency ---------------------------------------------------------------------------------------------------------

def clear_image(kind=np.uint8):
    a = RNG.integers(0, 256, (24, 20, 4)).astype(kind)*(257 if kind == np.uint16 else 1)
    a[..., 3] = 0
    a[8:16, 8:16, 3] = np.iinfo(kind).max
    return a


@pytest.mark.parametrize('name', ['x.png', 'x16.png', 'x.tif', 'x16.tif', 'premultiplied.tif', 'grey.png', 'grey16.png', 'grey.tif'])
def test_rubbish_under_alpha_never_reaches_the_network(tmp_path, name):
    kind, grey = np.uint16 if '16' in name else np.uint8, name.startswith('grey')
    a, top = clear_image(kind), np.iinfo(kind).max
    if name == 'premultiplied.tif': a[a[..., 3] == 0] = 0
    a = a[..., [0, 3]] if grey else a
    if name.endswith('.tif'):
        tifffile.imwrite(tmp_path/name, a, photometric='minisblack' if grey else 'rgb', planarconfig='contig', extrasamples=['assocalpha' if 'pre' in name else 'unassalpha'])
    elif kind == np.uint16: (tmp_path/name).write_bytes(imagecodecs.png_encode(np.ascontiguousarray(a)))
    else: Image.fromarray(a).save(tmp_path/name)
    for ground, value in (('white', top), ('black', 0)):
        got = open_image(tmp_path/name, ground=ground)
        want = np.where(a[..., -1:] == top, a[..., :-1], value)
        assert got.dtype == kind
        np.testing.assert_array_equal(got, first(want))


@pytest.mark.parametrize('mode', ['L', 'RGB', 'P', 'RGB16', 'L16'])
def test_a_transparent_colour_of_a_png_is_alpha_too(tmp_path, mode):
    a = np.where(RNG.random((24, 20, 3)) < .5, 60, 200).astype(np.uint8) if mode[0] == 'R' else np.repeat(np.where(RNG.random((24, 20, 1)) < .5, 60, 200), 3, 2).astype(np.uint8)
    a[:12] = 7
    if '16' in mode:
        deep = a.astype(np.uint16)*100
        body = imagecodecs.png_encode(np.ascontiguousarray(deep if mode[0] == 'R' else deep[..., 0]))
        key = (700).to_bytes(2, 'big')*(3 if mode[0] == 'R' else 1)
        import zlib
        chunk = len(key).to_bytes(4, 'big') + b'tRNS' + key + zlib.crc32(b'tRNS' + key).to_bytes(4, 'big')
        (tmp_path/'x.png').write_bytes(body[:33] + chunk + body[33:])
    elif mode == 'P':
        im = Image.fromarray(a[..., 0]).convert('P')
        im.save(tmp_path/'x.png', transparency=im.getpixel((0, 0)))
    else: Image.fromarray(a if mode == 'RGB' else a[..., 0]).save(tmp_path/'x.png', transparency=(7, 7, 7) if mode == 'RGB' else 7)
    got = open_image(tmp_path/'x.png')
    assert (got[:, :12] == (65535 if '16' in mode else 255)).all()
    np.testing.assert_array_equal(got[:, 12:], first(a[12:, :, :len(got)].astype(np.uint16)*(100 if '16' in mode else 1)))


def test_opaque_alpha_goes_and_an_image_of_nothing_else_is_empty(tmp_path):
    Image.fromarray(np.dstack([COLOUR, np.full((24, 20), 255, np.uint8)])).save(tmp_path/'x.png')
    np.testing.assert_array_equal(open_image(tmp_path/'x.png', ground='black'), first(COLOUR))
    Image.fromarray(np.dstack([COLOUR, np.zeros((24, 20), np.uint8)])).save(tmp_path/'x.png')
    refuses('^empty: every pixel is transparent', tmp_path/'x.png')


def test_a_folder_says_that_it_was_laid_on_a_ground(tmp_path, capsys):
    for k in 'ab':
        (tmp_path/k).mkdir()
        for i in range(2): Image.fromarray(clear_image()).save(tmp_path/k/f'{i}.png')
    s = read_images(tmp_path, ground='black')
    assert "4 of 4 images have transparent pixels, which were laid on black; ground='white' takes the other" in capsys.readouterr().out
    assert s.meta['transparent'] == ['a/0.png', 'a/1.png', 'b/0.png', 'b/1.png'] and s.meta['ground'] == 'black'
    with pytest.raises(ValueError, match='expected one of white, black'): read_images(tmp_path, ground='grey')


def test_films_are_refused(tmp_path):
    frames = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1])]
    frames[0].save(tmp_path/'x.png', save_all=True, append_images=frames[1:])
    refuses('a film of 2 frames', tmp_path/'x.png')


# The set --------------------------------------------------------------------------------------------------------------

def tiny(kind=np.uint8, c=1, **kw):
    x = RNG.integers(0, 200, (4, c, 8, 8)).astype(kind)
    return ImageSet(x, [0, 1, 0, 1], 'abcd', 'abcd', ('p', 'q'), simulated=True, **kw)


@pytest.mark.parametrize('s', [tiny(), tiny(c=3), tiny(np.float32, value_range=(-3, 3)), tiny(np.uint16)], ids=['grey', 'rgb', 'fixed range', 'no range'])
def test_the_fingerprint_of_grey_and_rgb_sets_is_as_it_was(s):
    head = dict(content=s.content_hashes(), labels=s.labels.tolist(), ids=s.ids, groups=s.groups, class_names=s.class_names, value_range=s.value_range)
    assert s.fingerprint == hashlib.sha256(json.dumps(head).encode()).hexdigest()


def test_a_fitted_range_is_no_part_of_the_fingerprint():
    raw = tiny(np.uint16)
    fits = [raw.fit_range([i]) for i in range(4)]
    assert len({s.value_range for s in fits}) > 1
    assert {s.fingerprint for s in fits} == {raw.fingerprint}
    assert fits[0].subset([0, 1]).fingerprint == raw.subset([0, 1]).fingerprint
    assert fits[0].with_range(0, 9).fingerprint == raw.with_range(0, 9).fingerprint != raw.fingerprint
    eight = tiny()
    assert eight.fit_range([0], refit=True).fit_range([1], refit=True).fingerprint == eight.fingerprint


def test_named_channels_get_a_range_each_and_colours_keep_one():
    x = np.stack([RNG.integers(500, 900, (6, 8, 8)), RNG.integers(0, 20, (6, 8, 8)), RNG.integers(9000, 60000, (6, 8, 8))], 1).astype(np.uint16)
    about = dict(labels=[0, 1]*3, ids=range(6), groups=range(6), class_names=('p', 'q'), simulated=True)
    named = ImageSet(x, modality='cytometry', channel_names=('bf', 'ssc', 'dapi'), **about).fit_range(range(4))
    got = named.batch(slice(None)).numpy()
    for c in range(3):
        lo, hi = np.percentile(x[:4, c], (.1, 99.9))
        np.testing.assert_allclose(got[:, c], ((x[:, c] - lo)/(hi - lo)).clip(0, 1), atol=1e-6)
    colour = ImageSet(x, **about).fit_range(range(4))
    assert colour.value_range == tuple(np.percentile(x[:4], (.1, 99.9)))
    assert named.with_range(*named.value_range).value_range == named.value_range
    assert json.loads(json.dumps(named.meta))['fitted']['before'] is None


def test_npz_stacks(tmp_path, capsys):
    x, y = RNG.integers(0, 255, (6, 28, 24, 4), dtype=np.uint8), np.arange(6) % 2
    np.savez(tmp_path/'rgba.npz', images=x, labels=y)
    with pytest.raises(BadImages, match='4 channels of unknown meaning'): read_images(tmp_path/'rgba.npz')
    with pytest.raises(BadImages, match='4 channels of unknown meaning'): read_images(tmp_path/'rgba.npz', channels=1)
    s = read_images(tmp_path/'rgba.npz', channels=' bf, dapi,fitc ,pe')
    assert (s.channel_names, s.modality) == (NAMES, 'multichannel')
    np.testing.assert_array_equal(s.images, np.moveaxis(x, -1, 1))
    np.savez(tmp_path/'three.npz', images=x[..., :3], labels=y)
    assert read_images(tmp_path/'three.npz').channel_names == ('red', 'green', 'blue')
    assert "channels='red,green,blue' confirms it" in capsys.readouterr().out
    assert read_images(tmp_path/'three.npz', channels='red,green,blue').modality == 'brightfield'
    assert read_images(tmp_path/'three.npz', channels='3').shape == (3, 28, 24)
    assert not capsys.readouterr().out
    with pytest.raises(ValueError, match='in brightfield they are red, green, blue'): read_images(tmp_path/'three.npz', channels='a,b,c', modality='brightfield')


# Folders of channels --------------------------------------------------------------------------------------------------

def channel_folders(root, cells=6, classes='gs'):
    x = RNG.integers(0, 999, (cells, 2, 12, 10), dtype=np.uint16)
    for c, name in enumerate(('bf', 'df')):
        for i in range(cells):
            (f := root/name/classes[i % 2]/f'{i}.png').parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(x[i, c]).save(f)
    return x


def numbers(s): return [int(i.split('/')[-1][:-4]) for i in s.ids]


def test_channel_folders_with_class_folders(tmp_path):
    x = channel_folders(tmp_path)
    s = read_images(tmp_path, channels='bf,df', modality='cytometry', only='?/*', progress=False)
    np.testing.assert_array_equal(s.images, x[numbers(s)])
    assert (s.class_names, s.modality, s.channel_names) == (('g', 's'), 'cytometry', ('bf', 'df'))
    assert read_images(tmp_path, channels='df').channel_names == ('df',)


def test_channel_folders_without_their_names_are_not_taken_for_classes(tmp_path, caplog):
    channel_folders(tmp_path)
    with pytest.raises(ValueError, match="pass channels='bf,df'"): read_images(tmp_path)
    for old, new in (('bf', 'sick'), ('df', 'well')): (tmp_path/old).rename(tmp_path/new)
    with caplog.at_level('INFO'): s = read_images(tmp_path)
    assert s.class_names == ('sick', 'well') and "pass channels='sick,well'" in caplog.text
    (tmp_path/'well'/'g'/'0.png').unlink()
    caplog.clear()
    with caplog.at_level('INFO'): read_images(tmp_path)
    assert 'same names' not in caplog.text


@pytest.mark.parametrize('prefix', ['', 'bf/'])
def test_channel_folders_with_one_table_beside_them(tmp_path, prefix):
    x = channel_folders(tmp_path)
    lines = [f"{prefix}{'gs'[i % 2]}/{i}.png,{'gs'[i % 2]},donor{i//2}" for i in range(6)]
    (tmp_path/'labels.csv').write_text('\n'.join(['path,label,donor', *lines]))
    s = read_images(tmp_path, channels='bf,df')
    np.testing.assert_array_equal(s.images, x[numbers(s)])
    assert s.groups == tuple(f'donor{i//2}' for i in numbers(s))


def test_channel_folders_with_a_table_each_must_agree(tmp_path):
    channel_folders(tmp_path)
    for name, wrong in (('bf', 'g'), ('df', 's')):
        lines = [f"{'gs'[i % 2]}/{i}.png,{'gs'[i % 2] if i != 4 else wrong}" for i in range(6)]
        (tmp_path/name/'labels.csv').write_text('\n'.join(['path,label', *lines]))
    with pytest.raises(BadImages, match="1 of 6 .*\n  g/4.png  labelled differently: 'g' in channel 'bf', 's' in 'df'"): read_images(tmp_path, channels='bf,df')


def test_what_a_channel_folder_lacks_or_has_otherwise_is_named(tmp_path):
    x = channel_folders(tmp_path, 12)
    (tmp_path/'df'/'g'/'0.png').unlink()
    (tmp_path/'bf'/'s'/'1.png').unlink()
    Image.fromarray(x[2, 1, 1:]).save(tmp_path/'df'/'g'/'2.png')
    Image.fromarray(x[3, 1].astype(np.uint8)).save(tmp_path/'df'/'s'/'3.png')
    Image.fromarray(COLOUR[:12, :10]).save(tmp_path/'df'/'g'/'4.png')
    (tmp_path/'df'/'s'/'5.png').write_bytes((tmp_path/'df'/'s'/'7.png').read_bytes()[:99])
    Image.fromarray(x[6, 1]*0).save(tmp_path/'df'/'g'/'6.png')
    with pytest.raises(BadImages) as e: read_images(tmp_path, channels='bf,df')
    reasons = dict(e.value.problems)
    assert reasons['g/0.png'] == "missing: channel 'df': no such file"
    assert reasons['s/1.png'] == "missing: it lies in channel 'df', but not in 'bf'"
    assert reasons['g/2.png'].startswith('wrongly sized: bf 12 × 10, df 11 × 10 pixels')
    assert reasons['s/3.png'].startswith('oddly typed: bf uint16, df uint8')
    assert reasons['g/4.png'].startswith("oddly typed: channel 'df' has 3 channels itself")
    assert reasons['s/5.png'].startswith("truncated: channel 'df'")
    assert len(reasons) == 6 and e.value.total == 12
    s = read_images(tmp_path, channels='bf,df', on_bad='skip')
    assert sorted(numbers(s)) == [6, 7, 8, 9, 10, 11]
    np.testing.assert_array_equal(s.images[numbers(s).index(6), 1], 0)


@pytest.mark.parametrize('channels, text', [('bf,bf', 'different names'), ('bf,,df', 'different names'), ('4', 'expected auto, 1, 3'), (5, 'expected auto, 1, 3'), ('bf,pe', 'none called pe')])
def test_channels_that_cannot_be_meant(tmp_path, channels, text):
    channel_folders(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=text): read_images(tmp_path, channels=channels)


def test_named_planes_of_grey_files_are_refused(tmp_path):
    channel_folders(tmp_path/'x')
    with pytest.raises(BadImages, match='a grey image, but channels= names 2: a, b; they may also be folders'): read_images(tmp_path/'x'/'bf', channels='a,b')


# The description of a run, augmentation, figures -----------------------------------------------------------------------

def test_two_seeds_of_a_sixteen_bit_folder_are_the_same_data(tmp_path):
    from sparseattnnet.learn.run import RunSpec, spec_images
    for k in 'ab':
        (tmp_path/k).mkdir()
        for i in range(12): Image.fromarray(RNG.integers(0, 500*(i + 1), (16, 16), dtype=np.uint16)).save(tmp_path/k/f'{i}.png')
    data = [spec_images(RunSpec(dataset='folder', folder=str(tmp_path), seed=s), show=False) for s in (0, 1)]
    (one, split), (two, other) = data
    assert split.hash != other.hash and one.value_range != two.value_range
    assert one.fingerprint == two.fingerprint


@pytest.mark.parametrize('modality', ['opd', 'hologram', 'event', 'brightfield', 'multichannel', 'fluorescence', 'cytometry'])
@pytest.mark.parametrize('c', [1, 2, 5, 12])
def test_augmentation_moves_all_channels_together(modality, c):
    import torch
    from sparseattnnet.data.augment import augment
    one = torch.rand(16, 1, 12, 12)
    scale = torch.linspace(1, .1, c)[None, :, None, None]
    done = augment(one*scale, modality, np.random.default_rng(0))
    assert done.shape == (16, c, 12, 12)
    if modality != 'event': torch.testing.assert_close(done, done[:, :1]*scale)
    assert modality == 'hologram' or any(not torch.equal(a, b) for a, b in zip(done, one*scale))


def test_figures_of_any_number_of_channels():
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from sparseattnnet.judge.figures import show_image
    fig, ax = plt.subplots()
    for c in (2, 4, 12):
        x = RNG.random((c, 9, 11))
        np.testing.assert_allclose(show_image(ax, x).get_array(), x.mean(0))
        assert ax.get_xlabel() == f'mean of {c} channels'
        strip = show_image(ax, x, channel='strip').get_array()
        np.testing.assert_array_equal(strip[:, 11:22], x[1])
    rgb = RNG.random((3, 9, 11))
    np.testing.assert_array_equal(show_image(ax, rgb).get_array(), np.moveaxis(rgb, 0, -1))
    np.testing.assert_allclose(show_image(ax, rgb, names=('a', 'b', 'c')).get_array(), rgb.mean(0))
    np.testing.assert_array_equal(show_image(ax, rgb[:1], names=('bf',)).get_array(), rgb[0])
    for bad, text in (((np.zeros((64, 64, 3)),), 'channels first'), ((np.zeros(5),), r'expected \(H, W\) or')):
        with pytest.raises(ValueError, match=text): show_image(ax, *bad)
    with pytest.raises(ValueError, match="expected 'mean', 'strip' or one of a, b"): show_image(ax, rgb[:2], names=('a', 'b'), channel='dapi')
    with pytest.raises(ValueError, match='expected one name each'): show_image(ax, rgb[:2], names=('a',))
    plt.close(fig)
