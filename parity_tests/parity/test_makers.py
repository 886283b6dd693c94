"""Makers: a model is built by a function that is named as file.py:function or module:function."""

from __future__ import annotations

import sys

import pytest
import torch

from diptych.parity import makers


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def build(text):
    return makers.make("left", makers.parse("left", text))


def test_a_function_and_a_class_of_a_file_are_called(write):
    path = write("model.py", "class Net:\n    size = 3\n\ndef make(n=2):\n    return n + 1\n")
    assert build(f"{path}:make") == 3 and build(f"{path}:Net").size == 3


def test_a_function_of_a_module_is_called():
    assert build("collections:OrderedDict") == {}


def test_a_module_of_the_working_folder_is_found(write, monkeypatch, tmp_path):
    write("module_of_a_maker.py", "def make():\n    return 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert build("module_of_a_maker:make") == 7
    assert sys.path.count(str(tmp_path)) == 1


def test_a_file_imports_its_neighbours_and_leaves_the_path_unchanged(write):
    write("neighbour_of_a_maker.py", "value = 5\n")
    path = write(
        "model.py", "def make():\n    import neighbour_of_a_maker as n\n    return n.value\n"
    )
    before = list(sys.path)
    assert build(f"{path}:make") == 5 and sys.path == before


def test_files_in_two_folders_import_neighbours_of_the_same_name(write):
    """A right side that got the left side's neighbour would be compared with itself."""
    paths = []
    for side in ("left", "right"):
        write(f"{side}/layers_of_a_maker.py", f"side = {side!r}\n")
        text = "from layers_of_a_maker import side\n\ndef make():\n    return side\n"
        paths.append(write(f"{side}/model.py", text))
    assert [build(f"{path}:make") for path in paths] == ["left", "right"]
    assert build(f"{paths[0]}:make") == "left"


def test_a_file_with_the_name_of_a_library_does_not_replace_it(write):
    assert build(f"{write('torch.py', 'def make(): return 1')}:make") == 1
    assert sys.modules["torch"] is torch


ERRORS = {
    "model.py": "takes file.py:function, package.module:function",
    "model.txt:make": "cannot import 'model.txt': ModuleNotFoundError",
    "model.py:": "takes file.py:function",
    ":make": "takes file.py:function",
    "model.py:a b": "takes file.py:function",
    "missing.py:make": "there is no file 'missing.py'",
    "no_such_module:make": "cannot import 'no_such_module': ModuleNotFoundError",
    "model.py:mkae": "function: got 'mkae', takes one of make, needs, fails; did you mean 'make'?",
    "model.py:needs": "'model.py:needs' needs width, depth; takes a function or a class without",
    "model.py:fails": "'model.py:fails' failed: ZeroDivisionError: division by zero (model.py, li",
    "syntax.py:make": "cannot import 'syntax.py': SyntaxError",
    "empty.py:make": "it defines no function",
}


@pytest.mark.parametrize("text", ERRORS)
def test_an_error_names_the_side_and_the_cause_in_one_line(write, monkeypatch, tmp_path, text):
    monkeypatch.chdir(tmp_path)
    write(
        "model.py",
        "def make():\n    return 1\n\ndef needs(width, depth, *, bias=True):\n    pass\n\n"
        "def fails():\n    return 1 / 0\n",
    )
    write("syntax.py", "def make(:\n")
    write("empty.py", "from os import getcwd\n")
    with pytest.raises(ValueError) as error:
        build(text)
    assert str(error.value).startswith("left: ") and ERRORS[text] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_path_is_stored_relative_to_a_folder(write, tmp_path, monkeypatch):
    write("code/model.py", "")
    (tmp_path / "cases").mkdir()
    monkeypatch.chdir(tmp_path)
    maker = makers.parse("left", "code/model.py:make")
    stored = str(maker.seen_from(tmp_path / "cases"))
    assert stored == "../code/model.py:make"
    again = makers.parse("left", stored, folder=tmp_path / "cases")
    assert again.file.resolve() == maker.file.resolve()
    module = makers.parse("left", "a.b:make", folder=tmp_path)
    assert module == ("a.b", "make") and module.seen_from(tmp_path) == module
