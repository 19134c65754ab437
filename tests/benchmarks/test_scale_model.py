"""The cost model: what it must come to by hand, and constants that are found again."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.scale.calibration import fitted_link, fitted_machine
from benchmarks.scale.model import Exchange, Grid, Link, Machine, Work, costs
from benchmarks.scale.namespaces import Cable, hosts, why_not
from benchmarks.scale.running import environment_of
from scipy import sparse

from recoder.data import RecommendationDataset
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder

MACHINE = Machine(product_flops=1e11, scores=1e9, row_bytes=1e10, step_s=5e-3)
LINK = Link(latency_s=1e-4, bytes_per_s=1.25e8)
SAMPLED = Work(users=500, factors=200, items=20_000, candidates=9_000, interactions=30_000)
GRAM = replace(SAMPLED, is_gram=True)


class TestExchange:
    def test_a_sum_goes_round_a_ring_twice_in_parts(self):
        # of four processes: six hops, each of a quarter of the bytes
        seconds = Exchange(4, 250, 1_000).seconds(Link(latency_s=1.0, bytes_per_s=100.0))
        assert seconds == pytest.approx(6 * (1.0 + 250 / 100))

    def test_what_each_gets_from_all_goes_round_once(self):
        seconds = Exchange(4, 125, 1_000, is_sum=False).seconds(Link(latency_s=1.0, bytes_per_s=100.0))
        assert seconds == pytest.approx(3 * (1.0 + 1_000 / 100))


class TestGrid:
    @pytest.mark.parametrize(
        ("parallel", "number", "grid"),
        [("items", 6, (6, 1)), ("users", 6, (1, 6)), ("items+users", 6, (3, 2)), ("items+users", 64, (8, 8))],
    )
    def test_it_is_that_of_the_library(self, parallel, number, grid):
        assert Grid.of(parallel, number) == Grid(*grid)


class TestCosts:
    def test_one_process_exchanges_nothing(self):
        assert costs(SAMPLED, Grid()).exchanges == ()
        assert costs(SAMPLED, Grid()).flops == 6 * 500 * 9_000 * 200

    def test_sharing_items_divides_all_but_the_exchanges_which_do_not_grow_with_the_catalogue(self):
        one, four = costs(SAMPLED, Grid()), costs(SAMPLED, Grid(items=4))
        for name in ("flops", "scores", "row_bytes", "memory_bytes"):
            assert getattr(four, name) == pytest.approx(getattr(one, name) / 4)
        assert four.numbers_sent == 2 * 500 * 200 + 2 * 500
        assert costs(replace(SAMPLED, items=10**8), Grid(items=4)).numbers_sent == four.numbers_sent

    def test_the_gram_form_sends_no_more(self):
        assert costs(GRAM, Grid(items=4)).numbers_sent == costs(SAMPLED, Grid(items=4)).numbers_sent

    def test_sharing_users_divides_the_products_and_no_rows_and_no_memory(self):
        one, four = costs(SAMPLED, Grid()), costs(SAMPLED, Grid(users=4))
        assert four.flops == one.flops / 4
        assert four.memory_bytes == one.memory_bytes
        assert four.row_bytes > 0.9 * one.row_bytes
        # rows of both tables, biases, ids of each, and the input's bias
        assert four.numbers_sent == 2 * 9_000 * 200 + 9_000 + 3 * (9_000 + 1) + 200

    def test_a_grid_divides_memory_by_its_width(self):
        assert costs(SAMPLED, Grid(4, 2)).memory_bytes == costs(SAMPLED, Grid(4)).memory_bytes

    def test_seconds_are_those_of_computing_and_of_exchanging(self):
        two = costs(SAMPLED, Grid(items=2))
        assert two.seconds(MACHINE, LINK) == pytest.approx(two.compute_s(MACHINE) + two.exchange_s(LINK))
        # four hops, and 4 bytes of each number
        assert two.exchange_s(LINK) == pytest.approx(4 * 1e-4 + 4 * (2 * 500 * 200 + 2 * 500) / 1.25e8)

    def test_memory_is_that_of_the_library(self):
        num_items, factors = 70, 12
        matrix = sparse.csr_matrix((np.random.default_rng(0).random((40, num_items)) < 0.3).astype(np.float32))
        recoder = Recoder(DynamicAutoencoder([factors], sparse=True), optimizer_type="adam", loss="mse", seed=0)
        recoder.train(RecommendationDataset(matrix))
        tensors = [
            *recoder.model.parameters(),
            *(t for s in recoder.file_content().optimizer.values() for t in s.values()),
        ]
        held = sum(tensor.nbytes for tensor in tensors if tensor.dim() and len(tensor) == num_items)
        assert costs(replace(SAMPLED, items=num_items, factors=factors), Grid()).memory_bytes == held


class TestFits:
    def test_the_constants_of_a_machine_are_found_again(self):
        works = [replace(w, factors=d, users=b) for w in (SAMPLED, GRAM) for d in (32, 100, 200) for b in (250, 500)]
        found = fitted_machine([(work, costs(work, Grid()).compute_s(MACHINE)) for work in works])
        for name, constant in vars(MACHINE).items():
            assert getattr(found, name) == pytest.approx(constant, rel=1e-6)

    @pytest.mark.parametrize("number", [2, 3])
    def test_those_of_a_link_too(self, number):
        sums = [(size, Exchange(number, size / 4, size).seconds(LINK)) for size in (4, 1 << 16, 1 << 20)]
        found = fitted_link(sums, number)
        assert found.latency_s == pytest.approx(LINK.latency_s)
        assert found.bytes_per_s == pytest.approx(LINK.bytes_per_s)

    def test_what_no_time_depends_on_is_free(self):
        assert fitted_machine([(SAMPLED, 1.0), (GRAM, 1.0)]).product_flops == math.inf


@pytest.fixture(scope="module")
def hosts_can_be_made() -> None:
    """Skips where they cannot; asked only here, since the answer takes making some."""
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no hosts here: {reason}")


@pytest.mark.usefixtures("hosts_can_be_made")
class TestHosts:
    PINGS = "import socket; socket.create_server(('10.213.0.1', 7)).accept()[0].sendall(b'here' * 4_000_000)"
    ASKS = (
        "import socket; c = socket.create_connection(('10.213.0.1', 7)); "
        "print(sum(len(part) for part in iter(lambda: c.recv(1 << 20), b'')))"
    )

    @pytest.mark.parametrize("cable", [Cable(), Cable(200), Cable(delay_ms=2.0), Cable(200, delay_ms=2.0)], ids=str)
    def test_they_reach_each_other_and_are_gone_afterwards(self, cable):
        with hosts(2, cable) as (first, second):
            with subprocess.Popen([*first, sys.executable, "-c", self.PINGS]):
                said = subprocess.run(
                    [*second, "sh", "-c", f'until "{sys.executable}" -c "{self.ASKS}" 2>/dev/null; do sleep 0.1; done'],
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=True,
                )
            assert said.stdout == "16000000\n"
            name = first[-1]
        assert name not in self.names()

    def test_nothing_is_left_of_them_when_the_process_is_ended(self):
        script = "import time; from benchmarks.scale.namespaces import *\n"
        script += "with hosts(3, Cable(100)) as h: print(h[0][-1], flush=True); time.sleep(60)"
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment_of({})
        ) as process:
            assert process.stdout is not None
            name = process.stdout.readline().strip()
            assert name in self.names()
            process.send_signal(signal.SIGTERM)
        assert name not in self.names()

    @staticmethod
    def names() -> list[str]:
        folder = Path("/run/netns")
        return [path.name for path in folder.iterdir()] if folder.exists() else []
