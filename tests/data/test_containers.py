"""A recording is heard from its first sample to its last, or refused with the reason; whatever its container claims."""

import io
import struct
import subprocess

import numpy as np
import pytest
import soundfile

from echobank.data.audio import read_clip
from echobank.data.containers import mpeg
from echobank.data.containers.section import Section, Stretch
from echobank.errors import AudioError
from tests.requirements import needs

RATE = 16_000
SOUND = (np.random.default_rng(0).standard_normal(4 * RATE) * 3000).astype(np.int16)
needs_ffmpeg = needs("ffmpeg")


def encoded(kind, samples=SOUND, rate=RATE, **more):
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind, **more)
    return stream.getvalue()


def heard(tmp_path, content, name="a"):
    (tmp_path / name).write_bytes(content)
    return read_clip(tmp_path / name).samples * 32768


def piped(tmp_path, kind, *options, seconds=0):
    """Return what ffmpeg writes of the sound to a pipe, where it cannot go back to fill in lengths."""
    (tmp_path / "source.wav").write_bytes(encoded("WAV", np.tile(SOUND, 1 + seconds // 4)))
    words = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "source.wav"), *options, "-f", kind, "-"]
    return subprocess.run(words, check=True, capture_output=True).stdout


# -- containers of chunks ------------------------------------------------------------------------------------------

SIZES = (0, 0x7FFFF000, 0x7FFFFFFF - 36, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF - 36, 0xFFFFFFFF)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
def test_sizes_that_recorders_write_before_they_know_them_mean_to_the_end(tmp_path, size, kind):
    content = encoded(kind)
    at = content.index(b"data") + 4
    np.testing.assert_array_equal(heard(tmp_path, content[:at] + struct.pack("<I", size) + content[at + 4 :]), SOUND)


def test_samples_outside_every_chunk_are_named(tmp_path):
    content = encoded("WAV")
    at = content.index(b"data") + 4
    wrapped = content[:at] + struct.pack("<I", len(SOUND)) + content[at + 4 :]  # half of the bytes
    with pytest.raises(AudioError, match=r"64000 bytes behind the samples belong to no chunk.*ignore_length"):
        heard(tmp_path, wrapped)
    with pytest.raises(AudioError, match="belong to no chunk"):
        heard(tmp_path, content + content[36:])  # a second chunk of samples


@pytest.mark.parametrize(
    "tail",
    [
        b"LIST" + struct.pack("<I", 6) + b"INFOab",
        b"abcd" + struct.pack("<I", 5001) + bytes(range(1, 252)) * 20,  # 5020 bytes: not a whole chunk more
        bytes(100_000),  # a recorder that reserves space
        b"TAG" + b"x" * 5000,
        b"junk of a sector" * 200,
        b"bext" + struct.pack("<I", 100_000) + b"x" * 5000,  # metadata that is cut short
    ],
)
def test_what_is_no_sound_may_follow_the_samples(tmp_path, tail):
    if tail.startswith(b"abcd"):
        tail = tail[: 8 + 5001]
    np.testing.assert_array_equal(heard(tmp_path, encoded("WAV") + tail), SOUND)


@pytest.mark.parametrize("at", [12, 36])
@pytest.mark.parametrize("pad", [b"", b"\0"])
def test_a_chunk_of_odd_size_needs_no_padding_byte(tmp_path, at, pad):
    content = encoded("WAV")
    chunk = b"LIST" + struct.pack("<I", 3) + b"abc" + pad
    np.testing.assert_array_equal(heard(tmp_path, content[:at] + chunk + content[at:]), SOUND)
    short = (content[:at] + chunk + content[at:])[:-1000]
    with pytest.raises(AudioError, match="cut short: 128000 bytes of samples promised, 127000 found"):
        heard(tmp_path, short)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "CAF", "AU"])
@pytest.mark.parametrize("share", [0.99, 0.5])
def test_every_container_tells_when_it_is_cut_short(tmp_path, kind, share):
    content = encoded(kind)
    np.testing.assert_array_equal(heard(tmp_path, content), SOUND)
    with pytest.raises(AudioError, match=r"cut short: 1280\d\d bytes of samples promised"):
        heard(tmp_path, content[: int(share * len(content))])


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["wav", "au", "flac"])
def test_what_comes_through_a_pipe_is_heard_whole(tmp_path, kind):
    np.testing.assert_array_equal(heard(tmp_path, piped(tmp_path, kind)), SOUND)


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["aiff", "w64", "caf"])
def test_what_the_decoder_cannot_read_from_a_pipe_is_one_sentence_with_a_remedy(tmp_path, kind):
    with pytest.raises(AudioError, match=r"convert it: ffmpeg -i IN OUT\.flac"):
        heard(tmp_path, piped(tmp_path, kind))


# -- FLAC ----------------------------------------------------------------------------------------------------------


def with_total(content, total):
    field = int.from_bytes(content[21:26], "big") & ~((1 << 36) - 1) | total
    return content[:21] + field.to_bytes(5, "big") + content[26:]


@pytest.mark.parametrize("total", [0, 1, len(SOUND) // 2])
def test_a_flac_is_heard_to_its_end_whatever_its_header_says(tmp_path, total):
    np.testing.assert_array_equal(heard(tmp_path, with_total(encoded("FLAC"), total)), SOUND)


def test_a_flac_that_ends_early_or_goes_on_says_so(tmp_path):
    content = encoded("FLAC")
    with pytest.raises(AudioError, match="cut short: 64001 samples promised, 64000 found"):
        heard(tmp_path, with_total(content, len(SOUND) + 1))
    for total in (len(SOUND), 0):
        with pytest.raises(AudioError, match=r"cut short"):
            heard(tmp_path, with_total(content, total)[: len(content) // 2])
    with pytest.raises(AudioError, match="another recording follows after 64000 samples"):
        heard(tmp_path, content + content)
    np.testing.assert_array_equal(heard(tmp_path, content + b"TAG" + b"x" * 125), SOUND)


# -- Ogg -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_streams_are_heard_one_after_the_other(tmp_path, subtype):
    parts = [encoded("OGG", SOUND[begin : begin + RATE], subtype=subtype) for begin in (0, RATE, 2 * RATE)]
    alone = [heard(tmp_path, part) for part in parts]
    np.testing.assert_array_equal(heard(tmp_path, b"".join(parts)), np.concatenate(alone))


def test_chained_streams_of_different_rates_are_refused(tmp_path):
    with pytest.raises(AudioError, match="streams differ in rate"):
        heard(tmp_path, encoded("OGG") + encoded("OGG", rate=8_000))


@pytest.mark.parametrize("share", [0.4, 0.9])
@pytest.mark.parametrize("before", [b"", encoded("OGG")])
def test_an_ogg_stream_without_its_end_is_cut_short(tmp_path, share, before):
    content = encoded("OGG")
    with pytest.raises(AudioError, match="cut short: the stream has no end"):
        heard(tmp_path, before + content[: int(share * len(content))])


def test_an_ogg_stream_without_its_end_before_another_is_named(tmp_path):
    content = encoded("OGG")
    last = content.rindex(b"OggS")
    with pytest.raises(AudioError, match="cut short: stream 1 of the file has no end"):
        heard(tmp_path, content[:last] + content)


# -- MP3 -----------------------------------------------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize("options", [("-q:a", "4"), ("-b:a", "128k"), ("-b:a", "32k", "-ar", "16000")])
@pytest.mark.parametrize("header", ["0", "1"])
def test_an_mp3_is_heard_whole_with_and_without_a_header(tmp_path, options, header):
    content = piped(tmp_path, "mp3", "-ar", "44100", *options, "-write_xing", header, seconds=20)
    clip = heard(tmp_path, content)
    assert len(clip) == pytest.approx(24 * RATE, abs=0.12 * RATE)
    lag = np.arange(-2400, 2400)
    last = SOUND[-RATE : -RATE // 2].astype(float)  # the last second lies where it should
    place = len(np.tile(SOUND, 6)) - RATE
    close = [np.dot(last, clip[place + k : place + k + len(last)]) for k in lag]
    assert max(close) > 0.5 * np.dot(last, last)


@needs_ffmpeg
def test_two_mp3_files_in_one_are_both_heard_and_half_a_file_is_cut_short(tmp_path):
    content = piped(tmp_path, "mp3", "-q:a", "4", seconds=8)
    assert len(heard(tmp_path, content + content)) == pytest.approx(24 * RATE, abs=0.3 * RATE)
    whole = encoded("MP3")
    assert len(heard(tmp_path, whole)) == len(SOUND)
    with pytest.raises(AudioError, match="cut short: 64000 samples promised"):
        heard(tmp_path, whole[: len(whole) // 2])


def test_frames_of_an_mp3_are_counted(tmp_path):
    content = encoded("MP3")
    it = mpeg.count_frames(io.BytesIO(content))
    assert it.stated == it.frames and it.samples == 576
    tagged = b"ID3\x03\0\0\0\0\x01\x00" + bytes(128) + content + b"TAG" + b"\xff" * 125
    assert mpeg.count_frames(io.BytesIO(tagged)).frames == it.frames
    assert mpeg.count_frames(io.BytesIO(b"no frames here" * 100)) is None


# -- what the decoder says inside --------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"notes, not a recording\n" * 20, b"OggS" + bytes(100), b"\xff\xfb" + bytes(500)])
def test_inner_errors_of_the_decoder_reach_nobody(tmp_path, content):
    with pytest.raises(AudioError, match="not a recording that can be read") as caught:
        heard(tmp_path, content)
    assert "psf_" not in str(caught.value) and "SF_INFO" not in str(caught.value) and "BytesIO" not in str(caught.value)


def test_levels_that_no_recording_has_are_an_error_of_the_file(tmp_path):
    loud = SOUND.astype(np.float64) / 32768
    loud[100] = 1e25
    with pytest.raises(AudioError, match=r"beyond every level.*1e\+25 at sample 100"):
        heard(tmp_path, encoded("WAV", loud, subtype="FLOAT"))
    loud[100] = 2.0**31  # integers in a file of floats
    (tmp_path / "scaled").write_bytes(encoded("WAV", loud, subtype="FLOAT"))
    clip = read_clip(tmp_path / "scaled")
    assert np.isfinite([clip.rms_dbfs, clip.peak_dbfs]).all() and "clipped" in clip.flags


def test_a_section_reads_as_the_bytes_it_stands_for():
    source = io.BytesIO(bytes(range(100)))
    section = Section([Stretch(source, 10, 20), b"between", Stretch(source, 0, 5)])
    wanted = bytes(range(10, 20)) + b"between" + bytes(range(5))
    assert section.read() == wanted
    for begin in range(len(wanted)):
        section.seek(begin)
        assert section.read(7) == wanted[begin : begin + 7]
    assert section.seek(-3, io.SEEK_END) == len(wanted) - 3 and section.read() == wanted[-3:]
