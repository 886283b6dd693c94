"""The site: both panels of every file on one page, with the numbers of a parity check between them.

sources/    cut both files into statements and align them; highlight the code
prose/      docstrings as sentences, lists and equations in MathML
measured/   what a parity run measures for each statement, and the values of a small run
pictures/   what a picture says better: data flow, masks, windows, Jacobians
breaks/     planted faults, and what the report says of each
books/      the notebooks as pages
home/       the index, the results and the search
build.py    write the site to a folder
"""
