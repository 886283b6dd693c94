"""Tokenised texts: their files and folders, special tokens, the cut of a prompt, and <unk>."""

import re
import string

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diptych.data import Vocabulary, load
from diptych.data.cutting import cut_line, cut_prompt, cut_words, is_tokenised
from diptych.data.text import from_text

WIKI = {
    "train": " \n = Robert <unk> = \n \n The cat , 3 @,@ 000 of N.Y. \n",
    "valid": " \n The <unk> = \n",
    "test": " cat of\n\n cat",
}
WIKI_TOKENS = {
    "train": "<eos> = Robert <unk> = <eos> <eos> The cat , 3 @,@ 000 of N.Y. <eos>",
    "valid": "<eos> The <unk> = <eos>",
    "test": "cat of <eos> <eos> cat <eos>",
}
LAYOUTS = {
    "WikiText-2 as published": ("wikitext-2", "wiki.{}.tokens"),
    "word_language_model and awd-lstm": ("wikitext-2", "{}.txt"),
    "penn of awd-lstm": ("penn", "{}.txt"),
    "the names of the Penn Treebank": ("simple-examples/data", "ptb.{}.txt"),
    "any folder": (".", "{}.txt"),
}


def write_three(folder, pattern="{}.txt", **texts):
    """Write the three files of `WIKI`, some of them with other contents."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in {**WIKI, **texts}.items():
        (folder / pattern.format(split)).write_text(text)
    return folder


def tokens_of(corpus, split):
    return [corpus.vocabulary.tokens[i] for i in getattr(corpus, split)]


# Folders of three files


@pytest.mark.parametrize("inside", [True, False], ids=["itself", "the folder around it"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tokenised_text_is_read_as_it_is_from_every_layout(tmp_path, layout, inside):
    folder, pattern = LAYOUTS[layout]
    write_three(tmp_path / folder, pattern)
    corpus = load(f"words:{tmp_path / folder if inside else tmp_path}", "no folder at all")
    for split, expected in WIKI_TOKENS.items():
        assert tokens_of(corpus, split) == expected.split()
    assert corpus.summary.startswith(f"words:{tmp_path}")
    assert "16 train, 5 valid and 6 test words, a vocabulary of 12, " in corpus.summary
    assert f"read from {tmp_path / folder}: {pattern.format('train')}," in corpus.summary


def test_the_vocabulary_has_the_order_of_word_language_model(tmp_path):
    expected = dict.fromkeys(WIKI_TOKENS["train"].split())
    assert load(f"words:{write_three(tmp_path)}").vocabulary.tokens == tuple(expected)


def test_a_word_that_only_valid_or_test_has_is_unk_and_the_summary_counts_it(tmp_path):
    corpus = load(f"words:{write_three(tmp_path, test='A cat <unk> cat')}")
    assert tokens_of(corpus, "test") == ["<unk>", "cat", "<unk>", "cat", "<eos>"]
    assert "; 1 words of valid and test are not in train and were made <unk>" in corpus.summary
    assert "<unk> is 6.2 % of train, 20.0 % of valid and 40.0 % of test" in corpus.summary
    plain = {split: f"a b\n{split if split == 'test' else ''}" for split in WIKI}
    corpus = load(f"words:{write_three(tmp_path, **plain)}")
    assert corpus.vocabulary.tokens == ("a", "b", "<eos>", "<unk>")
    corpus = load(f"words:{write_three(tmp_path, **plain | {'test': 'b'})}")
    assert corpus.vocabulary.tokens == ("a", "b", "<eos>") and "<unk>" not in corpus.summary


def test_an_eos_at_the_end_of_a_line_gets_no_second_one(tmp_path):
    corpus = load(f"words:{write_three(tmp_path, train='The <eos> cat <eos>' + chr(10) + 'of = ')}")
    assert tokens_of(corpus, "train") == ["The", "<eos>", "cat", "<eos>", "of", "=", "<eos>"]
    assert cut_line("Red <EOS>", "marks") == ["red", "<eos>"]


def test_a_relative_folder_and_the_home_folder_are_found(tmp_path, monkeypatch):
    write_three(tmp_path / "text")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert sum(len(load(name).train) for name in ("words:text", "words:~/text")) == 32


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        (lambda f: (f / "valid.txt").unlink(), "found no valid.txt, expected valid.txt in"),
        (lambda f: (f / "test.txt").write_text(""), "test.txt: found an empty file, expected text"),
        (lambda f: (f / "test.txt").write_text(" \n"), "test.txt: found nothing but white space"),
        (lambda f: (f / "train.txt").write_text("<eos>"), "train.txt: found 1 words, expected 2"),
        (lambda f: [p.unlink() for p in f.iterdir()], "found no wiki.train.tokens but nothing, "),
        (
            lambda f: [p.rename(f / f"{p.stem}.raw") for p in [*f.iterdir()]],
            "found no wiki.train.tokens but test.raw, train.raw, valid.raw, expected wiki",
        ),
    ],
)
def test_an_incomplete_folder_is_refused_with_the_file_named(tmp_path, arrange, message):
    arrange(write_three(tmp_path))
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path))}.*{message}") as caught:
        load(f"words:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_a_folder_of_several_texts_is_refused_and_its_subfolders_are_named(tmp_path):
    for name in ("penn", "wikitext-2"):
        write_three(tmp_path / name)
    (tmp_path / "penn" / "test.txt").write_text("")
    assert len(load(f"words:{tmp_path}").train) == 16  # of wikitext-2, the only whole one
    write_three(tmp_path / "penn")
    with pytest.raises(ValueError, match="found texts in wikitext-2, penn, expected one"):
        load(f"words:{tmp_path}")
    write_three(tmp_path)  # its own files come first
    assert load(f"words:{tmp_path}").summary.endswith(f"{tmp_path}: train.txt, valid.txt, test.txt")


def test_a_folder_with_the_name_of_a_file_hides_no_other_layout(tmp_path):
    for split in WIKI:
        (tmp_path / f"wiki.{split}.tokens").mkdir()
        (tmp_path / f"ptb.{split}.txt").touch()  # an empty file hides none either
    assert len(load(f"words:{write_three(tmp_path)}").train) == 16


def test_a_path_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("a b")
    for name, message in {
        "": "name: got 'words:', takes the path of a folder",
        f"{tmp_path}/none": "/none: found nothing, expected a folder",
        f"{tmp_path}/a.txt": "a.txt: found a file, expected a folder .*text:PATH reads one file",
    }.items():
        with pytest.raises(ValueError, match=message):
            load(f"words:{name}")


# Special tokens, and prompts


@pytest.mark.parametrize("token", ["<unk>", "<eos>", "<UNK>", "(<unk>)", "<unk>,"])
def test_a_special_token_is_one_token_in_a_corpus_and_in_a_prompt(token):
    text = f"the cat sat on a {token} mat\n" * 40
    corpus = from_text("text:a", text, "words", "a", "")
    special = re.search("<...>", token).group().lower()
    assert tokens_of(corpus, "train")[:8] == corpus.vocabulary.split(text)[:8]
    assert special in tokens_of(corpus, "train")[:8] and "<" not in corpus.vocabulary.tokens
    corpus.vocabulary.encode(corpus.vocabulary.split(f"the {special}"))


SOME_TEXT = st.text(st.sampled_from("aB'é Σİ.,<>-_1\t\n\r\u2028"), max_size=60)


@given(SOME_TEXT, st.sampled_from(["", "<unk>", " <unk> ", "<eos>\n"]), SOME_TEXT)
@example("A ΑΣ", "", "Σ.\n\n \nİst 'so")
def test_a_prompt_is_cut_as_the_same_text_in_a_corpus(start, special, end):
    text = f"{start}{special}{end}\n".lstrip()
    for rule in ("marks", "blanks"):
        lines = text.removesuffix("\n").split("\n")
        corpus = [token for line in lines for token in cut_line(line, rule)]
        assert cut_prompt(text, rule, set(corpus)) == (corpus if text else [])


@given(SOME_TEXT.filter(lambda text: "<" not in text))
def test_a_text_without_special_tokens_is_cut_as_it_always_was(text):
    assert cut_words(text) == re.findall(r"\w+(?:'\w+)*|[^\w\s]", text.lower())


def test_a_prompt_for_a_tokenised_text_keeps_case_and_marks_where_they_are_known():
    words = "The the cat N.Y. @,@ , <unk> <eos> N"
    vocabulary = Vocabulary(tuple(words.split()), "words", "blanks")
    assert vocabulary.split(words) == words.split()
    tokens = ["The", "cat", ",", "N.Y.", "<eos>", "<eos>", "the"]
    assert vocabulary.split("The Cat, N.Y.\n\nthe") == tokens
    assert vocabulary.split("The, (CAT)") == ["The", ",", "(", "cat", ")"]
    with pytest.raises(ValueError, match=r"tokens: got 'hat' at position 1, .*did you mean"):
        vocabulary.encode(vocabulary.split("the hat"))


def test_a_vocabulary_knows_only_two_rules():
    with pytest.raises(ValueError, match="rule: got 'bpe', takes one of 'marks', 'blanks'"):
        Vocabulary(("a",), "words", "bpe")


# Notices


def test_the_share_of_unk_in_each_split_is_in_the_summary():
    words = [a + b for a in string.ascii_lowercase for b in string.ascii_lowercase]
    corpus = from_text("text:a", " ".join(words), "words", "a", "")
    assert "<unk> is 100.0 % of train, 100.0 % of valid and 97.1 % of test" in corpus.summary
    corpus = from_text("text:a", "one two " * 400 + "three", "words", "a", "")
    assert "<unk> is 0 % of train, 0 % of valid and 2.4 % of test" in corpus.summary
    corpus = from_text("text:a", "once " + "one two " * 2000, "words", "a", "")
    assert "<unk> is under 0.1 % of train, 0 % of valid" in corpus.summary
    assert "<unk>" not in from_text("text:a", "one two " * 40, "words", "a", "").summary


PLAIN = "It was a day, and a day, as days go.\n"


@pytest.mark.parametrize(
    ("text", "tokenised"),
    [
        ("= Robert <unk> =\n", True),
        ("3 @,@ 000 of N.Y.\n", True),
        ("-LRB- a cat -RRB-\n", True),
        ("it was a day , and a day .\n", True),
        (PLAIN, False),
        ("it was a day ...\n", False),
        (f"{PLAIN}a , b\n", False),
        ("no marks at all\n", False),
        ("x<unk>y @ - @\n", False),
    ],
)
def test_a_tokenised_file_read_as_plain_text_is_noticed(tmp_path, text, tokenised):
    assert is_tokenised(text * 30) is tokenised
    (tmp_path / "a.txt").write_text(text * 30)
    notice = "was tokenised anew, so its perplexity compares with no published one: words:FOLDER"
    assert (notice in load(f"text:{tmp_path / 'a.txt'}").summary) is tokenised
    assert notice not in load(f"text/characters:{tmp_path / 'a.txt'}").summary


def test_the_topics_of_python_are_no_tokenised_text():
    assert "tokenised" not in load("topics").summary


# The Penn Treebank where users have it


@pytest.mark.parametrize("folder", [".", "ptb", "penn", "simple-examples/data", "data"])
@pytest.mark.parametrize("pattern", ["ptb.{}.txt", "{}.txt"])
def test_the_treebank_is_found_where_users_have_it(tmp_path, small_treebank, folder, pattern):
    (tmp_path / "ptb").mkdir()
    (tmp_path / "ptb" / "ptb.train.txt").write_text("a half copy\n")  # is passed over
    small_treebank(tmp_path / folder, pattern)
    for name, size in {"ptb": 7, "ptb/characters": 14}.items():
        corpus = load(name, tmp_path)
        assert len(corpus.train) == size and f"read from {tmp_path / folder}" in corpus.summary


@pytest.mark.parametrize("name", ["ptb", "ptb/characters"])
@pytest.mark.parametrize(
    ("split", "text", "message"),
    [
        ("train", "b a <unk>\n", "ptb.train.txt: found 4 words with one <eos> a line, expected 7"),
        ("train", "b a <unk>\n\nb N\n", "ptb.train.txt: found 8 words .* expected 7"),
        ("train", "b a N\nb N\n", "ptb.train.txt: found 4 distinct words .* expected 5"),
        ("valid", "a b\n\n", "ptb.valid.txt: found 4 words .* expected 3"),
        ("test", "N\n", "ptb.test.txt: found 2 words .* expected 3"),
    ],
)
def test_words_and_characters_of_the_treebank_have_the_same_checks(
    tmp_path, small_treebank, name, split, text, message
):
    small_treebank(tmp_path, "ptb.{}.txt", **{split: text})
    with pytest.raises(ValueError, match=message):
        load(name, tmp_path)


def test_a_treebank_with_other_spellings_has_another_number_of_characters(tmp_path, small_treebank):
    small_treebank(tmp_path, "ptb.{}.txt", train="b aa <unk>\nb N\n")
    with pytest.raises(ValueError, match=r"ptb.train.txt: found 15 characters, expected 14"):
        load("ptb/characters", tmp_path)


def test_a_prompt_for_the_treebank_is_cut_as_its_lines(tmp_path, small_treebank):
    vocabulary = load("ptb", small_treebank(tmp_path, "{}.txt")).vocabulary
    assert vocabulary.split("B a <unk>\nN") == ["b", "a", "<unk>", "<eos>", "N"]
    assert np.array_equal(vocabulary.encode(["<eos>"]), [0])


@pytest.fixture
def small_treebank(monkeypatch):
    """A function that writes a treebank of 7 / 3 / 3 words into a folder."""
    monkeypatch.setattr("diptych.data.ptb.WORDS", {"train": 7, "valid": 3, "test": 3})
    monkeypatch.setattr("diptych.data.ptb.VOCABULARY", 5)
    monkeypatch.setattr("diptych.data.ptb.CHARACTERS", {"train": 14, "valid": 4, "test": 3})

    def write(folder, pattern, **texts):
        texts = {"train": "b a <unk>\nb N\n", "valid": "a b\n", "test": "N\n\n"} | texts
        return write_three(folder, pattern, **texts)

    return write
