"""The papers' benchmark: ``python -m benchmarks papers``.

Splits MovieLens 20M, the Million Song Data or the Netflix Prize data to the letter of Liang et al. 2018, and prints our
numbers beside the published ones. ``stand_in.py`` makes small files in the same formats, to try the program.
"""
