"""The quality benchmark: ``python -m benchmarks quality``.

``contestants.py`` says who takes part with which settings, ``workers/`` trains and ranks, each cell in a process of its
own, ``judging.py`` judges all lists alike, and ``page.py`` writes it up.
"""
