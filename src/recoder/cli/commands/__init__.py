"""The commands' options, a file each. They start quickly: what does the work is imported when a command runs."""
