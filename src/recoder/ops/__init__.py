"""Pure functions of tensors: the kernels that everything above is made of."""

from recoder.ops.rows import SparseRows

__all__ = ["SparseRows"]
