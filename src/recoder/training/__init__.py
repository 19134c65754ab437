"""Training: the loop, its optimizers and events, and the files that it leaves."""
