"""Pure functions of tensors: the kernels that everything above is made of."""
