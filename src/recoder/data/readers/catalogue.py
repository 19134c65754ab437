"""The data sets that can be loaded by name.

Checksums are those that the owner publishes, or that several unrelated projects found; None where there is neither. The
numbers of interactions are those of He et al. 2020, table 2, as their program prints them for each of the two files.
"""

from __future__ import annotations

from collections.abc import Callable

from recoder.data.interactions import Interactions
from recoder.data.readers.goodbooks import read_goodbooks
from recoder.data.readers.info import DatasetInfo, Download
from recoder.data.readers.movielens import read_100k, read_csv, read_double_colon
from recoder.data.readers.music import read_lastfm_2k, read_lastfm_360k, read_million_songs
from recoder.data.readers.sources import Source
from recoder.data.readers.user_lines import read_user_lines, read_user_lines_split
from recoder.errors import ConfigError

__all__ = ["DATASETS", "dataset_info", "dataset_names"]

_GROUPLENS = "https://files.grouplens.org/datasets"
_LIGHTGCN = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data"


def dataset_names() -> tuple[str, ...]:
    """Returns the names of the data sets that ``load_dataset`` knows."""
    return tuple(DATASETS)


def dataset_info(name: str) -> DatasetInfo:
    """Returns what is known of a data set: its files, its owner's terms, what its interactions are.

    Raises:
        ConfigError: if there is no data set of this name.
    """
    try:
        return DATASETS[name]
    except (KeyError, TypeError):
        raise ConfigError(f"there is no data set {name!r}; there are {', '.join(DATASETS)}") from None


def _movielens(
    size: str,
    *,
    folder: str,
    md5: str,
    num_bytes: int,
    files: tuple[str, ...],
    read: Callable[[Source], Interactions],
    readme: str,
) -> DatasetInfo:
    return DatasetInfo(
        name=f"ml-{size}",
        title=f"MovieLens {size.upper()}",
        interaction="a user rated a film; the weight is the rating, up to 5",
        terms=(
            "Research use, with acknowledgement (cite Harper & Konstan 2015, doi:10.1145/2827872). No redistribution "
            "and no commercial use without GroupLens's permission. In full: "
            f"{_GROUPLENS}/movielens/{readme}"
        ),
        downloads=(Download(f"{_GROUPLENS}/movielens/ml-{size}.zip", f"md5:{md5}", num_bytes),),
        folder=folder,
        files=files,
        read=read,
    )


def _user_lines(name: str, title: str, interaction: str, terms: str, *, lengths: tuple[int, int]) -> DatasetInfo:
    files = "train.txt", "test.txt"
    return DatasetInfo(
        name=name,
        title=title,
        interaction=interaction,
        terms=terms,
        downloads=tuple(Download(f"{_LIGHTGCN}/{name}/{file}") for file in files),
        folder=name,
        files=files,
        read=read_user_lines,
        read_split=read_user_lines_split,
        lengths=dict(zip(files, lengths, strict=True)),
    )


_ALL = (
    _movielens(
        "100k",
        folder="ml-100k",
        md5="0e33842e24a9c977be4e0107933c0723",
        num_bytes=4_924_029,
        files=("u.data", "u.item"),
        read=read_100k,
        readme="ml-100k-README.txt",
    ),
    _movielens(
        "1m",
        folder="ml-1m",
        md5="c4d9eecfca2ab87c1945afe126590906",
        num_bytes=5_917_549,
        files=("ratings.dat", "movies.dat"),
        read=read_double_colon("latin-1"),
        readme="ml-1m-README.txt",
    ),
    _movielens(
        "10m",
        folder="ml-10M100K",
        md5="ce571fd55effeba0271552578f2648bd",
        num_bytes=65_566_137,
        files=("ratings.dat", "movies.dat"),
        read=read_double_colon("utf8"),
        readme="ml-10m-README.html",
    ),
    _movielens(
        "20m",
        folder="ml-20m",
        md5="cd245b17a1ae2cc31bb14903e1204af3",
        num_bytes=198_702_078,
        files=("ratings.csv", "movies.csv"),
        read=read_csv,
        readme="ml-20m-README.html",
    ),
    _movielens(
        "25m",
        folder="ml-25m",
        md5="6b51fb2759a8657d3bfcbfc42b592ada",
        num_bytes=261_978_986,
        files=("ratings.csv", "movies.csv"),
        read=read_csv,
        readme="ml-25m-README.html",
    ),
    _movielens(
        "32m",
        folder="ml-32m",
        md5="d472be332d4daa821edc399621853b57",
        num_bytes=238_950_008,
        files=("ratings.csv", "movies.csv"),
        read=read_csv,
        readme="ml-32m-README.html",
    ),
    DatasetInfo(
        name="msd",
        title="Million Song Dataset, Echo Nest taste profiles",
        interaction="a user played a song; the weight is how often",
        terms=(
            "For research, not for commercial use; cite McFee, Bertin-Mahieux, Ellis & Lanckriet 2012. "
            "In full: http://millionsongdataset.com/tasteprofile/"
        ),
        downloads=(Download("http://millionsongdataset.com/sites/default/files/challenge/train_triplets.txt.zip"),),
        folder="",
        files=("train_triplets.txt",),
        read=read_million_songs,
        max_bytes=4 << 30,
    ),
    DatasetInfo(
        name="lastfm-360k",
        title="Last.fm 360K",
        interaction="a user played an artist; the weight is how often",
        terms=(
            "Not for commercial use, with Last.fm's permission; cite Last.fm and Celma 2010. "
            "In full: https://zenodo.org/records/6090214"
        ),
        downloads=(
            Download(
                "https://zenodo.org/records/6090214/files/lastfm-dataset-360K.tar.gz",
                "md5:635e6ed3fc873aa4ba33aba0ebce02b1",
                569_202_935,
            ),
        ),
        folder="lastfm-dataset-360K",
        files=("usersha1-artmbid-artname-plays.tsv",),
        read=read_lastfm_360k,
        max_bytes=2 << 30,
    ),
    DatasetInfo(
        name="lastfm-2k",
        title="HetRec 2011, Last.fm 2K",
        interaction="a user played an artist; the weight is how often",
        terms=(
            "Not for commercial use; cite Last.fm and Cantador, Brusilovsky & Kuflik 2011. "
            "In full: https://grouplens.org/datasets/hetrec-2011/"
        ),
        downloads=(
            Download(
                f"{_GROUPLENS}/hetrec2011/hetrec2011-lastfm-2k.zip",
                "sha256:6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c",
            ),
        ),
        folder="hetrec2011-lastfm-2k",
        files=("user_artists.dat", "artists.dat"),
        read=read_lastfm_2k,
    ),
    DatasetInfo(
        name="goodbooks-10k",
        title="goodbooks-10k",
        interaction="a user rated a book; the weight is the rating, 1 to 5",
        terms=(
            "Creative Commons BY-SA 4.0; cite Zajac 2017. In full: "
            "https://github.com/zygmuntz/goodbooks-10k/blob/master/LICENSE"
        ),
        downloads=(Download("https://github.com/zygmuntz/goodbooks-10k/releases/download/v1.0/goodbooks-10k.zip"),),
        folder="goodbooks-10k",
        files=("ratings.csv", "books.csv"),
        read=read_goodbooks,
    ),
    _user_lines(
        "gowalla",
        "Gowalla, the split of He et al. 2020",
        "a user checked in at a place",
        "No licence is stated; cite Cho, Myers & Leskovec 2011 and He et al. 2020 (arXiv:2002.02126). "
        "The source: https://snap.stanford.edu/data/loc-gowalla.html",
        lengths=(810_128, 217_242),
    ),
    _user_lines(
        "yelp2018",
        "Yelp 2018, the split of He et al. 2020",
        "a user reviewed a business",
        "Academic use under Yelp's terms; cite He et al. 2020 (arXiv:2002.02126). "
        "In full: https://www.yelp.com/dataset",
        lengths=(1_237_259, 324_147),
    ),
    _user_lines(
        "amazon-book",
        "Amazon books, the split of He et al. 2020",
        "a user reviewed a book",
        "For research; cite He & McAuley 2016 and He et al. 2020 (arXiv:2002.02126). "
        "The source: https://jmcauley.ucsd.edu/data/amazon/",
        lengths=(2_380_730, 603_378),
    ),
)
DATASETS = {info.name: info for info in _ALL}
