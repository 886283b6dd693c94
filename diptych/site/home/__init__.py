"""The index of the site, the page of results, and the search.

repository.py  folders of the clone that an installed package lacks
tests_of_files.py the number of tests that name a file, read from parity_tests/
reading.py     minutes for each page, and walks through the pages
verdicts.py    the verdict of each page in both dtypes
rows.py        the rows of the index
facts.py       the numbers at its top
runs.py        the trainings of both panels in the output folder
curves.py      both panels' curves as one drawing in SVG
results.py     the recorded results as sections of a page
search.py      the entries of the search
home.py        the files that all of these make
"""
