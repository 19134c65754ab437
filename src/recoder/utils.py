"""Helpers for preparing data."""

from __future__ import annotations

from recoder.data.frames import dataframe_to_csr_matrix
from recoder.ops.normalize import normalize

__all__ = ["dataframe_to_csr_matrix", "normalize"]
