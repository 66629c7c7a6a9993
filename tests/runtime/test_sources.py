"""Data in every declared form is read, and what is wrong with it is said."""

from __future__ import annotations

import pickle
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgestudio.runtime.arrays import open_rows
from edgestudio.runtime.pipeline.imaging import decode_image
from edgestudio.runtime.pipeline.sound import Sound, read_sound, read_windows, resampled
from edgestudio.runtime.pipeline.sources import RawLayout, open_source
from edgestudio.wire.errors import InputError, RecipeError


def picture(path: Path, level: int = 0, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, level, np.uint8)).save(path)


def test_sub_folders_are_classes_and_take_turns(tmp_path: Path) -> None:
    for label, name in [("cat", "a"), ("cat", "b"), ("dog", "c"), ("dog", "d")]:
        picture(tmp_path / label / f"{name}.png")
    source = open_source(tmp_path)
    assert source.classes == ["cat", "dog"]
    assert source.is_labelled
    assert [item.label for item in source] == [0, 1, 0, 1]
    assert [item.label for item in open_source(tmp_path, labels=["dog", "cat", "cow"])] == [1, 0, 1, 0]
    assert len(list(open_source(tmp_path, limit=3))) == len(open_source(tmp_path, limit=3)) == 3
    with pytest.raises(RecipeError, match="'cat', which is none of"):
        open_source(tmp_path, labels=["cow", "hen"])


def test_folders_named_by_number_are_that_class(tmp_path: Path) -> None:
    for label in ("0", "2", "10"):
        picture(tmp_path / label / "a.png")
    assert sorted(item.label for item in open_source(tmp_path)) == [0, 2, 10]
    with pytest.raises(RecipeError, match="class 10, but the model knows 0 to 9"):
        open_source(tmp_path, classes=10)


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 7)
    source = open_source(tmp_path)
    assert not source.is_labelled
    item = next(iter(source))
    assert item.label is None
    assert item.item.tolist() == [[7] * 4] * 4
    picture(tmp_path / "cat" / "b.png")
    with pytest.raises(RecipeError, match="beside sub-folders"):
        open_source(tmp_path)


def test_rows_of_an_npz(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    for name, labels in [
        ("plain", np.array([0, 1, 2, 1])),
        ("one_hot", np.eye(3)[[0, 1, 2, 1]]),
        ("column", np.array([[0], [1], [2], [1]])),
    ]:
        path = tmp_path / f"{name}.npz"
        np.savez_compressed(path, x=x, y=labels)
        source = open_source(path, classes=3)
        assert [item.label for item in source] == [0, 1, 2, 1]
        assert [item.label for item in source] == [0, 1, 2, 1]
        np.testing.assert_array_equal([item.item for item in source], x)
    np.savez(tmp_path / "bare.npz", x=x)
    assert not open_source(tmp_path / "bare.npz").is_labelled


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"z": np.zeros(3)}, "no array 'x'"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2)}, "3 rows in x but 2 in y"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1, -1])}, "from 0"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1, 0.5])}, "class numbers"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1, np.nan])}, "class number"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1, 99])}, "class 99"),
        ({"x": np.zeros((0, 2))}, "holds no items"),
        ({"x": np.float32(3)}, "single number"),
        ({"x": np.asfortranarray(np.zeros((3, 2)))}, "by columns"),
        ({"x": np.array([{}, []], dtype=object)}, "Python objects"),
    ],
)
def test_a_bad_npz_is_explained(tmp_path: Path, arrays: dict[str, np.ndarray], match: str) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(RecipeError, match=match):
        open_source(path, classes=10)


def test_pickles_and_damage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(RecipeError, match="damaged"):
        open_source(path)
    np.savez_compressed(path, x=np.random.default_rng(0).random((50, 50)))
    content = bytearray(path.read_bytes())
    content[2000:2200] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"damaged|ends inside"):
        list(open_source(path))
    path.write_bytes(content[:900])
    with pytest.raises(RecipeError, match="damaged"):
        open_source(path)


def test_an_npz_is_read_row_by_row(tmp_path: Path) -> None:
    """A file that unpacks to 400 MB is opened and its first row read without unpacking it."""
    path = tmp_path / "large.npz"
    np.savez_compressed(path, x=np.zeros((400, 1000, 1000), np.uint8))
    rows = open_rows(path, "x")
    assert next(iter(rows)).shape == (1000, 1000)
    assert len(rows) == 400


def test_tensors_with_labels(tmp_path: Path) -> None:
    np.arange(6, dtype=np.int8).tofile(tmp_path / "a.bin")
    np.save(tmp_path / "b.npy", np.ones((2, 3), np.float32))
    (tmp_path / "labels.csv").write_text("file,label\na.bin,1\nb.npy,0\n")
    source = open_source(tmp_path, raw=RawLayout("int8", (2, 3)))
    items = list(source)
    assert [item.label for item in items] == [1, 0]
    assert items[0].item.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert items[1].item.dtype == np.float32
    with pytest.raises(RecipeError, match="6 bytes"):
        list(open_source(tmp_path, raw=RawLayout("int16", (2, 3))))
    with pytest.raises(RecipeError, match="unknown"):
        list(open_source(tmp_path))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("file,label\nnone.bin,1\n", "no file none.bin"),
        ("file,label\n../a.bin,1\n", "leaves the folder"),
        ("file,label\na.bin\n", "line 2"),
        ("file,label\na.bin,fish\n", "'fish', which is none"),
        ("file,label\na.bin,7\n", "class 7, but there are 2"),
        ("file,label\n", "holds no items"),
    ],
)
def test_a_bad_label_file_is_explained(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(4))
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(RecipeError, match=match):
        open_source(tmp_path, labels=["cat", "dog"])


def test_what_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no data"):
        open_source(tmp_path / "none")
    with pytest.raises(RecipeError, match="holds no items"):
        open_source(tmp_path)
    (tmp_path / "text.md").write_text("x")
    with pytest.raises(RecipeError, match="no data that can be read"):
        open_source(tmp_path / "text.md")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nbroken", b"GIF89a" + bytes(20), b"plain text"])
def test_damaged_images_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError):
        list(open_source(tmp_path))


@pytest.mark.parametrize("side", [8_100, 14_000])
def test_an_image_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    import io

    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    with pytest.raises(InputError, match="too many"):
        decode_image(buffer.getvalue())


def test_truncated_image_and_modes(tmp_path: Path) -> None:
    import io

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(buffer, "PNG")
    with pytest.raises(InputError, match="damaged"):
        decode_image(buffer.getvalue()[:3000])
    for mode, shape in {
        "L": (4, 6),
        "RGBA": (4, 6, 3),
        "P": (4, 6, 3),
        "CMYK": (4, 6, 3),
        "1": (4, 6),
        "I;16": (4, 6),
    }.items():
        buffer = io.BytesIO()
        Image.new(mode, (6, 4)).save(buffer, "TIFF")
        assert decode_image(buffer.getvalue()).shape == shape


def tone(
    path: Path, rate: int, width: int, channels: int = 1, hertz: float = 440, count: int = 4000
) -> np.ndarray:
    wave_form = np.sin(2 * np.pi * hertz * np.arange(count) / rate) * 0.5
    levels = wave_form * (2 ** (8 * width - 1) - 1)
    if width == 1:
        data = (levels + 128).astype(np.uint8).tobytes()
    elif width == 3:
        data = b"".join(
            int(level).to_bytes(3, "little", signed=True) for level in levels for _ in range(channels)
        )
    else:
        data = np.repeat(levels.astype(f"<i{width}"), channels).tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return wave_form


@pytest.mark.parametrize(
    ("width", "channels", "tolerance"),
    [(1, 1, 0.016), (2, 1, 1e-4), (2, 2, 1e-4), (3, 2, 1e-6), (4, 1, 1e-6)],
)
def test_sound_of_every_width(tmp_path: Path, width: int, channels: int, tolerance: float) -> None:
    expected = tone(tmp_path / "a.wav", 16_000, width, channels)
    np.testing.assert_allclose(read_sound(tmp_path / "a.wav").mono(), expected, atol=tolerance)


def test_resampling_keeps_the_tone_and_removes_what_does_not_fit() -> None:
    for rate, wanted in [(44_100, 16_000), (8_000, 16_000), (22_050, 44_100)]:
        source = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
        expected = np.sin(2 * np.pi * 440 * np.arange(wanted) / wanted)
        got = resampled(source, rate, wanted)
        assert len(got) == wanted
        np.testing.assert_allclose(got[500:-500], expected[500:-500], atol=0.01)
    high = np.sin(2 * np.pi * 15_000 * np.arange(44_100) / 44_100).astype(np.float32)
    assert np.abs(resampled(high, 44_100, 16_000)[500:-500]).max() < 0.02


def test_sound_in_windows_and_damaged_sound(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 16_000, 2, count=1000)
    assert [len(window.samples) for window in read_windows(tmp_path / "a.wav", 400, 300)] == [
        400,
        400,
        400,
        100,
    ]
    (tmp_path / "b.wav").write_bytes(b"RIFFnonsense")
    with pytest.raises(InputError, match="no WAV"):
        read_sound(tmp_path / "b.wav")
    with pytest.raises(InputError):
        Sound(np.zeros(0), 16_000).mono()


@pytest.mark.models
def test_collected_data_sets(collected: Path) -> None:
    assert len(open_source(collected / "mnist/mnist_images")) == 100
    cifar = open_source(collected / "ic01_mlperf_tiny/cifar10_images")
    assert len(cifar) == 98
    assert cifar.classes[:2] == ["airplane", "automobile"]
    keywords = open_source(
        collected / "kws01_mlperf_tiny/kws01_features", raw=RawLayout("int8", (1, 49, 10, 1))
    )
    assert len(list(keywords)) == 500


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    held = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    exif = held.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    held.save(tmp_path / "a.png", exif=exif)
    item = next(iter(open_source(tmp_path))).item
    assert item.shape == (3, 2)
    assert item[0].tolist() == [120, 0]


def test_a_source_can_go_on_after_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "b.png").write_bytes(b"no picture")
    picture(tmp_path / "dog" / "c.png")
    told: list[str] = []
    items = list(open_source(tmp_path).readable(lambda name, _: told.append(name)))
    assert [item.name for item in items] == ["a.png", "c.png"]
    assert told == ["b.png"]
    with pytest.raises(InputError, match=r"cat/b.png is no image") as refused:
        list(open_source(tmp_path))
    assert "examine data" in refused.value.hint


def test_names_in_a_list_without_names_of_classes_are_explained(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "labels.csv").write_text("file,label\na.npy,cat\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="nothing says which number") as refused:
        open_source(tmp_path)
    assert "labels.txt" in refused.value.hint
    (tmp_path / "labels.txt").write_text("dog\ncat\n", encoding="utf-8")
    assert next(iter(open_source(tmp_path))).label == 1
