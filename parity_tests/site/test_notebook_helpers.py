"""The helpers of the notebooks: code side by side, figures, tables and checked answers."""

import html
import io
import json
import re

import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from torch.nn import functional as F

from diptych import notebook, weights
from diptych.notebook import checking, quoting, showing
from diptych.parity import compare
from diptych.site.books import quoting as books_quoting
from diptych.site.books.outputs import Outputs
from diptych.site.books.prose import Prose
from numpy_ref import conv_vae, mlp_vae
from numpy_ref.autoregressive import ancestral, pixel_cnn
from numpy_ref.nn import functional, random
from numpy_ref.probability import distributions
from torch_impl import conv_vae as torch_conv_vae
from torch_impl import mlp_vae as torch_mlp_vae
from torch_impl.autoregressive import ancestral as torch_ancestral
from torch_impl.autoregressive import pixel_cnn as torch_pixel_cnn
from torch_impl.probability import distributions as torch_distributions


@pytest.fixture
def shown(monkeypatch):
    """The objects that the helpers display."""
    objects = []
    for module in (quoting, showing, checking):
        monkeypatch.setattr(module, "display", objects.append)
    return objects


def rows_of(table):
    """The text of both cells of each row, without the head."""
    rows = re.findall(r"<tr.*?</tr>", table.data, re.DOTALL)[1:]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]


def test_beside_shows_the_statements_of_both_panels_in_rows(shown):
    notebook.beside(mlp_vae.MLPVAE.decode, torch_mlp_vae.MLPVAE.decode)
    (table,) = shown
    rows = rows_of(table)
    assert "numpy_ref/mlp_vae.py" in table.data
    assert "torch_impl/mlp_vae.py" in table.data
    assert rows[0][0].startswith("def decode(self, z: Array)")
    assert rows[0][1].startswith("def decode(self, z: Tensor)")
    assert '"""' not in table.data


def test_beside_says_that_autograd_does_what_the_vjp_does(shown):
    notebook.beside(conv_vae.ConvVAE.encode, torch_conv_vae.ConvVAE.encode)
    (vjp,) = [row for row in rows_of(shown[0]) if row[0].lstrip().startswith("def vjp")]
    assert vjp[1] == books_quoting.AUTOGRAD


def test_marks_select_statements_with_their_twins_and_single_lines_of_a_vjp(shown):
    notebook.beside(
        mlp_vae.MLPVAE.loss, torch_mlp_vae.MLPVAE.loss, "recon_term =", "dnll =", "encode_vjp(dmu"
    )
    rows = rows_of(shown[0])
    assert rows[0] == ["recon_term = weight * nll.mean(1).sum()"] * 2
    assert len(rows) == 2
    assert len(rows[1][0].splitlines()) == 2
    assert "dkl" not in rows[1][0]


@pytest.mark.parametrize("mark", ["no_such_name", "kl_term = 0"])
def test_a_mark_that_is_gone_is_an_error_that_names_it(shown, mark):
    with pytest.raises(LookupError, match=f"MLPVAE.loss .* has no line with '{mark}'"):
        notebook.beside(mlp_vae.MLPVAE.loss, torch_mlp_vae.MLPVAE.loss, "recon_term =", mark)
    with pytest.raises(LookupError, match=f"MLPVAE.loss has no line with '{mark}'"):
        notebook.quote(mlp_vae.MLPVAE.loss, mark)
    assert shown == []


def test_statements_without_a_twin_stand_beside_the_one_that_looks_most_alike(shown):
    pair = distributions.gaussian_kl_sampled, torch_distributions.gaussian_kl_sampled
    notebook.beside(*pair)
    (row,) = [row for row in rows_of(shown[0]) if row[0].lstrip().startswith("kl =")]
    assert row[1].split() == ["return", *row[0].split()[2:]]
    assert sum("return 0.5" in row[1] for row in rows_of(shown[0])) == 1


def test_a_call_stands_for_what_torch_supplies(shown):
    notebook.beside(functional.linear, "F.linear(x, W, b)")
    assert books_quoting.SUPPLIED in shown[0].data
    assert rows_of(shown[0])[0][1] == "F.linear(x, W, b)"


def test_a_registered_function_has_the_name_of_what_it_is_registered_for(shown):
    draw = ancestral.sample_pixels.dispatch(pixel_cnn.PixelCNN)
    notebook.beside(draw, "sample_pixels(decoder, maps, u)")
    assert "sample_pixels of PixelCNN" in shown[0].data


def test_a_class_is_no_function(shown):
    with pytest.raises(TypeError, match="left: got MLPVAE, takes a function"):
        notebook.beside(mlp_vae.MLPVAE, torch_mlp_vae.MLPVAE)


def test_code_is_escaped(shown):
    notebook.beside(distributions.bernoulli_nll, torch_distributions.bernoulli_nll)
    assert "logits &gt;= 0" in shown[0].data


def test_quote_shows_the_lines_with_a_mark(shown):
    notebook.quote(distributions.gaussian_kl, "excess =")
    assert shown[0].data == (
        "`numpy_ref/probability/distributions.py`, `gaussian_kl`\n\n"
        "```python\nexcess = np.expm1(logvar)  # var - 1\n```"
    )


def test_figures_have_a_palette_a_width_and_a_description(shown):
    figure = Figure((4, 2), facecolor="white")
    notebook.axes(figure, (1, 1, 1), "title", "x", "y").plot([0, 1], [0, 1])
    notebook.show(figure, "A line.")
    (image,) = shown
    assert (image.width, image.alt) == (4 * showing.WIDTH, "A line.")
    assert Image.open(io.BytesIO(image.data)).mode == "P"


def test_tables_are_markdown(shown):
    notebook.tabulate(("a", "b"), [(1, "x")])
    assert shown[0].data == "| a | b |\n| --- | --- |\n| 1 | x |"


def softsign(x):
    return x / (1 + np.abs(x)), lambda dy: dy / (1 + np.abs(x)) ** 2


def softsign_with_the_wrong_vjp(x):
    return x / (1 + np.abs(x)), lambda dy: dy


X = random.normal(mlp_vae.Key(0), (3, 5))


def test_a_right_answer_turns_green(shown):
    assert notebook.check(softsign, F.softsign, X).ok
    assert checking.GREEN in shown[0].data
    assert "✓ softsign" in shown[0].data


def test_a_wrong_answer_turns_red_and_names_the_tensor(shown):
    assert not notebook.check(softsign_with_the_wrong_vjp, F.softsign, X).ok
    assert checking.RED in shown[0].data
    assert "forward(x): input gradient off by" in shown[0].data


def test_models_are_checked_too(shown):
    config = mlp_vae.MLPVAEConfig(input_dim=6, hidden_dim=5, latent_dim=2)
    left, right = mlp_vae.MLPVAE(config), torch_mlp_vae.MLPVAE(config)
    weights.transfer(left, right)
    batch = (X[:, :1] * np.ones(6) > 0).astype(float)
    assert notebook.check(left, right, batch, left.draw_noise(mlp_vae.Key(1), 3)).ok


def test_the_largest_error_comes_with_its_tensor():
    report = compare("mlp_vae")
    error, name = notebook.largest_error(report, "gradient")
    worst = max((r for r in report.rows if r.kind.endswith("gradient")), key=lambda r: r.error)
    assert name == f"`{worst.name}`"
    assert float(error) == pytest.approx(worst.error, rel=0.5)


def test_a_stored_table_is_made_again_from_the_sources():
    table = books_quoting.table(mlp_vae.MLPVAE.loss, torch_mlp_vae.MLPVAE.loss, "kl_term =")
    stale = table.replace("kl.mean(1)", "kl.max(1)")
    assert stale != table
    assert books_quoting.renewed(f"before {stale} after") == f"before {table} after"


def test_tables_of_calls_and_of_registered_functions_are_made_again_too():
    draw = ancestral.sample_pixels.dispatch(pixel_cnn.PixelCNN)
    torch_draw = torch_ancestral.sample_pixels.dispatch(torch_pixel_cnn.PixelCNN)
    for table in (
        books_quoting.table(functional.linear, 'F.linear(x, W, "b")', "y ="),
        books_quoting.table(draw, torch_draw),
    ):
        assert books_quoting.renewed(table) == table


@pytest.mark.parametrize("name", ["MLPVAE.losses", "sample_pixels of PixelRNN"])
def test_a_function_that_is_gone_is_an_error_that_names_it(name):
    module = "numpy_ref.autoregressive.ancestral" if " of " in name else "numpy_ref.mlp_vae"
    with pytest.raises(LookupError, match=f"{module} has no {name}"):
        books_quoting.renewed(f'<table class="beside" data-quote="{quoted(module, name)}"></table>')


def test_a_page_says_which_of_its_quotations_are_gone():
    table = f'<table class="beside" data-quote="{quoted("numpy_ref.mlp_vae", "VAE")}"></table>'
    output = nbformat.v4.new_output("display_data", data={"text/html": table})
    outputs = Outputs("name", Prose(()))
    outputs.html(nbformat.v4.new_code_cell("", outputs=[output]))
    assert outputs.problems == ["notebooks/name.ipynb: numpy_ref.mlp_vae has no VAE"]


def quoted(module, name):
    return html.escape(json.dumps([[module, name], "F.linear(x)"]))
