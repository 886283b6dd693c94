"""`diptych sample` on text writes exactly what the model drew, and needs no more than its words."""

import io
import sys

import numpy as np
import pytest
from helpers.small_text_runs import make_corpus, make_panel, make_run

from diptych.cli import main, terminal
from diptych.commands.open import open_run
from diptych.data import Vocabulary, load
from diptych.display import Console
from diptych.tasks import Options, make_task
from diptych.tasks.language import continue_text, sample_text
from model_specs.common.key import Key

LINE = "[red]a\tb[/red] – {}  two blanks\r\n"
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on characters, among them tabs, returns, markup and a dash; and one on words."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "a.txt").write_text("".join(LINE.format(n) for n in range(60)), newline="")
    small = ["--epochs", "1", "--batch-size", "4", "--set", "hidden_dim=4", "--set", "seq_len=5"]
    for name, kind in {"letters": "text/characters", "words": "text"}.items():
        with pytest.raises(SystemExit) as done:
            data = f"{kind}:{folder / 'a.txt'}"
            main(["train", "rnn", *small, "--data", data, "--out", str(folder / name)])
        assert not done.value.code
    return folder


def drawn(folder, count, name="letters"):
    """The text that a run draws, by its panel and `continue_text`."""
    config, _, panel = open_run(folder / name)
    vocabulary = load(config.data).vocabulary
    start = vocabulary.encode(["<eos>" if name == "words" else "\n"])
    return vocabulary.decode(continue_text(panel, start, count, Key(0).fold_in("sample")))


@pytest.mark.parametrize("name", ["letters", "words"])
def test_the_output_is_what_the_model_drew_on_a_terminal_of_any_width(
    run, trained, monkeypatch, name
):
    text = drawn(trained, 400, name)
    assert name == "words" or {"\t", "\r", "\n", "[", "–"} <= {*text}
    for width in (20, 200):
        monkeypatch.setattr(terminal, "console", Console(width=width))
        status, out, _ = run("sample", trained / name, "--count", 400)
        assert status == 0 and out == text + "\n"


def test_a_text_file_gets_the_same_text_without_the_last_newline(run, trained, tmp_path):
    file = tmp_path / "s[b].txt"
    status, out, _ = run("sample", trained / "letters", "--count", 90, "--out", file)
    assert status == 0 and out == f"90 characters in {file}\n"
    assert file.read_bytes() == drawn(trained, 90).encode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["letters", "--out", "s.png"], "--out: got 's.png', takes a name that ends in .txt"),
        (["letters", "--out", "s"], "--out: got 's', takes a name that ends in .png or .txt"),
        (["letters", "--out", f"{__file__}/s.txt"], "s.txt', cannot write there"),
        (["nothing", "--out", "s.txt"], "nothing: not a run folder"),
    ],
)
def test_a_name_that_is_no_text_file_is_refused_before_sampling(
    run, trained, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("diptych.tasks.language.continue_text", None)
    status, out, err = run("sample", trained / options[0], *options[1:])
    assert status == 1 and message in err and not out and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("encoding", "dash"), [("ascii", "?"), ("latin-1", "?"), ("cp1252", "–"), ("utf-8", "–")]
)
def test_an_encoding_that_lacks_a_character_gets_a_question_mark(monkeypatch, encoding, dash):
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    monkeypatch.setattr(sys, "stdout", output)
    terminal.write_text("a – b\t\r\nc")
    assert output.buffer.getvalue().decode(encoding) == f"a {dash} b\t\r\nc\n"


def test_a_vocabulary_is_all_that_sampling_needs_of_the_corpus(tmp_path):
    corpus = make_corpus()
    config = make_run("lstm", corpus)
    panel = make_panel(config)
    options = Options(QUIET, count=30, prompt="Red cat", seed=4)
    text = make_task(config, corpus).sample(panel, tmp_path, options)
    assert sample_text(panel, corpus.vocabulary, options, corpus.name) == text
    assert text.startswith("red cat") and len(corpus.vocabulary.split(text)) <= 32


@pytest.mark.parametrize(
    ("tokens", "start"), [("ab\n cdef", "\n"), ("ab cdefg", " "), ("abcdefg", "a")]
)
def test_a_text_without_newlines_starts_after_a_blank_or_the_first_token(
    monkeypatch, tokens, start
):
    vocabulary = Vocabulary(tuple(tokens), "characters")
    prompts = []
    monkeypatch.setattr(
        "diptych.tasks.language.continue_text",
        lambda panel, prompt, count, *_: prompts.append(prompt.tolist()) or np.arange(count),
    )
    assert sample_text(None, vocabulary, Options(QUIET, count=3), "a") == tokens[:3]
    assert prompts == [[tokens.index(start)]]


def test_the_share_of_unk_among_the_evaluated_words_is_in_the_title(run, trained):
    status, out, _ = run("evaluate", trained / "words", "--split", "test")
    corpus = load(f"text:{trained / 'a.txt'}")
    share = np.mean(corpus.test[1:] == corpus.vocabulary.index("<unk>"))
    assert share > 0 and status == 0
    assert f"{len(corpus.test) - 1} words, {100 * share:.1f} % of them <unk>" in out
