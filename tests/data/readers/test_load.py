from __future__ import annotations

import dataclasses
import io
import tarfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import polars as pl
import pytest

from dataset_files import ORIGINALS, TEST_LINES, TRAIN_LINES, tarred, zipped
from recoder.data import Interactions, dataset_info, dataset_names, load_dataset, load_official_split
from recoder.data.readers import catalogue
from recoder.errors import ConfigError, FileFormatError

FILMS = {"ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m"}


def cells(interactions: Interactions) -> dict[tuple[object, object], float]:
    """What the interactions say, in raw ids."""
    coo = interactions.matrix.tocoo()
    users, items = interactions.user_ids.raw_ids(coo.row), interactions.item_ids.raw_ids(coo.col)
    return dict(zip(zip(users, items, strict=True), coo.data.tolist(), strict=True))


def unpacked(folder, name):
    """Writes a data set's files as its archive unpacks."""
    for path, body in ORIGINALS[name].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)
    return folder


EXPECTED = {
    **{name: {(7, 20): 4, (7, 10): 3, (9, 20): 1} for name in ("ml-100k", "ml-1m")},
    **{name: {(7, 20): 4.5, (7, 10): 3, (9, 20): 0.5} for name in FILMS - {"ml-100k", "ml-1m"}},
    "msd": {
        ("b80344d0", "SOAKIMP12A8C1"): 1,
        ("b80344d0", "SOBBMDR"): 2,
        ("85c1f87f", "SOAKIMP12A8C1"): 5,
    },
    "lastfm-360k": {("0000", 'betty "b" blowtorch'): 2137, ("0000", "null"): 5, ("0001", "NA"): 48},
    "lastfm-2k": {(2, 51): 13883, (2, 52): 11690, (3, 51): 228},
    "goodbooks-10k": {(1, 258): 5, (2, 258): 4, (2, 260): 3},
    **{
        name: {(0, 5): 1, (0, 6): 1, (0, 7): 1, (0, 8): 1, (1, 5): 1, (1, 9): 1, (1, 7): 1, (2, 5): 1}
        | {(3, 6): 1, (3, 8): 1}
        for name in ("gowalla", "yelp2018", "amazon-book")
    },
}
TITLES = {
    "ml-100k": ("Misérables, Les (1995)", "Matrix, The (1999)"),
    "ml-1m": ("Misérables, Les (1995)", "Matrix, The (1999)"),
    "ml-10m": ("Misérables, Les (1995)", 'Matrix: The "One" (1999)'),
    "ml-20m": ("M (1931)", "Matrix, The (1999)"),
    "ml-25m": ("M (1931)", "Matrix, The (1999)"),
    "ml-32m": ("M (1931)", "Matrix, The (1999)"),
    "lastfm-2k": ('"Duran" Duran', "Björk"),
    "goodbooks-10k": ("The Wind (Shadow, #1)", "1984"),
}


@pytest.mark.parametrize("name", dataset_names())
def test_every_data_set_is_downloaded_and_read(name, archives, serve, tmp_path):
    serve(name, archives[name])
    loaded = load_dataset(name, cache=tmp_path, progress=False)
    assert cells(loaded) == EXPECTED[name]
    assert loaded.titles == TITLES.get(name)
    assert (loaded.times is not None) == (name in FILMS)


DAMAGES = {"an error page": lambda body: b"<html>503</html>\n", "half of it": lambda body: body[: len(body) // 2]}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", dataset_names())
def test_what_came_damaged_is_refused_and_the_next_call_gets_it_anew(name, damage, archives, serve, tmp_path):
    whole = archives[name]
    first = next(iter(whole))
    serve(name, {**whole, first: DAMAGES[damage](whole[first])})
    with pytest.raises(FileFormatError, match="the next call gets it anew"):
        load_dataset(name, cache=tmp_path, progress=False)
    assert not (tmp_path / name / first).exists()
    serve(name, whole)
    assert cells(load_dataset(name, cache=tmp_path, progress=False)) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(ORIGINALS))
@pytest.mark.parametrize("kind", ["the folder", "its parent", "archive", "folder of the archive"])
def test_local_files_are_read_without_a_download(name, kind, archives, tmp_path):
    if kind == "archive" or kind == "folder of the archive":
        ((file, body),) = archives[name].items()
        (tmp_path / file).write_bytes(body)
        where = tmp_path / file if kind == "archive" else tmp_path
    else:
        unpacked(tmp_path, name)
        inner = tmp_path / dataset_info(name).folder
        where = inner if kind == "the folder" and inner.is_dir() else tmp_path
    assert cells(load_dataset(name, where)) == EXPECTED[name]


def test_parent_of_several_data_sets_serves_each(tmp_path):
    for name in FILMS:
        unpacked(tmp_path, name)
    other = tmp_path / "ml-25m" / "ratings.csv"
    other.write_bytes(b"userId,movieId,rating,timestamp\n1,2,3,4\n")
    assert cells(load_dataset("ml-20m", tmp_path)) == EXPECTED["ml-20m"]
    assert cells(load_dataset("ml-25m", tmp_path)) == {(1, 2): 3}


def test_file_by_itself_is_read_and_its_items_go_without_titles(tmp_path, caplog):
    (tmp_path / "ratings.csv").write_bytes(ORIGINALS["ml-20m"]["ml-20m/ratings.csv"])
    loaded = load_dataset("ml-20m", tmp_path / "ratings.csv")
    assert cells(loaded) == EXPECTED["ml-20m"]
    assert loaded.titles is None
    assert "there is no movies.csv beside the interactions" in caplog.text


def test_times_belong_to_their_ratings(tmp_path):
    loaded = load_dataset("ml-100k", unpacked(tmp_path, "ml-100k"))
    coo = loaded.matrix.tocoo()
    pairs = zip(loaded.user_ids.raw_ids(coo.row), loaded.item_ids.raw_ids(coo.col), strict=True)
    assert dict(zip(pairs, loaded.times.tolist(), strict=True)) == {
        (7, 20): 881250949,
        (7, 10): 891717742,
        (9, 20): 878887116,
    }


def test_items_without_a_title_go_by_their_id(tmp_path):
    unpacked(tmp_path, "ml-20m")
    (tmp_path / "ml-20m" / "movies.csv").write_bytes(b"movieId,title,genres\n10,Only (2000),War\n")
    assert load_dataset("ml-20m", tmp_path).titles == ("20", "Only (2000)")


def test_rows_without_an_artist_are_counted(tmp_path, caplog):
    load_dataset("lastfm-360k", unpacked(tmp_path, "lastfm-360k"))
    assert "1 rows name no artist" in caplog.text


def test_names_in_an_archive_lead_nowhere(tmp_path):
    ratings = ORIGINALS["ml-20m"]["ml-20m/ratings.csv"]
    for name, pack in (("evil.zip", zipped), ("evil.tar.gz", tarred)):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(pack({"../../ratings.csv": ratings, "/tmp/movies.csv": b"x"}))
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(FileFormatError, match=r"movies\.csv"):  # read as text, and no table of films
            load_dataset("ml-20m", tmp_path / "in" / name)
        assert sorted(tmp_path.rglob("*")) == before


# what is wrong, the file of ml-20m to put it in, its text, and what the message says


DAMAGED = {
    "a line too short": ("ratings.csv", b"userId,movieId,rating,timestamp\n7,20,4.5,11\n7,10,3.0\n", "Row #3"),
    "no number": ("ratings.csv", b"userId,movieId,rating,timestamp\n7,20,good,11\n", "Row #2.*'good'"),
    "other columns": ("ratings.csv", b"user,movieId,rating,timestamp\n7,20,4.5,11\n", "no column 'userId'"),
    "only a header": ("ratings.csv", b"userId,movieId,rating,timestamp\n", "no rows"),
    "nothing": ("ratings.csv", b"", "is empty"),
    "titles of another encoding": ("movies.csv", b"movieId,title,genres\n10,Les Mis\xe9rables,War\n", "Row #2|UTF8"),
}


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files_are_refused_naming_file_and_line(case, packed, tmp_path):
    name, text, message = DAMAGED[case]
    files = ORIGINALS["ml-20m"] | {f"ml-20m/{name}": text}
    if packed:
        where = tmp_path / "films.zip"
        where.write_bytes(zipped(files))
    else:
        where = unpacked(tmp_path, "ml-20m") / "ml-20m"
        (where / name).write_bytes(text)
    with pytest.raises(FileFormatError, match=message) as caught:
        load_dataset("ml-20m", where)
    assert name in str(caught.value)
    assert "get it again" in str(caught.value)


def test_line_without_whole_numbers_is_named(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"0 5 6\n\n1 5 x\n")
    (tmp_path / "test.txt").write_bytes(TEST_LINES)
    with pytest.raises(FileFormatError, match=r"line 3 of .*train\.txt.*whole numbers"):
        load_dataset("gowalla", tmp_path)


@pytest.mark.parametrize(
    "text", [b"0 5 99999999999999999999\n", b"0 5.5\n", "0 ५\n".encode(), b"0 -5 \xff\n", b"0 -2\n", b"0 0x10\n"]
)
def test_numbers_that_are_none_are_refused(text, tmp_path):
    (tmp_path / "train.txt").write_bytes(text)
    (tmp_path / "test.txt").write_bytes(TEST_LINES)
    with pytest.raises(FileFormatError, match="line 1 of"):
        load_dataset("gowalla", tmp_path)


def test_lines_may_end_in_a_carriage_return_alone(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"0 1 2\r1 2 3\r")
    (tmp_path / "test.txt").write_bytes(b"0 3\r\n1 1\r\n")
    data = load_dataset("gowalla", tmp_path)
    assert data.matrix.shape == (2, 3)
    assert data.matrix.nnz == 6


def test_archives_that_python_does_not_open_are_said(tmp_path, monkeypatch):
    (tmp_path / "gowalla.zip").write_bytes(zipped({"train.txt": TRAIN_LINES, "test.txt": TEST_LINES}))

    def encrypted(self, name, *arguments):
        raise RuntimeError(f"File {name!r} is encrypted, password required for extraction")

    monkeypatch.setattr("zipfile.ZipFile.open", encrypted)
    with pytest.raises(FileFormatError, match=r"password required.*unpack it and pass the folder"):
        load_dataset("gowalla", tmp_path / "gowalla.zip")


def test_empty_file_of_user_lines_is_refused(tmp_path):
    (tmp_path / "train.txt").write_bytes(b" \n")
    (tmp_path / "test.txt").write_bytes(TEST_LINES)
    with pytest.raises(FileFormatError, match="is empty"):
        load_dataset("gowalla", tmp_path)


@pytest.mark.parametrize("size", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["ml-20m", "lastfm-360k"])
def test_archive_that_was_cut_off_is_refused(size, name, tmp_path):
    rng = np.random.default_rng(0)
    rows = b"".join(b"%d\t%d\t%d\t1\n" % tuple(row) for row in rng.integers(0, 10**9, (5000, 3)))
    pack, files = {
        "ml-20m": (zipped, {"ratings.csv": b"userId,movieId,rating,timestamp\n" + rows.replace(b"\t", b",")}),
        "lastfm-360k": (tarred, {"usersha1-artmbid-artname-plays.tsv": rows}),
    }[name]
    whole = pack(files)
    path = tmp_path / "archive"
    path.write_bytes(whole)
    load_dataset(name, path)
    path.write_bytes(whole[: int(size * len(whole))])
    with pytest.raises(FileFormatError, match="get it again"):
        load_dataset(name, path)


def test_flipped_bits_in_an_archive_are_refused(tmp_path):
    files = {"ratings.csv": b"userId,movieId,rating,timestamp\n" + b"1,2,3,4\n" * 50_000}
    whole = bytearray(zipped(files))
    whole[200] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(FileFormatError, match="damaged"):
        load_dataset("ml-20m", tmp_path / "a.zip")


def gzip_that_ends_in_a_block_of_no_type(text):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH) + b"\xff"


def xz_with_zeros_in_it(text):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        member = tarfile.TarInfo("other")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    whole = buffer.getvalue()
    middle = len(whole) // 2
    return whole[:middle] + bytes(100) + whole[middle + 100 :]


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_tar_archive_that_is_damaged_before_its_file_is_refused(kind, tmp_path):
    noise = np.random.default_rng(0).integers(0, 10, 200_000).astype(np.uint8).tobytes()
    if kind == "gzip":
        text = gzip_that_ends_in_a_block_of_no_type(zlib.decompress(tarred({"other": noise}), 31)[:100_000])
    else:
        text = xz_with_zeros_in_it(noise)
    (tmp_path / "archive").write_bytes(text)
    with pytest.raises(FileFormatError, match=r"cannot read .*archive.*get it again"):
        load_dataset("lastfm-360k", tmp_path / "archive")


def test_zip_archive_of_a_later_version_is_said(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ratings.csv", b"")
        archive.infolist()[0].extract_version = 99
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    with pytest.raises(FileFormatError, match=r"zip file version 9\.9; unpack it and pass the folder"):
        load_dataset("ml-20m", tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["msd", "lastfm-360k"])
def test_archive_that_holds_more_than_a_data_set_has_is_refused_before_it_is_read(
    name, archives, serve, tmp_path, monkeypatch
):
    (size,) = (len(body) for path, body in ORIGINALS[name].items() if path.endswith(dataset_info(name).files[0]))
    for max_bytes in (size, size - 1):
        limited = dataclasses.replace(catalogue.DATASETS[name], max_bytes=max_bytes)
        monkeypatch.setitem(catalogue.DATASETS, name, limited)
        serve(name, archives[name])
        if max_bytes == size:
            load_dataset(name, cache=tmp_path / "whole", progress=False)
            continue
        with pytest.raises(
            FileFormatError, match=rf"has {size} bytes, and a file of this data set at most {size - 1};"
        ):
            load_dataset(name, cache=tmp_path / "cache", progress=False)
        assert not list((tmp_path / "cache").rglob("*.*"))  # what nobody vouches for is not kept


def test_largest_files_of_the_data_sets_are_taken():
    millions = {"ml-25m": 679, "ml-32m": 878, "msd": 3_002, "lastfm-360k": 1_640}
    assert all(num_mb * 10**6 < dataset_info(name).max_bytes for name, num_mb in millions.items())


def test_archive_that_says_less_than_it_holds_does_not_fill_the_memory(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.txt", b"0 1\n" * (16 << 20))
        archive.writestr("test.txt", TEST_LINES)
        archive.infolist()[0].file_size = 100
    (tmp_path / "gowalla.zip").write_bytes(buffer.getvalue())
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="get it again"):
            load_dataset("gowalla", tmp_path / "gowalla.zip")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_whose_archives_cannot_be_read_in_bounded_memory_are_refused(method, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        for name, body in ORIGINALS["ml-20m"].items():
            archive.writestr(name, body)
    with pytest.raises(FileFormatError, match=r"otherwise than by deflate; unpack it and pass the folder"):
        load_dataset("ml-20m", tmp_path / "a.zip")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no ratings\.csv in"):
        load_dataset("ml-20m", tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_dataset("ml-20m", tmp_path / "nowhere")
    (tmp_path / "empty.zip").write_bytes(zipped({"other.csv": b"x"}))
    with pytest.raises(FileNotFoundError, match=r"no ratings\.csv in .*empty\.zip"):
        load_dataset("ml-20m", tmp_path / "empty.zip")
    (tmp_path / "empty.tar.gz").write_bytes(tarred({"other.csv": b"x"}))
    with pytest.raises(FileNotFoundError, match=r"no ratings\.csv"):
        load_dataset("ml-20m", tmp_path / "empty.tar.gz")


@pytest.mark.parametrize("name", ["ml-21m", None, ["ml-20m"]])
def test_unknown_name_is_refused_with_a_list(name):
    with pytest.raises(ConfigError, match=r"there is no data set .*ml-20m"):
        load_dataset(name)


def test_folder_of_the_wrong_kind_is_refused():
    with pytest.raises(ConfigError, match="folder is 5"):
        load_dataset("ml-20m", 5)


@pytest.fixture
def lines(tmp_path):
    (tmp_path / "train.txt").write_bytes(TRAIN_LINES)
    (tmp_path / "test.txt").write_bytes(TEST_LINES)
    return tmp_path


def test_official_split_is_the_owners(lines):
    split = load_official_split("gowalla", lines)
    assert cells(split.train) == {(0, 5): 1, (0, 6): 1, (0, 7): 1, (1, 5): 1, (3, 6): 1, (3, 8): 1}
    target = Interactions(split.test.dataset.target_interactions_matrix, split.test.user_ids, split.train.item_ids)
    assert cells(target) == {(0, 8): 1, (1, 7): 1}  # item 9 and user 2 are not in training
    assert (split.train.matrix != split.test.dataset.interactions_matrix).nnz == 0
    expected = {"name": "official", "target_interactions": 2, "dropped_users": 1, "dropped_items": 1}
    assert expected.items() <= dict(split.protocol).items()
    assert split.protocol["dropped_interactions"] == 2


def test_pair_in_both_parts_is_trained_on_and_not_asked_for(lines):
    (lines / "test.txt").write_bytes(b"0 5 8\n")
    split = load_official_split("gowalla", lines)
    target = split.test.dataset.target_interactions_matrix
    assert target.nnz == 1
    assert split.train.matrix.multiply(target).nnz == 0


def test_data_set_without_a_split_says_which_have_one():
    with pytest.raises(ConfigError, match=r"ml-20m comes without a split.*gowalla, yelp2018, amazon-book"):
        load_official_split("ml-20m")


def test_info_says_what_and_whose_it_is():
    for name in dataset_names():
        info = dataset_info(name)
        assert info.name == name
        assert "http" in info.terms
        for download in info.downloads:
            algorithm, _, digest = (download.checksum or "md5:" + 32 * "0").partition(":")
            assert len(bytes.fromhex(digest)) == {"md5": 16, "sha256": 32}[algorithm]


def test_gowalla_equals_an_independent_reading(data_dir, tmp_path):
    parts = {}
    for name in ("train", "test"):
        frame = pl.read_parquet(data_dir / "gowalla" / f"{name}.parquet", columns=["user_id", "item_id"])
        parts[name] = frame
        grouped = frame.group_by("user_id", maintain_order=True).agg(pl.col("item_id"))
        text = "\n".join(" ".join(map(str, (user, *items))) for user, items in grouped.iter_rows())
        (tmp_path / f"{name}.txt").write_text(text + "\n")
    loaded = load_dataset("gowalla", tmp_path)
    assert repr(loaded).startswith("Interactions(29858 users, 40981 items, 1027370 interactions")
    split = load_official_split("gowalla", tmp_path)
    assert split.train.matrix.nnz == len(parts["train"]) == 810_128
    target = Interactions(split.test.dataset.target_interactions_matrix, split.test.user_ids, split.train.item_ids)
    known = parts["test"].join(parts["train"].select("item_id").unique(), on="item_id")
    known = known.join(parts["train"].select("user_id").unique(), on="user_id")
    assert set(cells(target)) == set(known.select("user_id", "item_id").iter_rows())


def test_a_folder_in_an_archive_is_not_taken_for_the_file(tmp_path):
    where = tmp_path / "films.zip"
    files = {f"data/v1/{name}": content for name, content in ORIGINALS["lastfm-2k"].items()}
    where.write_bytes(zipped({"user_artists.dat/": b"", **files}))
    assert load_dataset("lastfm-2k", where).num_users == 2


def test_the_first_release_of_goodbooks_numbers_its_books_otherwise(tmp_path):
    (tmp_path / "ratings.csv").write_bytes(b"book_id,user_id,rating\n1,7,5\n2,7,4\n")
    (tmp_path / "books.csv").write_bytes(b"id,book_id,best_book_id,title\n1,2,2767052,Games\n2,1,3,Stone\n")
    books = load_dataset("goodbooks-10k", tmp_path)
    assert {books.title_of(col): books.item_ids.ids[col].as_py() for col in range(2)} == {"Games": 1, "Stone": 2}


def test_of_a_book_that_is_rated_twice_the_last_rating_counts(tmp_path):
    (tmp_path / "ratings.csv").write_bytes(b"book_id,user_id,rating\n1,7,2\n3,7,5\n1,8,5\n1,7,3\n")
    books = load_dataset("goodbooks-10k", tmp_path)
    assert cells(books) == {(7, 1): 3, (7, 3): 5, (8, 1): 5}
