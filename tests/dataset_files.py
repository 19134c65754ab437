"""Small files in the formats of the owners of public data sets."""

from __future__ import annotations

import io
import tarfile
import zipfile


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


GENRES = "|".join("01" + "0" * 17)
CSV_RATINGS = b"userId,movieId,rating,timestamp\n7,20,4.5,1112486027\n7,10,3.0,1112484676\n9,20,0.5,1112484819\n"
CSV_MOVIES = (
    b'movieId,title,genres\n10,"Matrix, The (1999)",Action|Sci-Fi\n20,M (1931),Crime\n30,Never Rated (2000),War\n'
)

# data set -> (its archive's member -> text)
ORIGINALS: dict[str, dict[str, bytes]] = {
    "ml-100k": {
        "ml-100k/u.data": b"7\t20\t4\t881250949\n7\t10\t3\t891717742\n9\t20\t1\t878887116\n",
        "ml-100k/u.item": (
            f"10|Matrix, The (1999)|01-Jan-1999||http://us.imdb.com/x|{GENRES}\n"
            f"20|Misérables, Les (1995)|01-Jan-1995||http://us.imdb.com/y|{GENRES}\n"
        ).encode("latin-1"),
    },
    "ml-1m": {
        "ml-1m/ratings.dat": b"7::20::4::978300760\n7::10::3::978302109\n9::20::1::978301968\n",
        "ml-1m/movies.dat": "10::Matrix, The (1999)::Action\n20::Misérables, Les (1995)::Drama\n".encode("latin-1"),
    },
    "ml-10m": {
        "ml-10M100K/ratings.dat": b"7::20::4.5::838985046\n7::10::3::838983525\n9::20::0.5::838983392\n",
        "ml-10M100K/movies.dat": '10::Matrix: The "One" (1999)::Action\n20::Misérables, Les (1995)::Drama\n'.encode(),
    },
    **{
        f"ml-{size}": {f"ml-{size}/ratings.csv": CSV_RATINGS, f"ml-{size}/movies.csv": CSV_MOVIES}
        for size in ("20m", "25m", "32m")
    },
    "msd": {"train_triplets.txt": b"b80344d0\tSOAKIMP12A8C1\t1\nb80344d0\tSOBBMDR\t2\n85c1f87f\tSOAKIMP12A8C1\t5\n"},
    "lastfm-360k": {
        "lastfm-dataset-360K/README.txt": b"about",
        "lastfm-dataset-360K/usersha1-artmbid-artname-plays.tsv": (
            b'0000\t3bd7-1\tbetty "b" blowtorch\t2137\n0000\t\tnull\t5\n0001\t\t\t9\n0001\taf8e-2\tNA\t48\n'
        ),
    },
    "lastfm-2k": {
        "user_artists.dat": b"userID\tartistID\tweight\r\n2\t51\t13883\r\n2\t52\t11690\r\n3\t51\t228\r\n",
        "artists.dat": 'id\tname\turl\tpictureURL\n51\t"Duran" Duran\thttp://a\thttp://b\n52\tBjörk\thttp://c\t\n'.encode(),
    },
    "goodbooks-10k": {
        "goodbooks-10k/ratings.csv": b"user_id,book_id,rating\n1,258,5\n2,258,4\n2,260,3\n",
        "goodbooks-10k/books.csv": (
            b"book_id,goodreads_book_id,authors,original_title,title,language_code\n"
            b'258,1,Someone,,"The Wind (Shadow, #1)",eng\n260,2,Other,1984,1984,\n'
        ),
    },
}
TRAIN_LINES = b"0 5 6 7\n1 5\n3 6 8 \n"
TEST_LINES = b"0 8\n1 9 7\n2 5\n3\n"
LENGTHS = {"train.txt": 6, "test.txt": 4}
"""Interactions in the two."""
