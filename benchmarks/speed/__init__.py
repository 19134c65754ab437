"""The speed benchmark: ``python -m benchmarks speed``.

``table.py`` says what is measured and what is required of it, ``workers/`` does it, each side in an environment of its
own, and ``page.py`` writes it up.
"""
