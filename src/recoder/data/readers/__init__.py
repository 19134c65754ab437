"""Public data sets in their owners' own formats: what there is, getting it, and reading it."""

from recoder.data.readers.catalogue import dataset_info, dataset_names
from recoder.data.readers.info import DatasetInfo, Download
from recoder.data.readers.load import load_dataset, load_official_split

__all__ = ["DatasetInfo", "Download", "dataset_info", "dataset_names", "load_dataset", "load_official_split"]
