"""Names of the equations' notation, and their LaTeX."""

from __future__ import annotations

_GREEK = "alpha beta gamma delta zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi"
GREEK = {name: f"\\{name}" for name in _GREEK.split()} | {"omega": r"\omega", "eps": r"\varepsilon"}

_FUNCTIONS = "log exp sin cos tanh max min det"
FUNCTIONS = {name: f"\\{name}" for name in _FUNCTIONS.split()}
"""functions that LaTeX knows"""

WORD_FUNCTIONS = {"softmax", "sigmoid", "softplus", "relu", "elu", "logsumexp"}
"""functions that may stand before their operand without parentheses"""

ACCENTS = {"hat": r"\hat", "bar": r"\bar", "tilde": r"\tilde", "sqrt": r"\sqrt"}
"""what sets its argument under a sign: sqrt(x)"""

FENCES = {
    "|": ("|", "|", "|"),
    "||": ("||", r"\lVert", r"\rVert"),
    "<": (">", r"\langle", r"\rangle"),
}
"""opening sign: closing sign, and both in LaTeX"""

BIG = {"sum": r"\sum", "prod": r"\prod", "int": r"\int"}
"""operators with limits"""

SYMBOLS = (
    GREEK
    | {
        "log_sigma": r"\log\sigma",
        "log_det": r"\log\det",
        "log_p": r"\log p",
        "log_q": r"\log q",
        "inf": r"\infty",
    }
    | {name: rf"\mathit{{{name}}}" for name in ("kH", "kW", "OH", "OW")}
)
"""names that are one symbol, which may have a subscript"""

BLACKBOARD = {"E": r"\mathbb{E}", "N": r"\mathcal{N}", "U": r"\mathcal{U}"}
"""letters that name an expectation or a distribution before an argument: E[x], N(0, I), U(a, b)"""

RELATIONS = {
    "=": "=",
    "~": r"\sim",
    "<-": r"\leftarrow",
    "->": r"\rightarrow",
    "<": "<",
    ">": ">",
    "<=": r"\le",
    ">=": r"\ge",
    "!=": r"\ne",
    "+=": r"\;\texttt{+=}\;",
    "≤": r"\le",
    "≥": r"\ge",
}

OPERATORS = {
    "+": "+",
    "-": "-",
    "*": r"\cdot",
    "×": r"\times",
    "@": r"\,",
    "^": r"\oplus",
    ">>": r"\gg",
    "||": r"\parallel",
    "|": r"\mid",
    ":": ":",
}
"""operators between two terms; `^` is one only between two spaces, where it is an exclusive or"""

QUANTITIES = {
    "logvar",
    "std",
    "var",
    "logits",
    "logdet",
    "loss",
    "kl",
    "nll",
    "scale",
    "total",
    "mean",
}
"""words that a gradient may be of: dlogvar, d loss"""
