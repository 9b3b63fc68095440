"""Output names: never outside the folder, and allowed on every operating system."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_utils.file_names import MAX_NAME_BYTES
from wavenet.batch.output_names import (
    check_output_name,
    collision_key,
    fill_template,
    prepare_output_path,
    slug,
)
from wavenet.errors import ConditionError

BAD = [
    "../x", "/etc/x", "a/../../x", "~", "~root/x", "a\0b", "a\nb", "C:\\x", "\\\\srv\\x", "c:x",
    "CON", "con.wav", "x/LPT1.wav", "x.", "x ", " x", "é" * 150, "", ".", "..", "-rf", "a//b", "a/",
    ".partial-x", ".lock", "a/.b", "x?", "x*", 'x"', "x|y", "<x>", "\x7f", "\ud800",
    "a/" * 700 + "x",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_name_is_refused_in_one_sentence(name):
    with pytest.raises(ConditionError) as caught:
        check_output_name(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_id_becomes_a_safe_name(name):
    filled = fill_template("{id}.wav", {"id": name})
    assert check_output_name(filled) == filled
    assert "/" not in filled


@pytest.mark.parametrize("name", ["a", "a/b/c", "é.wav", "日本", "מבחן", "🎵", "a b", "x.tar.gz"])
def test_names_of_any_script_stay_unchanged(name):
    assert check_output_name(name) == name


@given(st.text(max_size=400))
def test_the_file_of_any_id_is_inside_the_folder_and_can_be_written(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "ids"
    folder.mkdir(exist_ok=True)
    path = prepare_output_path(folder, fill_template("{id}.wav", {"id": text}))
    assert os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)
    assert len(path.name.encode()) <= MAX_NAME_BYTES
    path.write_bytes(b"")
    path.unlink()


def test_a_long_name_from_a_template_is_shortened_by_bytes():
    """Regression: three ids of 80 letters of three bytes were refused."""
    fields = {"id": "音" * 80, "ext": "wav"}
    one, other = fill_template("a/{id}_{id}_{id}.{ext}", fields).split("/")
    assert (one, other[:30]) == ("a", "音" * 30)
    assert 200 < len(other.encode()) <= 250
    assert other != fill_template("a/{id}_{id}_{id}.{ext}", fields | {"id": "音" * 81})[2:]
    assert fill_template("é" * 125, {}) == "é" * 125


@given(st.text(max_size=200))
def test_any_output_name_is_refused_or_inside_the_folder(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "outputs"
    folder.mkdir(exist_ok=True)
    try:
        path = prepare_output_path(folder, check_output_name(text))
    except ConditionError:
        return
    assert os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


@given(st.text(max_size=30), st.text(max_size=30))
def test_different_ids_have_different_names(one, other):
    assert (slug(one) == slug(other)) == (one == other)


def test_only_names_that_differ_in_case_or_composition_collide():
    assert collision_key("Straße") == collision_key("STRASSE") == collision_key("strasse")
    composed = unicodedata.normalize("NFC", "é")
    assert collision_key(composed) == collision_key(unicodedata.normalize("NFD", "É"))
    assert collision_key("a") != collision_key("b")


@pytest.mark.parametrize("template", ["{nothing}", "{id!r}", "{id:>9}", "{", "../{id}", "{id.x}"])
def test_a_bad_template_is_refused(template):
    with pytest.raises(ConditionError):
        fill_template(template, {"id": "a"})


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    """Regression: folders were created before a link to another place was detected."""
    folder, outside = tmp_path / "out", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "x.wav").symlink_to(outside / "x.wav")
    for name in ("link/sub/x.wav", "link/x.wav", "x.wav"):
        with pytest.raises(ConditionError, match="link"):
            prepare_output_path(folder, name)
    assert list(outside.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_an_error_of_one_clip(tmp_path):
    (tmp_path / "a").write_text("")
    (tmp_path / "b.wav").mkdir()
    for name in ("a/x.wav", "b.wav"):
        with pytest.raises(ConditionError):
            prepare_output_path(tmp_path, name)


def test_subfolders_are_made(tmp_path):
    assert prepare_output_path(tmp_path, "a/b/c.wav").parent.is_dir()


@pytest.mark.parametrize(
    "template", ["{id!r}", "{id:>99999}", "{id.__class__}", "{id[0]}", "{}", "{0}", "{id", "id}"]
)
def test_the_message_about_a_template_names_the_fields(template):
    with pytest.raises(ConditionError) as caught:
        fill_template(template, {"id": "a", "ext": "wav"})
    assert "may contain only text and {id}, {ext}," in str(caught.value)
    assert len(str(caught.value)) < 200


def test_case_of_a_field_of_a_template_does_not_matter():
    assert fill_template("{Digit}_{ID}", {"digit": "7", "id": "x"}) == "7_x"
