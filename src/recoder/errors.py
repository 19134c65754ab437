"""The errors that Recoder raises.

Every class also inherits the built-in exception that a caller would have caught::

    RecoderError
    ├── ConfigError (ValueError)          an argument, or a combination of arguments, that cannot work
    ├── DataError (ValueError)            interactions that cannot be used as they are
    │   ├── ShapeError                    sizes that do not fit one another
    │   └── EmptyDataError                nothing to learn from, or nothing to judge against
    ├── DataTypeError (TypeError)         the wrong kind of object or dtype
    ├── UnknownIdError (KeyError)         a user or item that the model, map or index does not hold
    ├── NotInitializedError (RuntimeError) a model or index used before it was trained, loaded or built
    ├── DivergedError (ArithmeticError)   a loss or score that is not a finite number
    ├── NotEnoughMemoryError (MemoryError) work that would not fit into the memory that is free
    ├── MissingDependencyError (ImportError) an optional package that is not installed
    ├── FileFormatError (ValueError)      a file that is not what it should be
    │   └── UnsafeFileError               a file that asks for code to be run
    ├── FileWriteError (OSError)          a file that could not be written; the previous one is whole
    └── DownloadError (OSError)           a download that failed; what has arrived is kept
"""


class RecoderError(Exception):
    """Base class of every error that the library raises on purpose."""


class ConfigError(RecoderError, ValueError):
    """An argument, or a combination of arguments, that cannot work."""


class DataError(RecoderError, ValueError):
    """Interactions that cannot be used as they are."""


class ShapeError(DataError):
    """Sizes that do not fit one another."""


class EmptyDataError(DataError):
    """Nothing to learn from, or nothing to judge against."""


class DataTypeError(RecoderError, TypeError):
    """The wrong kind of object or dtype."""


class UnknownIdError(RecoderError, KeyError):
    """A user or item that the model, map or index does not hold."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument; a sentence reads better bare
        return str(self.args[0]) if self.args else ""


class NotInitializedError(RecoderError, RuntimeError):
    """A model or index used before it was trained, loaded or built."""


class DivergedError(RecoderError, ArithmeticError):
    """A loss or score that is not a finite number."""


class NotEnoughMemoryError(RecoderError, MemoryError):
    """Work that would not fit into the memory that is free; it was not started."""


class MissingDependencyError(RecoderError, ImportError):
    """An optional package that is not installed."""


class FileFormatError(RecoderError, ValueError):
    """A file that is not what it should be: truncated, damaged or of another kind."""


class UnsafeFileError(FileFormatError):
    """A file that asks for code to be run; nothing of it was run."""


class FileWriteError(RecoderError, OSError):
    """A file that could not be written; a previous file of that name is whole."""


class DownloadError(RecoderError, OSError):
    """A download that failed; what has arrived is kept, and the next try goes on from there."""
