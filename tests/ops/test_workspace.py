from __future__ import annotations

import torch

from recoder.ops.workspace import Workspace

LIKE = torch.zeros(1)


def test_a_tensor_has_the_shape_and_dtype_that_were_asked_for():
    taken = Workspace().take("a", 2, 3, like=torch.zeros(1, dtype=torch.float64))
    assert taken.shape == (2, 3)
    assert taken.dtype == torch.float64
    assert Workspace().take("a", 2, like=LIKE, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_memory_is_used_again_for_tensors_no_larger_than_before():
    space = Workspace()
    first = space.take("a", 6, 4, like=LIKE)
    for shape in [(6, 4), (4, 6), (24,), (2, 3), (1, 1)]:
        again = space.take("a", *shape, like=LIKE)
        assert again.shape == shape
        assert again.is_contiguous()
        assert again.data_ptr() == first.data_ptr()


def test_larger_tensors_get_memory_of_their_own():
    space = Workspace()
    small = space.take("a", 2, like=LIKE).fill_(1)
    space.take("a", 300, like=LIKE).fill_(2)
    assert small.tolist() == [1, 1]
    assert space.take("a", 300, like=LIKE).tolist() == [2] * 300


def test_names_do_not_share_memory():
    space = Workspace()
    first = space.take("a", 3, like=LIKE).fill_(1)
    space.take("b", 3, like=LIKE).fill_(2)
    assert first.tolist() == [1, 1, 1]


def test_another_dtype_gets_memory_of_its_own():
    space = Workspace()
    first = space.take("a", 3, like=LIKE).fill_(1)
    second = space.take("a", 3, like=LIKE, dtype=torch.float64).fill_(2)
    assert first.tolist() == [1, 1, 1]
    assert second.tolist() == [2, 2, 2]


def test_another_device_gets_memory_of_its_own():
    space = Workspace()
    space.take("a", 3, like=LIKE)
    assert space.take("a", 3, like=torch.zeros(1, device="meta")).device.type == "meta"
    assert space.take("a", 3, like=LIKE).device.type == "cpu"


def test_tensors_without_elements_can_be_taken():
    space = Workspace()
    assert space.take("a", 0, 3, like=LIKE).shape == (0, 3)
    assert space.take("a", like=LIKE).shape == ()
    assert space.take("a", 0, like=LIKE).shape == (0,)
