"""The plain-text equations of the docstrings become LaTeX, and MathML without leftovers."""

import xml.etree.ElementTree as ET

import pytest

from diptych.site.prose.equations import equations, latex, mathml, relation
from diptych.site.prose.tokens import NotationError

SYMBOLS = {
    "x": "x",
    "mu": r"\mu",
    "beta1": r"\beta_{1}",
    "eps_i": r"\varepsilon_{i}",
    "c0": "c_{0}",
    "hi1": r"\text{hi}_{1}",
    "loss": r"\text{loss}",
    "kH": r"\mathit{kH}",
    "running_mean": r"\texttt{running_mean}",
    "config.samples": r"\texttt{config.samples}",
    "c_prev": r"c_{\text{prev}}",
    "dx": r"\text{d}x",
    "dlogvar": r"\text{d}\text{logvar}",
    "dlog_sigma": r"\text{d}\log\sigma",
    "j'": "j′",
    "v'_t": "{v′}_{t}",
    "1e-8": "10^{-8}",
    "2e5": r"2\cdot 10^{5}",
    "hat(x)_i": r"\hat{x}_{i}",
    "sqrt(2 pi)": r"\sqrt{2 \pi}",
}
SCRIPTS = {
    "h_{t-1}": "h_{t - 1}",
    "W_ih x_t": "W_{ih} x_{t}",
    "W_hhᵀ da_{t+1}": r"W_{hh}^{\top}\,\text{d}a_{t + 1}",
    "h^{l-1}_t": "h_{t}^{l - 1}",
    "z_<i": "z_{< i}",
    "h_l[<= m]": r"h_{l}[\le m]",
    "2^-24": "2^{-24}",
    "l^(2 n)": "l^{2 n}",
    "(2 pi)^2n": r"(2 \pi)^{2n}",
    "e^l_d": "e^{l_{d}}",
    "e^-|logits|": r"e^{-\left| \text{logits} \right|}",
    "e^(x_i - m)": "e^{x_{i} - m}",
    "tanh^2 c_t": r"\tanh^{2}\,c_{t}",
    "f^-1(u)": "f^{-1}(u)",
    "sum_cij w": r"\sum\limits_{c,i,j}\,w",
    "sum_{k != l} c_k": r"\sum\limits_{k \ne l}\,c_{k}",
    "int_0^1 f": r"\int_{0}^{1}\,f",
    "prod_d p": r"\prod\limits_{d}\,p",
}
BRACKETS = {
    "|v|": r"\left| v \right|",
    "|det d eps / dz|": r"\left| \det\,\frac{\text{d} \varepsilon}{\text{d}z} \right|",
    "||a - b|| / ||b||": r"\frac{\left\lVert a - b \right\rVert}{\left\lVert b \right\rVert}",
    "<dw, u>": r"\left\langle \text{d}w , u \right\rangle",
    "0 < X < 1": "0 < X < 1",
    "[0, V)": "[0 , V)",
    "{0, 1}": r"\{0 , 1\}",
    "q(z|x)": r"q(z \mid x)",
    "p(x | logits)": r"p(x \mid \text{logits})",
    "KL(q(z|x) || N(0, I))": r"\text{KL}(q(z \mid x) \parallel \mathcal{N}(0 , I))",
    "E_q[c(z)]": r"\mathbb{E}_{q}[c(z)]",
    "E[x|z]": r"\mathbb{E}[x \mid z]",
    "E[ids]": r"E[\text{ids}]",
    "floor(H / s)": r"\left\lfloor \frac{H}{s} \right\rfloor",
    "exp(logvar / 2)": r"\exp\left( \frac{\text{logvar}}{2} \right)",
    "N(z; mu, v)": r"\mathcal{N}(z ; \mu , v)",
}
QUOTIENTS = {
    "1/2 sum mu^2": r"\frac{1}{2}\,\sum\,\mu^{2}",
    "g v / |v|": r"\frac{g v}{\left| v \right|}",
    "(x - mu) / s^2": r"\frac{x - \mu}{s^{2}}",
    "p_i / sum_j p_j": r"\frac{p_{i}}{\sum\limits_{j}\,p_{j}}",
    "L/(L-1) (c - 1)": r"\frac{L}{L - 1}\,(c - 1)",
    "m * a / b": r"m \cdot \frac{a}{b}",
    "d log q / dmu": r"\frac{\text{d}\,\log\,q}{\text{d}\mu}",
    "d total / d parameter": r"\frac{\text{d}\;\text{total}}{\text{d}\;\text{parameter}}",
    "d/dphi E_q[c]": r"\frac{\text{d}}{\text{d}\phi} \mathbb{E}_{q}[c]",
    "e^(-t / 2)": "e^{{-t/2}}",
    "-log p(x)": r"{-\log\,p(x)}",
    "a = -b": "a = {-b}",
}
SENTENCES = {
    "loss = sum_t -log p(token_{t+1} | tokens up to t)": (
        r"\text{loss} = \sum\limits_{t} {-\log\,p(\text{token}_{t + 1} \mid "
        r"\text{tokens up to}\;t)}"
    ),
    "[i, f, g, o] = W_ih x_t + W_hh (m_t h_{t-1})": (
        r"[i , f , g , o] = W_{ih} x_{t} + W_{hh}\,(m_{t} h_{t - 1})"
    ),
    "dv = g / |v| (dw - u <u, dw>)": (
        r"\text{d}v = \frac{g}{\left| v \right|}\,"
        r"(\text{d}w - u \left\langle u , \text{d}w \right\rangle)"
    ),
    "p <- p - lr / (1 - beta1^t) * m": (
        r"p \leftarrow p - \frac{\text{lr}}{1 - \beta_{1}^{t}} \cdot m"
    ),
    "x -> layer 1 -> ... -> y": r"x \rightarrow \text{layer}\;1 \rightarrow \dots \rightarrow y",
    "y = x where x > 0, else e^x - 1": (r"y = x\;\text{where}\;x > 0 ,\; \text{else}\;e^{x} - 1"),
    "h_t = o tanh(c_t) relu(x)": r"h_{t} = o\,\tanh(c_{t})\,\text{relu}(x)",
    "k += W": r"k \;\texttt{+=}\; W",
    "c0 ^ k1": r"c_{0} \oplus k_{1}",
    "a = b;   c = d": r"a = b \qquad c = d",
    r"$\frac{a}{b}$": r"\frac{a}{b}",
}
CASES = {**SYMBOLS, **SCRIPTS, **BRACKETS, **QUOTIENTS, **SENTENCES}


@pytest.mark.parametrize("text", CASES)
def test_an_equation_in_plain_text_becomes_latex(text):
    assert latex(text) == CASES[text]


@pytest.mark.parametrize("text", CASES)
def test_every_equation_becomes_well_formed_mathml_without_leftovers(text):
    for block in (True, False):
        html = ET.fromstring(f"<p>{mathml(text, block=block)}</p>")
        assert {math.tag for math in html} == {"math"}
        shown = "".join(html.itertext()).replace("running_mean", "")
        assert not set(shown) & set("\\_^")


def test_quotients_in_a_sentence_have_a_slash_but_numbers_are_fractions():
    assert latex("(a + b) / 2", block=False) == "(a + b)/2"
    assert latex("1/2 x", block=False) == r"\frac{1}{2} x"


@pytest.mark.parametrize("text", ["f(x", "x)", "[a, b}", "/ 2", "a & b", "<u, v", "x_{i"])
def test_a_text_that_is_no_equation_is_an_error(text):
    with pytest.raises(NotationError, match="equation: got"):
        latex(text)


def test_relations_and_equations_are_those_outside_of_brackets():
    assert relation("f[a = b] = c <- d") == [9, 13]
    assert equations("p = N(x; mu, v); z = 1;   w = 2") == ["p = N(x; mu, v)", "z = 1", "w = 2"]
