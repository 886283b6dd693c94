"""The tables of trained runs: names, epochs, seeds and commits, likelihoods and perplexities."""

from helpers.recorded_results import find

from diptych.runs.tables.trained import likelihood, perplexity, run_names


def test_each_data_set_has_a_table_of_its_likelihoods():
    other = find("vlae_static_mnist")
    other["data"], other["metrics"]["settings"]["fit"] = "caltech: 9 images", "train+valid"
    text = likelihood([find("vlae_static_mnist_gaussian"), other])
    first, second = text.split("### ")[1:]
    assert first.startswith("static_mnist\n") and second.startswith("caltech\n")
    assert "flow prior" not in first and "flow prior, fitted to train and valid |" in second


def test_one_data_set_is_described_once():
    old, new = find("lstm_zaremba_small"), find("lstm_zaremba_small")
    old["data"], new["data"] = "ptb: 9 words", "ptb: 9 words, 1 unknown"
    assert perplexity([old, new]).startswith("Data: ptb: 9 words, 1 unknown; PyTorch panel")
    assert perplexity([old, new]).count("ptb: 9 words") == 1


def test_averaged_runs_have_their_number_their_total_time_and_all_commands():
    settings = find("lstm_zaremba_small")["metrics"]["settings"]
    typed = "diptych train one\ndiptych train two"
    trained = [{"seed": seed, "commit": f"{seed}" * 12, "threads": 1} for seed in (0, 3)]
    settings |= {"command": typed, "trained": trained}
    averaged = find("lstm_zaremba_small", runs=2, train_seconds=7200, settings=settings)
    text = perplexity([averaged])
    row = next(line for line in text.splitlines() if "2 runs averaged" in line)
    assert row.startswith("| lstm 2 × 200, no dropout, 2 runs averaged | – | **114.60**")
    assert row.endswith("| 2 × 13 epochs, 120.0 min, 1 thread | 0, 3, 0000000 and 3333333 |")
    assert f"\n{typed}\ndiptych evaluate" in text


def test_a_run_that_is_not_finished_has_the_number_of_epochs_that_it_was_to_have():
    record = find("lstm_zaremba_small", epochs=9)
    assert "| 9 of 13 epochs, " in perplexity([record])
    record["metrics"]["settings"]["patience"] = 3
    assert "| 9 of at most 13 epochs, " in perplexity([record])


def test_an_older_record_has_its_seed_and_the_commit_of_its_evaluation():
    record = find("lstm_zaremba_small", train_seconds=60)
    del record["metrics"]["settings"]["trained"]
    record |= {"seed": 7, "commit": "123456789abc"}
    assert "| 13 epochs, 1.0 min | 7, 1234567 |" in perplexity([record])
    trained = [{"seed": 7, "commit": None, "threads": None}]
    record["metrics"]["settings"]["trained"] = trained
    assert "| 13 epochs, 1.0 min | 7, not known |" in perplexity([record])


def test_runs_of_one_name_have_their_epochs_in_it():
    records = [
        find("vlae_static_mnist"),
        find("vlae_static_mnist_long"),
        find("vlae_caltech_final"),
    ]
    names = run_names(records)
    assert names[0].endswith("flow prior, 22 epochs") and names[1].endswith("prior, 60 epochs")
    assert names[2].endswith("fitted to train and valid")


def test_a_model_that_reads_positions_has_them_in_its_name():
    names = run_names(
        [find("vlae_dynamic_mnist_unconditional"), find("vlae_dynamic_mnist_positions")]
    )
    before = "vlae, PixelCNN decoder, no z"
    assert names == [before, f"{before}, maps of positions"]


def test_likelihoods_of_training_images_are_told_apart():
    train = likelihood([find("vlae_dynamic_mnist_unconditional_train")])
    assert " | 4 × 2000 of train | " in train
    assert " of train" not in likelihood([find("vlae_dynamic_mnist_unconditional")])


def test_an_mlp_vae_with_another_density_or_posterior_has_it_in_its_name():
    usual, other = find("mlp_vae_static_mnist"), find("mlp_vae_static_mnist")
    other["metrics"]["settings"]["model_config"] |= {"posterior": "sigma", "likelihood": "beta"}
    names = run_names([usual, other])
    assert names == ["mlp_vae 784-400-20", "mlp_vae 784-400-20, sigma, beta"]
