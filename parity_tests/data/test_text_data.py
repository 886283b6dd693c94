"""Vocabularies, corpora and their readers, contiguous batches, and their errors."""

import itertools
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.data import DATASETS, PARAMETRIC, ContiguousBatches, Corpus, Vocabulary, load, ptb
from diptych.data.cutting import cut_words
from diptych.data.memory import MemoryTask, parse
from model_specs.common.key import Key

KEY = Key(17).fold_in("memory")
WORDS = Vocabulary(("the", "<eos>", "don't", ",", "N", "<unk>"), "words")
LETTERS = Vocabulary(("\n", " ", "a", "b"), "characters")
ids = np.arange


def assert_raises(call, pattern, path="", error=ValueError):
    """Assert that `call` raises a one-line `error` that contains `path` and then `pattern`."""
    with pytest.raises(error, match=f"{re.escape(str(path))}.*{pattern}") as caught:
        call()
    assert "\n" not in str(caught.value)


def corpus_of(train=ids(4), valid=ids(3), test=ids(2)):  # noqa: B008  # never written to
    return Corpus("toy", train, valid, test, LETTERS, "")


def sizes(corpus):
    return [len(part) for part in (corpus.train, corpus.valid, corpus.test)]


REFUSED = [
    (lambda: WORDS.encode(["N", "teh", "teh"]), "got 'teh' at position 1, .* 6 words, .*'the'"),
    (lambda: WORDS.encode(["Don't"]), """got "Don't" at position 0, .*did you mean "don't"?"""),
    (lambda: WORDS.encode("N"), "got a str, takes one str a word"),
    (lambda: LETTERS.encode("abA"), "got 'A' at position 2, .* 4 characters, did you mean 'a'"),
    (lambda: LETTERS.decode([0, 4]), "ids: got 4, takes 0 to 3"),
    (lambda: LETTERS.decode([-1]), "ids: got -1"),
    (lambda: Vocabulary(("a", "a"), "words"), "tokens: got 2, of them 1 distinct"),
    (lambda: Vocabulary(("a", "b c"), "words"), "'b c' for id 1, takes a word without blanks"),
    (lambda: Vocabulary(("a", "bc"), "characters"), "'bc' for id 1, takes one character"),
    (lambda: Vocabulary(("a",), "bytes"), "unit: got 'bytes', takes one of 'words', 'char"),
    (lambda: corpus_of(train=ids(4).astype("i4")), r"train: got int32 \(4,\), takes int64 \(N,\)"),
    (lambda: corpus_of(test=ids(6)[::2]), r"test: got int64 \(3,\), .* in C order"),
    (lambda: corpus_of(valid=ids(1)), "valid: got 1 tokens, takes 2 or more"),
    (lambda: corpus_of(test=ids(5)), "test: got ids from 0 to 4, takes 0 to 3"),
    (lambda: corpus_of(train=ids(3) - 1), "train: got ids from -1 to 1, takes 0 to 3"),
    (lambda: ContiguousBatches(ids(59), 3, 19), "got 59, takes 60 or more .* 3 x length 19"),
    (lambda: ContiguousBatches(ids(5), 3, 9, tail=True), "got 5, takes 6 .* length 9 with a tail"),
    (lambda: ContiguousBatches(ids(9), 0, 1), "batch_size: got 0, takes an int >= 1"),
    (lambda: ContiguousBatches(ids(9), 1, 2.0), "length: got 2.0, takes an int >= 1"),
    (lambda: ContiguousBatches(ids(9)[None], 1, 1), r"tokens: got int64 \(1, 9\)"),
    (lambda: MemoryTask("a", "sorting"), "kind: got 'sorting', takes one of 'copy', 'adding'"),
    (lambda: MemoryTask("a", "adding", 5, 3), "items: got 3, takes 2"),
    (lambda: parse("copy").draw(KEY, 0), "count: got 0"),
    (lambda: parse("adding").draw(KEY, 3, -1), "start: got -1"),
    (lambda: load("copy:"), "name: got 'copy:', takes .*copy:LENGTH:ITEMS.* ints"),
    (lambda: load("adding:5:2"), "name: got 'adding:5:2', takes .*adding:LENGTH"),
    (lambda: load("copy:0"), "name: got 'copy:0', length: got 0"),
    (lambda: load("adding:1"), "name: got 'adding:1', length: got 1, takes an int >= 2"),
    (lambda: load("text:/no/a.txt"), "^/no/a.txt: No such file .*, expected a text file"),
    (lambda: load("text:"), "name: got 'text:', takes the path"),
]


@pytest.mark.parametrize("call, message", REFUSED, ids=[message for _, message in REFUSED])
def test_bad_arguments_are_refused(call, message):
    assert_raises(call, message)


def test_an_unknown_name_lists_all_names_and_gets_a_suggestion():
    forms = ", ".join(map(repr, (*DATASETS, *PARAMETRIC)))
    for name, suggestion in {"ptd": "ptb", "txt:a/b": "text:PATH", "cpoy:20000": "copy"}.items():
        message = f"name: got {name!r}, takes one of {forms}, did you mean {suggestion!r}"
        assert_raises(lambda name=name: load(name), message)


def test_words_and_characters_are_encoded_and_decoded():
    text, tokens = "the N , don't\n<unk>\n", ["the", "N", ",", "don't", "<eos>", "<unk>", "<eos>"]
    codes = WORDS.encode(iter(tokens))
    assert codes.dtype == np.int64 and codes.tolist() == [0, 4, 3, 2, 1, 5, 1]
    assert WORDS.split(text) == tokens and WORDS.decode(codes) == text and len(WORDS) == 6
    assert LETTERS.decode(LETTERS.encode(LETTERS.split("ab \nba"))) == "ab \nba"
    contents = corpus_of().contents
    assert list(contents) == ["train tokens", "valid tokens", "test tokens", "vocabulary"]
    assert contents["train tokens"].tolist() == [0, 1, 2, 3]
    # chunks of a prompt that are no tokens are split
    assert WORDS.split("The, DON'T,") == ["the", ",", "don't", ","]
    assert WORDS.split("\n the N\n \n<unk>") == ["<eos>", "the", "N", "<eos>", "<unk>"]
    assert cut_words("It's 'so' x_1--é!") == ["it's", "'", "so", "'", "x_1", "-", "-", "é", "!"]


def naive_windows(tokens, batch_size, length, tail):
    """Return (window, step, column, x, y) of every token, by a loop over columns and tokens."""
    piece, entries = len(tokens) // batch_size, []
    for column in range(batch_size):
        stream = tokens[column * piece : (column + 1) * piece]
        for i in range(piece - 1):
            window, step = divmod(i, length)
            if tail or (window + 1) * length < piece:
                entries.append((window, step, column, stream[i], stream[i + 1]))
    return sorted(entries)


@given(st.integers(2, 90), st.integers(1, 7), st.integers(1, 11), st.booleans())
def test_windows_are_those_of_a_naive_loop_and_contiguous(n, batch_size, length, tail):
    tokens = np.random.default_rng(n).permutation(n)
    if n // batch_size < (2 if tail else length + 1):
        assert naive_windows(tokens, batch_size, length, tail) == []
        return assert_raises(
            lambda: ContiguousBatches(tokens, batch_size, length, tail=tail), "got"
        )
    batches = ContiguousBatches(tokens, batch_size, length, tail=tail)
    windows = list(batches)
    entries = []
    for i, (x, y) in enumerate(windows):
        entries += [(i, *index, x[index], y[index]) for index in np.ndindex(x.shape)]
    assert entries == naive_windows(tokens.tolist(), batch_size, length, tail)
    assert batches.tokens_predicted == len(entries) and len(batches) == len(windows)
    for a in itertools.chain.from_iterable(windows):
        assert a.dtype == np.int64 and a.flags.c_contiguous and a.shape[1] == batch_size
    assert all(len(x) == length for x, _ in (windows[:-1] if tail else windows))
    for (_, y), (x, _) in itertools.pairwise(windows):
        np.testing.assert_array_equal(y[-1], x[0])  # so that the state can be carried over


@given(st.integers(2, 60), st.integers(1, 70))
def test_tail_predicts_every_token_but_the_first_once(n, length):
    windows = list(ContiguousBatches(ids(n), 1, length, tail=True))
    assert np.concatenate([y for _, y in windows])[:, 0].tolist() == list(range(1, n))


def test_windows_are_copies_and_their_index_is_checked():
    tokens = ids(7)
    batches = ContiguousBatches(tokens, 2, 2)
    x, y = batches[0]
    x[:] = y[:] = -1
    assert batches[0][0].tolist() == [[0, 3], [1, 4]] and tokens.tolist() == list(range(7))
    for i in (-1, 1):
        assert_raises(lambda i=i: batches[i], f"got {i}, takes 0 to 0", error=IndexError)


def write_ptb(folder, monkeypatch, **changes):
    """Write a treebank of 7 / 3 / 3 words and 5 distinct ones."""
    monkeypatch.setattr(ptb, "WORDS", {"train": 7, "valid": 3, "test": 3})
    monkeypatch.setattr(ptb, "VOCABULARY", 5)
    monkeypatch.setattr(ptb, "CHARACTERS", {"train": 14, "valid": 4, "test": 3})
    folder.mkdir(exist_ok=True)
    texts = {"train": " b a <unk> \n b N \n", "valid": " a b \n", "test": " N \n\n"}
    for split, text in {**texts, **changes}.items():
        if text is not None:
            (folder / f"ptb.{split}.txt").write_text(text)


@pytest.mark.parametrize("folder", [".", "ptb"])
def test_a_small_treebank(tmp_path, monkeypatch, folder):
    write_ptb(tmp_path / folder, monkeypatch)
    corpus = load("ptb", tmp_path)
    assert corpus.vocabulary.tokens == ("<eos>", "b", "<unk>", "N", "a")  # by count, then spelling
    assert corpus.train.tolist() == [1, 4, 2, 0, 1, 3, 0]
    assert (corpus.valid.tolist(), corpus.test.tolist()) == ([4, 1, 0], [3, 0, 0])
    assert re.match(
        "ptb: 7 train, 3 valid and 3 test words, .* 5, <unk> is 14.3 % of train, 0 % ",
        corpus.summary,
    )
    characters = load("ptb/characters", tmp_path)
    assert characters.vocabulary.decode(characters.train) == "b a <unk>\nb N\n"


@pytest.mark.parametrize(
    "split, content, message",
    [
        ("train", "b a <unk>\n b\n", "found 6 words .*expected 7"),
        ("train", "b a N \n b N\n", "found 4 distinct words .*expected 5"),
        ("valid", "a b\n\n", "found 4 words .*expected 3"),
        ("test", "\nz\n", "line 2: found 'z', expected one of the 5 words of ptb.train.txt"),
        ("test", None, "found no ptb.test.txt"),
    ],
)
def test_an_error_names_the_fault_of_a_treebank(tmp_path, monkeypatch, split, content, message):
    write_ptb(tmp_path, monkeypatch, **{split: content})
    path = tmp_path / f"ptb.{split}.txt" if content else tmp_path
    assert_raises(lambda: load("ptb", tmp_path), message, path)


def test_real_ptb(real):
    corpus, characters = real("ptb"), real("ptb/characters")
    assert sizes(corpus) == [929589, 73760, 82430] and len(corpus.vocabulary) == 10000
    assert corpus.vocabulary.tokens[:6] == ("the", "<unk>", "<eos>", "N", "of", "to")
    assert np.bincount(corpus.train)[:3].tolist() == [50770, 45020, 42068]
    assert len(ContiguousBatches(corpus.train, 20, 20)) == 2323  # the paper's small model
    assert sizes(characters) == [5017482, 393042, 442423] and len(characters.vocabulary) == 50


@pytest.mark.parametrize("name", ["text", "text/characters"])
def test_a_text_file_is_split_into_three(tmp_path, monkeypatch, name):
    content = "Once upon A time,\r\n\n" * 30 + "once LATE late.\n"
    (tmp_path / "tale.txt").write_bytes(content.encode())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    corpus = load(f"{name}:tale.txt", "no folder at all")
    for path in ("~/tale.txt", tmp_path / "tale.txt"):
        np.testing.assert_array_equal(load(f"{name}:{path}").train, corpus.train)
    unit, text, tokens, expected = "characters", content, sorted(set(content)), [554, 31, 31]
    if name == "text":  # 185 words, 166 of them train, which lacks late and .
        unit, text = "words", "once upon a time ,\n" * 30 + "once <unk> <unk> <unk>\n"
        tokens, expected = ["a", "once", "time", "upon", ",", "<eos>", "<unk>"], [166, 9, 10]
    assert (
        corpus.vocabulary.decode(np.concatenate([corpus.train, corpus.valid, corpus.test])) == text
    )
    assert list(corpus.vocabulary.tokens) == tokens and sizes(corpus) == expected
    summary = "{}:tale.txt: {} train, {} valid and {} test {}, a vocabulary of {}"
    assert corpus.summary.startswith(summary.format(name, *expected, unit, len(tokens)))


def test_words_that_occur_once_in_train_are_unk(tmp_path):
    (tmp_path / "a").write_text("once " + "twice twice " * 30 + "once")
    corpus = load(f"text:{tmp_path / 'a'}")  # <eos> is never replaced by <unk>
    assert corpus.vocabulary.tokens == ("twice", "<unk>", "<eos>")
    assert corpus.train[0] == 1 and corpus.test[-2:].tolist() == [1, 2]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("text", b"caf\xe9 " * 40, "offset 3: found e9, expected UTF-8"),
        ("text/characters", b"a" * 40 + b"\xc3", "offset 40: found c3, expected UTF-8"),
        ("text", b"", "found an empty file, expected text"),
        ("text/characters", b" \n\t\n" * 20, "found nothing but white space"),
        ("text", b"word " * 38, "found 39 words, expected 40 or more"),
    ],
)
def test_an_error_names_the_fault_of_a_text_file(tmp_path, name, content, message):
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    assert_raises(lambda: load(f"{name}:{file}"), message, file)
    # a byte order mark is ignored, and 40 tokens are enough
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf" + b"ab" * 20)
    corpus = load(f"text/characters:{tmp_path / 'a'}")
    assert corpus.vocabulary.tokens == ("a", "b") and sizes(corpus) == [36, 2, 2]


def test_topics_are_embedded_in_python(monkeypatch):
    words, characters = load("topics"), load("topics/characters", "no folder at all")
    assert re.search(rf"words, .* topics of Python {sys.version.split()[0]}$", words.summary)
    counts = np.bincount(words.train, minlength=len(words.vocabulary))
    special = [words.vocabulary.tokens.index(token) for token in ("<eos>", "<unk>")]
    assert (np.delete(counts, special) > 1).all() and (np.diff(counts) <= 0).all()
    assert characters.vocabulary.decode(characters.train[:22]) == 'The "assert" statement'
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    assert_raises(lambda: load("topics"), "topics: found no pydoc_data.topics in Python")
