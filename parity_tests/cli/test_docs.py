"""README.md and the pages under docs/: their commands run, their tables and excerpts are true."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import typer
from helpers import command_server, doc_pages
from helpers.doc_pages import ROOT

from diptych import pairs
from diptych.cli.commands import app

PAGES = doc_pages.pages()
BLOCKS = [block for page, text in PAGES.items() for block in doc_pages.blocks(page, text)]
EXCERPTS = [block for block in BLOCKS if block.is_excerpt]
DEADLINE = 60


@pytest.fixture
def shell(tmp_path):
    """A function that runs a script in a fresh folder, with the server's programs on its PATH."""
    programs, folder = tmp_path / "bin", tmp_path / "folder"
    programs.mkdir()
    folder.mkdir()
    # not below tmp_path, which may be longer than the 100 characters of a socket's address
    with tempfile.TemporaryDirectory() as short:
        address = f"{short}/server"
        environment = dict(os.environ, OMP_NUM_THREADS="1", COLUMNS="80")
        environment |= {"PATH": f"{programs}:{os.environ['PATH']}"}
        environment = {k: v for k, v in environment.items() if not k.startswith("PYTEST_")}
        environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, *sys.path)))
        command_server.install(programs, address)
        server = subprocess.Popen(
            [sys.executable, command_server.__file__, address], env=environment
        )
        try:
            begun = time.monotonic()
            while not Path(address).exists():
                assert server.poll() is None and time.monotonic() - begun < DEADLINE
                time.sleep(0.05)
            yield lambda script: subprocess.run(
                ["bash", "-c", script],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        finally:
            server.kill()
            server.wait()


def test_every_command_of_the_pages_runs_as_typed(shell, tmp_path):
    result = shell(doc_pages.script(tmp_path))
    print(result.stdout)
    *_, last = re.findall(r"^@ (.*)", result.stdout, re.MULTILINE)
    assert result.returncode == 0, f"{last}\n{result.stdout[-2000:]}"


def test_lines_that_cannot_be_run_here_are_reported():
    lines = doc_pages.left_out()
    if lines:
        named = "; ".join(f"{line.place} needs {', '.join(line.lacks)}" for line in lines)
        pytest.skip(f"{len(lines)} lines of the pages are not run: {named}")


def test_the_hand_written_derivative_of_the_readme_can_fail(shell):
    (code,) = (b.text for b in BLOCKS if b.page == "README.md" and b.file == "test_softsign.py")
    faulty = code.replace("** 2", "** 3")
    assert faulty != code
    result = shell(f"cat > test_softsign.py <<'END'\n{faulty}\nEND\npytest -q test_softsign.py")
    assert result.returncode == 1 and "1 failed" in result.stdout, result.stdout
    assert ": input gradient off by " in result.stdout


def _recorded_commands():
    blocks = [block for block in BLOCKS if block.language in ("sh", "shell")]
    lines = [line for block in blocks for line in block.text.splitlines()]
    return [line.partition(" # ")[0].strip() for line in lines if line.startswith("diptych ")]


@pytest.mark.parametrize("line", _recorded_commands())
def test_recorded_commands_have_the_options_of_today(line):
    """The commands under the tables take minutes to hours: they are parsed, not run."""
    name, *arguments = shlex.split(line)[1:]
    command = typer.main.get_command(app).commands[name]
    command.make_context(name, arguments)


def test_every_make_target_that_the_pages_name_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for text in PAGES.values() for name in re.findall(r"(?:`|^)make (\w+)", text)}
    assert named and named <= targets


def _bare(code):
    """Code without annotations, comments, blanks and brackets."""
    code = re.sub(r"  #.*", "", code)
    return re.sub(r"(?<=\w): [\w.]+(?=[,)])|\s*->\s*[\w\[\], .]+(?=:\n)|\s|[()]", "", code)


@pytest.mark.parametrize("block", EXCERPTS, ids=lambda block: f"{block.page}:{block.file}")
def test_excerpts_are_the_code(block):
    source = _bare((ROOT / block.file).read_text())
    for line in block.text.splitlines()[1:]:
        assert _bare(line + "\n") in source, line


def _slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)", file.read_text(), re.MULTILINE)
            assert heading in map(_slug, headings), target


def test_the_readme_fits_on_a_few_screens_and_links_every_page():
    readme = PAGES["README.md"]
    assert len(readme.splitlines()) <= 150
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, page


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_plain_markdown_and_their_tables_are_whole(page):
    """No raw HTML but comments, and the same number of cells in each row of a table."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"</?[a-z]+[^>]*>", prose)
    columns = None
    for line in prose.splitlines():
        cells = line.count("|") if line.startswith("|") else None
        assert cells is None or columns in (None, cells), line
        columns = cells


def test_make_bench_finds_the_benchmarks():
    recipe = (ROOT / "Makefile").read_text().partition("\nbench:")[2]
    options = shlex.split(recipe.splitlines()[1].partition("pytest")[2])
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--collect-only", "-q"],
        # this test's own worker must not be taken for one of the benchmarks'
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0 and "bench_mlp_vae.py" in result.stdout, result.stdout


@pytest.mark.parametrize("name", pairs.PAIRS)
@pytest.mark.parametrize(
    "pattern",
    [
        "model_specs/{}.py",
        "numpy_ref/{}.py",
        "torch_impl/{}.py",
        "parity_tests/models/test_{}.py",
        "benchmarks/bench_{}.py",
    ],
)
def test_a_model_has_one_file_name_in_every_folder(name, pattern):
    assert (ROOT / pattern.format(name)).exists()
    if "/test_" not in pattern and "/bench_" not in pattern:
        assert f"({pattern.format(name)})" in PAGES["README.md"]
