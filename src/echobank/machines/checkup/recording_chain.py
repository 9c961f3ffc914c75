"""The recording chain: is it the microphone that changed, or the machine? Said from what changed, band by band.

A gain moves every band and the noise floor alike, a filter that fails takes a band away and leaves the rest, a swapped
channel sounds as the other one did. A machine does none of these: it changes in some bands, and a second microphone
hears it too. Where levels cannot tell the two apart, that is said.
"""

import numpy as np
from numpy.typing import NDArray

from echobank.data.sound_facts import CENTRES, OTHER_THIRDS, THIRDS
from echobank.machines.checkup.sound_change import Cause, Sides

Float64 = NDArray[np.float64]


def cause_of(sides: Sides) -> Cause:
    """Return what a change of the sound most likely is; the first of the signs that fits."""
    signs = (_swapped, _dropped, _clipping, _offset, _lost_band, _gain, _hum, _ageing)
    for sign in signs:
        if cause := sign(sides):
            return cause
    return _sound(sides)


def _swapped(sides: Sides) -> Cause | None:
    heard, other = sides.before[THIRDS], sides.before[OTHER_THIRDS]
    now, other_now = sides.after[THIRDS], sides.after[OTHER_THIRDS]
    apart, same = _distance(heard, other), _distance(heard, now) + _distance(other, other_now)
    crossed = _distance(heard, other_now) + _distance(other, now)
    if np.isnan(apart + same + crossed) or apart < 1.5 or crossed > 0.4 * same:
        return None
    return Cause(
        "swapped",
        True,
        "the channels are swapped: each sounds as the other one did",
        (
            f"by third octaves they are {crossed / 2:.1f} dB from what the other was before, "
            f"and {same / 2:.1f} dB from what they were themselves",
        ),
        "swap the cables or the channel setting back; alarms since then are about the wrong microphone",
        apart,
    )


def _dropped(sides: Sides) -> Cause | None:
    if not (risen := sides.risen("dead", above=-50)):
        return None
    now, moved = risen
    return Cause(
        "dropped",
        True,
        f"samples are dropped: {_percent(now)} of the sound does not change for 2 ms or more, "
        f"{_percent(now - moved)} before",
        (),
        "check cable, USB hub, network and the load of the recorder",
        moved,
    )


def _clipping(sides: Sides) -> Cause | None:
    if not (risen := sides.risen("clipped", above=-50)):
        return None
    now, moved = risen
    return Cause(
        "clipping",
        True,
        f"the recording clips: {_percent(now)} of the samples are at full scale, {_percent(now - moved)} before",
        (),
        "turn the gain down; clipped recordings cannot be compared with the bank",
        moved,
    )


def _offset(sides: Sides) -> Cause | None:
    if not (risen := sides.risen("offset", above=-60)):
        return None
    now, moved = risen
    return Cause(
        "offset",
        True,
        f"the signal has an offset: {now:.0f} dB of full scale, {now - moved:.0f} before",
        (),
        "check the converter and the power of the microphone; an offset is often the first sign of a failing one",
        moved,
    )


def _hum(sides: Sides) -> Cause | None:
    name = max(("hum 50", "hum 60"), key=lambda each: np.nan_to_num(sides.moved(each), nan=-99.0))
    moved, bands = sides.moved(name), sides.bands
    used = bands[~np.isnan(bands)]
    if not moved >= 6 or not len(used) or float(np.median(np.abs(used))) > 2:
        return None
    return Cause(
        "hum",
        True,
        f"mains hum: the lines of {name[-2:]} Hz stand {moved:.0f} dB higher above their surroundings",
        ("half of the third octaves changed by less than 2 dB",),
        "check shield and ground of the cable, and what was switched on near it",
        moved,
    )


def _lost_band(sides: Sides) -> Cause | None:
    bands = sides.bands
    used = np.flatnonzero(~np.isnan(bands))
    if len(used) < 8:
        return None
    for name, order in (("above", used), ("below", used[::-1])):
        for cut in range(4, len(order) - 1):
            kept, gone = bands[order[:cut]], bands[order[cut:]]
            usual = float(np.median(kept))
            if gone.max() > usual - 5 or gone.mean() > usual - 8:
                continue
            if float(np.median(np.abs(kept - usual))) > 1.5 or abs(usual) > 3:
                continue
            edge = CENTRES[order[cut]] * 10 ** (-0.05 if name == "above" else 0.05)
            fallen = usual - float(gone.mean())
            return Cause(
                "lost_band",
                True,
                f"the band {name} {_hertz(edge)} is lost: it is {fallen:.0f} dB weaker, and what is left changed by "
                f"{usual:+.1f} dB",
                (_second_microphone(sides),),
                "check microphone, filter and the settings of recorder and codec; scores cannot be compared until then",
                -fallen,
            )
    return None


def _gain(sides: Sides) -> Cause | None:
    bands, floor = sides.bands, sides.moved("floor")
    used = bands[~np.isnan(bands)]
    if len(used) < 8:
        return None
    moved, spread = float(np.median(used)), float(np.median(np.abs(used - np.median(used)))) * 1.4826
    loud = max(1.0, 4 * spread)
    even = np.mean(np.abs(used - moved) <= max(0.75, 0.15 * abs(moved))) >= 0.85
    if abs(moved) < loud or not even or np.isnan(floor) or abs(floor - moved) > max(0.75, 0.25 * abs(moved)):
        return None
    evidence: tuple[str, ...] = (
        f"{len(used)} third octaves and the noise floor moved together ({used.min():+.1f} to {used.max():+.1f} dB, "
        f"floor {floor:+.1f} dB); a machine that is louder moves some bands and not the floor",
    )
    other = sides.other_bands
    if (~np.isnan(other)).any():
        evidence = (*evidence, _second_microphone(sides))
    return Cause(
        "gain",
        True,
        f"the gain changed by {moved:+.1f} dB",
        evidence,
        "set the gain back; or, if it is to stay, record healthy sound with it and fit again",
        moved,
    )


def _ageing(sides: Sides) -> Cause | None:
    bands = sides.bands
    used = np.flatnonzero(~np.isnan(bands))
    if not sides.slow or len(used) < 12:
        return None
    octaves, values = np.log2(np.array(CENTRES)[used]), bands[used]
    best = None
    for knee in octaves[2:-4]:
        shape = np.maximum(0.0, octaves - knee)
        slope = float(
            (shape - shape.mean()) @ (values - values.mean()) / ((shape - shape.mean()) @ (shape - shape.mean()))
        )
        rest = values - values.mean() - slope * (shape - shape.mean())
        found = (float(np.sum(rest**2)), slope, knee)
        best = found if best is None or found < best else best
    assert best is not None
    loss, slope, knee = best
    explained = 1 - loss / max(float(np.sum((values - values.mean()) ** 2)), 1e-12)
    below = values[octaves <= knee]
    if slope > -0.5 or explained < 0.85 or float(np.median(np.abs(below))) > 1.5 or np.sqrt(loss / len(used)) > 1.0:
        return None
    return Cause(
        "ageing",
        True,
        f"the microphone loses its high frequencies: above {_hertz(2**knee)} it loses {-slope:.1f} dB per octave",
        (
            f"a slope explains {100 * explained:.0f} % of the change of {len(used)} third octaves",
            _second_microphone(sides),
        ),
        "clean the microphone, compare it with another one, replace it; then record healthy sound again",
        slope,
    )


def _sound(sides: Sides) -> Cause:
    bands = sides.bands
    used = np.flatnonzero(~np.isnan(bands))
    if not len(used):
        return Cause(
            "unknown",
            False,
            "nothing was kept of the sound, so that machine and recording chain cannot be told apart",
            (),
            "keep a trend with this version (--trend): it takes the levels by third octave that tell them apart",
        )
    strong = used[np.argsort(-np.abs(bands[used]))][:4]
    parts = ", ".join(f"{bands[i]:+.1f} dB at {_hertz(CENTRES[i])}" for i in sorted(strong))
    evidence = [
        f"third octaves that changed most: {parts}; half of all changed by less than "
        f"{float(np.median(np.abs(bands[used]))):.1f} dB",
        _second_microphone(sides),
    ]
    return Cause(
        "sound",
        False,
        "the recording chain shows no sign of it: some bands changed and others did not",
        tuple(filter(None, evidence)),
        "listen to what was recorded before and after, and look at the machine",
    )


def _distance(one: Float64, two: Float64) -> float:
    both = ~np.isnan(one) & ~np.isnan(two)
    return float(np.mean(np.abs(one[both] - two[both]))) if both.sum() >= 8 else float("nan")


def _second_microphone(sides: Sides) -> str:
    """Return what the second microphone heard of a change; empty where there is none."""
    heard, other = sides.bands, sides.other_bands
    both = ~np.isnan(heard) & ~np.isnan(other)
    if both.sum() < 8:
        return ""
    one, two = heard[both], other[both]
    strong = np.abs(one) >= max(1.0, float(np.quantile(np.abs(one), 0.7)))
    if not strong.any():
        return ""
    shared = float(np.median(two[strong] / one[strong]))
    if shared > 0.5:
        return "the second microphone heard the same change"
    if abs(shared) < 0.2:
        return "the second microphone heard nothing of it"
    return f"the second microphone heard {100 * shared:.0f} % of it"


def _hertz(value: float) -> str:
    return f"{value / 1000:.2g} kHz" if value >= 1000 else f"{value:.0f} Hz"


def _percent(decibel: float) -> str:
    return f"{100 * 10 ** (decibel / 10):.2g} %"
