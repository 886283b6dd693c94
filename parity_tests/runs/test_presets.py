"""Presets: the numbers that were published, and what a user's own do to them."""

import copy
import dataclasses

import pytest
from helpers.small_text_runs import make_corpus

from diptych import data, pairs
from diptych.runs.config import RunConfig
from diptych.training.presets import PRESETS, default_data, settings
from model_specs.lstm import LSTMConfig

CORPUS = make_corpus()

# hidden units, dropout, T, initial U(-s, s), epochs at rate 1, then divided by, clip, epochs:
# Zaremba et al. (2014), section 4.1; the last row is the authors' code of Gal & Ghahramani (2016),
# gal-medium has its masks and the schedule of zaremba-medium
PUBLISHED = {
    "zaremba-small": (200, 0.0, 20, 0.1, 4, 2.0, 5.0, 13),
    "zaremba-medium": (650, 0.5, 35, 0.05, 6, 1.2, 5.0, 39),
    "zaremba-large": (1500, 0.65, 35, 0.04, 14, 1.15, 10.0, 55),
    "gal-medium": (650, 0.5, 35, 0.05, 6, 1.2, 5.0, 39),
    "gal-large": (1500, 0.5, 35, 0.04, 10, 1.15, 10.0, 55),
}
GAL = dict.fromkeys(("gal-medium", "gal-large"), "variational_recurrent")
SCHEMES = {"zaremba-small": "none"} | GAL


def filled(preset=None, fields=None, model="lstm", dataset=CORPUS, **options):
    return settings(model, dataset.name, dataset, preset, fields or {}, options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_preset_is_what_was_published(name):
    hidden, rate, steps, scale, _, _, clip, epochs = PUBLISHED[name]
    gal = name in GAL
    run = filled(name)
    model = LSTMConfig(**run.model_config)
    assert model == LSTMConfig(
        vocab_size=len(CORPUS.vocabulary),
        embedding_dim=hidden,
        hidden_dim=hidden,
        num_layers=2,
        seq_len=steps,
        scheme=SCHEMES.get(name, "per_step"),
        rate=rate,
        recurrent_rate=0.3 if gal else None,
        word_rate=0.3 if gal else 0.0,
        init_scale=scale,
        tied=False,
        forget_bias=0.0,
    )
    result = (run.optimizer, run.lr, run.batch_size, run.clip, run.epochs, run.weight_decay)
    assert result == ("sgd", 1.0, 20, clip, epochs, 1e-7 if gal else 0.0)
    assert (run.model, run.data) == ("lstm", "toy")


def test_the_mlp_vaes_are_those_of_the_paper_and_of_teaching_code():
    images = data.load("binary_digits")
    paper = filled("kingma-welling-mnist", model="mlp_vae", dataset=images)
    fields = ("activation", "posterior", "estimator", "samples", "likelihood", "init")
    expected = ["tanh", "logvar", "analytic", 1, "bernoulli", "normal"]
    assert [paper.model_config[name] for name in fields] == expected
    assert (paper.batch_size, paper.optimizer) == (100, "adam")
    assert (paper.lr, paper.schedule, paper.epochs) == (2e-3, "cosine", 200)
    for latents in (2, 10):
        run = filled(f"mnist-sigma-{latents}", model="mlp_vae", dataset=images)
        expected = [256, latents, "sigma", "bernoulli_clamped"]
        fields = ("hidden_dim", "latent_dim", "posterior", "likelihood")
        assert [run.model_config[name] for name in fields] == expected


def test_every_preset_is_checked_and_tells_its_source():
    assert {name for name, preset in PRESETS.items() if preset.model == "lstm"} == set(PUBLISHED)
    for preset in PRESETS.values():
        assert "arXiv" in preset.source
        needed = {"vocab_size": 5} if preset.model == "lstm" else {}
        config = pairs.get(preset.model).config(**needed | preset.fields)
        run = RunConfig(preset.model, vars(config), preset.data or "text", **preset.run)
        assert run.epochs > 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_learning_rate_of_each_epoch_is_that_of_the_authors_loop(name):
    """Their loop divides at the end of each epoch later than max_epoch, epochs counted from 1."""
    *_, max_epoch, decay, _, epochs = PUBLISHED[name]
    lr, rates = 1.0, []
    for epoch in range(1, epochs + 1):
        rates.append(lr)
        if epoch > max_epoch:
            lr /= decay
    run = filled(name)
    # every division rounds once, and so may the power that stands for them
    assert [run.lr_at(e) for e in range(epochs)] == pytest.approx(rates, rel=epochs * 2.3e-16)
    assert rates[max_epoch] == 1 and rates[max_epoch + 1] == 1 / decay


def test_what_the_user_gives_wins_and_the_rest_stays():
    plain = filled("zaremba-medium")
    # 128 and 0.001 are the defaults: to give them is not the same as to give nothing
    options = {"batch_size": 128, "lr": 1e-3, "clip": None, "backend": "numpy"}
    mixed = filled("zaremba-medium", {"rate": 0.0, "hidden_dim": 7}, **options)
    expected = {"batch_size": 128, "lr": 1e-3, "backend": "numpy"}
    fields = plain.model_config | {"scheme": "none", "rate": 0.0, "hidden_dim": 7}
    assert mixed == dataclasses.replace(plain, model_config=fields, **expected)


def test_without_a_preset_there_are_the_defaults():
    run = filled(lr=0.5, epochs=None)
    default = RunConfig("lstm", vars(LSTMConfig(vocab_size=len(CORPUS.vocabulary))), "toy", lr=0.5)
    assert run == default


def test_a_preset_goes_before_what_a_pair_makes_of_the_data():
    task = data.load("copy:9:2")
    alone, preset = filled(dataset=task), filled("zaremba-small", dataset=task)
    assert alone.model_config["hidden_dim"] == 64 and preset.model_config["hidden_dim"] == 200
    assert preset.model_config["vocab_size"] == task.symbols
    assert preset.model_config["seq_len"] == task.steps  # the preset's would have no effect


def test_filling_in_leaves_the_presets_as_they_were():
    before = copy.deepcopy(PRESETS)
    run = filled("gal-large", {"rate": 0.1}, lr=2.0)
    run.model_config["hidden_dim"] = 1
    assert before == PRESETS


@pytest.mark.parametrize(
    ("model", "preset", "said"),
    [
        ("lstm", "zaremba-smal", "preset: got 'zaremba-smal', .* did you mean 'zaremba-small'"),
        ("lstm", "", "preset: got '', takes one of zaremba-small, zaremba-medium"),
        ("rnn", "zaremba-small", "preset: got 'zaremba-small' for rnn, it is one of lstm"),
        ("mlp_vae", "gal-large", "preset: got 'gal-large' for mlp_vae, it is one of lstm"),
    ],
)
def test_a_preset_that_is_none_or_another_models_is_one_error(model, preset, said):
    with pytest.raises(ValueError, match=said) as caught:
        filled(preset, model=model)
    assert "\n" not in str(caught.value)


def test_a_preset_names_its_data_or_its_models():
    assert default_data("vlae", "vlae-mnist-iaf") == "static_mnist"
    assert default_data("vlae", "vlae-digits") == default_data("vlae", None) == "binary_digits"
    assert default_data("lstm", "zaremba-small") == "topics"
    with pytest.raises(ValueError, match="did you mean 'vlae-mnist'"):
        default_data("vlae", "vlae-mnst")
