"""Docstrings as sentences, lists and equations.

names, tokens, spacing, factors, parser   an equation in plain text becomes LaTeX
equations                                 and MathML
atoms, inline                             formulas and names of code within a sentence
blocks                                    a docstring cut into paragraphs, displays and terms
displays, docstrings, pages               and all of it as HTML
"""
