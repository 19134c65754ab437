"""What is known of a data set before it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from recoder.data.interactions import Interactions
from recoder.data.readers.sources import MAX_BYTES, Source
from recoder.data.splits import HoldoutSplit

__all__ = ["DatasetInfo", "Download"]


@dataclass(frozen=True)
class Download:
    """A file on its owner's server.

    Attributes:
        url: where it is.
        checksum: ``"md5:..."`` or ``"sha256:..."``; None where nobody vouches for one: then that of the first
            download is recorded beside the file, and holds from then on.
        num_bytes: how large it is; None where that is not known.
    """

    url: str
    checksum: str | None = None
    num_bytes: int | None = None

    @property
    def file_name(self) -> str:
        """What it is called in the cache."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class DatasetInfo:
    """One of the public data sets.

    Attributes:
        name: what ``load_dataset`` calls it.
        title: what its owner calls it.
        interaction: what one interaction is, and its weight.
        terms: the owner's terms in brief, and where they stand in full.
        downloads: the files to get.
        folder: what its archive unpacks into, where that is a folder.
        files: the files in it that are read.
        read: makes the interactions of these files.
        read_split: makes the split that its owner published; None where there is none.
        max_bytes: more than any of its files has, unpacked.
        lengths: interactions in each file, where its owner counts them; of files that nobody vouches for.
    """

    name: str
    title: str
    interaction: str
    terms: str
    downloads: tuple[Download, ...]
    folder: str
    files: tuple[str, ...]
    read: Callable[[Source], Interactions]
    read_split: Callable[[Source], HoldoutSplit] | None = None
    max_bytes: int = MAX_BYTES
    lengths: Mapping[str, int] = field(default_factory=dict, hash=False)
