"""The data flow of a model: its calls as boxes, the arrays between them as arrows.

provenance.py   arrays that know which calls they were computed from
tracing.py      run the left panel on such arrays
graph.py        boxes, arrows and frames, and how a graph is made smaller
boxes.py        choose the calls to draw, and find the arrows between them
layout.py       place boxes and arrows, by graphviz
drawing.py      write them as SVG
"""
