"Carriers in all directions, from long periods to the Nyquist limit: the right map, or an error that says why not."
import warnings
import numpy as np
import pytest
from sparseattnnet.data.demodulate import demodulate, filter_reach, find_carrier


def hologram(carrier, shape=(151, 203), peak=180., bits=8):
    y, x = np.mgrid[:shape[0], :shape[1]] - 0.
    y, x = y - .47*shape[0], x - .53*shape[1]
    true = peak*np.exp(-(x**2 + y**2)/(2*(min(shape)/9)**2))
    I = 2 + 2*np.cos(2*np.pi*(carrier[0]*x + carrier[1]*y) + 2*np.pi*true/633)
    return np.rint(I/4*(2**bits - 1)), true


def error(opd, true): return float(np.sqrt(np.square((opd - true)[10:-10, 10:-10]).mean()))


LENGTHS = (.03, .05, .062, .07, .079, .09, .1013, .13, .1707, .25, .31, .37, .3841, .40, .43, .45, .47, .49, .5)


@pytest.mark.filterwarnings('ignore:carrier of')
@pytest.mark.parametrize('shape', [(151, 203), (130, 96)])
def test_no_carrier_gives_a_wrong_map_in_silence(shape):
    right = set()
    for length in LENGTHS:
        for angle in (-90, -63, -45, -10, 0, 8, 33, 45, 81, 90, 120, 187):
            f = length*np.cos(np.pi*angle/180), length*np.sin(np.pi*angle/180)
            image, true = hologram(f, shape)
            try: opd = demodulate(image)
            except ValueError as e:
                assert 'a period of' in str(e) or 'no sideband in the hologram' in str(e)
                continue
            assert error(opd, true) < 10, (length, angle, error(opd, true))
            right.add((length, angle))
    assert {(n, a) for n in LENGTHS if .09 <= n <= .45 for a in (-63, 33, 45, 120)} <= right
    assert {(n, 0) for n in LENGTHS if .09 <= n <= .43} <= right


@pytest.mark.parametrize('carrier', [(.43, .05), (.05, -.43), (.40, .02), (-.02, .42), (.40, .40)])
def test_near_nyquist_the_twin_limits_the_filter(carrier):
    image, true = hologram(carrier)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert error(demodulate(image), true) < 3
        folded = np.array([2*abs(f) - 1 if abs(f) > .25 else 2*abs(f) for f in carrier])
        assert filter_reach(carrier) == pytest.approx(min(.6*np.hypot(*carrier), np.hypot(*folded)/2))


def test_the_error_says_period_what_is_possible_and_what_to_do():
    image, true = hologram((.47, .01))
    text = r'period of 2\.13 pixels.*0\.063 cycles per pixel away.*at least 2\.7 pixels.*filter_radius=0\.066'
    with pytest.raises(ValueError, match=text) as e: demodulate(image)
    assert '\n' not in str(e.value)
    assert error(demodulate(image, filter_radius=.06), true) < 10
    with pytest.raises(ValueError, match='there is no filter left'): demodulate(image, carrier=(.5, 0.))


@pytest.mark.parametrize('shape', [(135, 135), (151, 203)])
def test_long_periods(shape):
    for f in ((.09, .04), (.07, -.07), (.0, .1)):
        image, true = hologram(f, shape)
        assert error(demodulate(image), true) < 6
    image, true = hologram((.05, .03), shape)
    text = r'period of 17\.\d pixels does: if it is your fringes, pass carrier='
    with pytest.raises(ValueError, match=text) as e: find_carrier(image)
    told = eval(str(e.value).split('carrier=')[1])
    np.testing.assert_allclose(told, (.05, .03), atol=.002)
    assert error(demodulate(image, carrier=told), true) < 12


def test_what_is_no_hologram_is_still_refused():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:135j, -1:1:135j]
    for image in (rng.normal(100, 20, (135, 135)), np.exp(3*x), (x > .2)*1., (x**2/.3 + y**2 < .1)*1.,
                  200 - 90*np.exp(-(x**2 + 2*y**2)/.1)):
        with pytest.raises(ValueError, match='no sideband'): demodulate(image)


def test_carriers_given_wrongly():
    image, true = hologram((.25, .03))
    assert error(demodulate(image, carrier=np.array([.25, .03])), true) < 3
    assert error(demodulate(image, carrier=(-.25, -.03)), true) < 3
    with pytest.raises(ValueError, match=r'fringes of this image lie at \(0\.25'): demodulate(image, carrier=(.03, .25))
    for bad in ((.25,), .25, (np.nan, .1), (), (0, 0), (.25, .6)):
        with pytest.raises(ValueError, match='expected \\(fx, fy\\), cycles per pixel'): demodulate(image, carrier=bad)
    with pytest.raises(ValueError, match='no light at carrier'): demodulate(np.full((64, 64), 99.), carrier=(.2, .1))
    empty = np.full(image.shape, 99.)
    with pytest.raises(ValueError, match='no light at carrier'): demodulate(image, carrier=(.25, .03), reference=empty)
    with pytest.raises(ValueError, match='real grey values'): demodulate(image*1j)
    with pytest.raises(ValueError, match='0.633 for 633 nm'): demodulate(image, wavelength_um=633)
