"""What the defaults of recipes were chosen by: ``python -m benchmarks choices``.

``alternatives.py`` names what each is compared with, ``trial.py`` trains one and judges it on validation users, and
``page.py`` writes it up.
"""
