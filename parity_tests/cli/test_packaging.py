"""The wheel and the source distribution: what they hold, and that the wheel alone is enough."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import diptych
from diptych.runs import environment

PACKAGES = ("model_specs", "numpy_ref", "torch_impl", "diptych")
CHECKOUT = Path(diptych.__file__).parents[1]
BUILD = """
import sys
import setuptools.build_meta as backend
folder = sys.argv[1]
backend.build_wheel(folder)
backend.build_sdist(folder)
"""


def python(*arguments: str, cwd: Path, **variables: str) -> str:
    """Run Python and return its output; raise AssertionError with its errors if it fails."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """A folder with a wheel and a source distribution, built without a network."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools, which builds the wheel, is not installed")
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    # a copy, since setuptools leaves a build folder beside what it builds
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / name, source / name, ignore=ignored)
    python("-c", BUILD, str(dist), cwd=source)
    return dist


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory) -> Path:
    """A folder with the contents of the wheel, which is all that an installation copies."""
    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def expected_files() -> set[str]:
    """The modules, templates and other data of the packages, and the mark that each is typed."""
    patterns = ("*.py", "*.j2", "*.css", "*.js", "*.toml")
    modules = (f for name in PACKAGES for p in patterns for f in (CHECKOUT / name).rglob(p))
    paths = {str(path.relative_to(CHECKOUT)) for path in modules}
    return paths | {f"{name}/py.typed" for name in PACKAGES}


def test_the_wheel_holds_the_four_packages_and_nothing_else(installed):
    files = {str(p.relative_to(installed)) for p in installed.rglob("*") if p.is_file()}
    metadata = f"diptych-{diptych.__version__}.dist-info"
    assert {f for f in files if not f.startswith(metadata)} == expected_files()
    assert "diptych = diptych.cli:main" in (installed / metadata / "entry_points.txt").read_text()


def test_the_source_distribution_holds_them_too(dist):
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        files = {name.partition("/")[2] for name in file.getnames()}
    assert files >= expected_files() | {"pyproject.toml", "README.md", "LICENSE"}


CHECK = """
import sys
import diptych
from diptych.cli import main
print(diptych.__file__)
main(["check", "mlp_vae[tanh]", "random", "--json", "check.json"])
"""


def test_the_wheel_alone_runs_from_an_empty_folder(installed, tmp_path):
    """From here to the outcome of a check, with no checkout on the path."""
    variables = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "COLUMNS": "80"}
    out = python("-m", "diptych", "list", "fields", "rnn", cwd=tmp_path, **variables)
    assert "seq_len: int = 64" in out
    file, _, out = python("-c", CHECK, cwd=tmp_path, **variables).partition("\n")
    assert Path(file).is_relative_to(installed) and out.count("agrees") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["check.json"]


def test_an_installed_package_does_not_report_the_commit_of_a_checkout_around_it(
    tmp_path, monkeypatch
):
    """A virtual environment often lies within a checkout, whose commit says nothing of diptych."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    for command in (("init", "-q"), (*identity, "commit", "-qm", "theirs", "--allow-empty")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    module = tmp_path / "packages" / "diptych" / "runs" / "environment.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(module))
    assert environment.environment()["commit"] is None
    module = tmp_path / "diptych" / "runs" / "environment.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(module))
    assert environment.environment()["commit"] is not None
