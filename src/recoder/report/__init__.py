"""A page to look at: what a model learnt from, how well it recommends, and what."""

from recoder.report.writing import write_report

__all__ = ["write_report"]
