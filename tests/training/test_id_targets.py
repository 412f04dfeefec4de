"""What is computed once for every face of a dataset."""

import numpy as np
import torch

from vidswap.identity.dlib_resnet import POOLED_SIZE
from vidswap.training.data.face_shards import FaceRecord
from vidswap.training.id_targets import ID_WIDTHS, SAME_PICTURE, shows_held_out


def test_a_held_out_face_stored_again_under_another_name_is_found() -> None:
    n, near, far = 6, 0.5 * SAME_PICTURE, 2.0 * SAME_PICTURE
    rows = torch.zeros(n, sum(ID_WIDTHS))
    embeddings = rows[:, POOLED_SIZE : POOLED_SIZE + 128]
    embeddings[:, 0] = torch.tensor([0.0, near, far, 5.0, 5.0 + near, 10.0])
    listed = [True, False, False, True, False, False]
    records = [FaceRecord(f"{i}", "", "", "", held_out) for i, held_out in enumerate(listed)]
    np.testing.assert_array_equal(
        shows_held_out(rows, records), [False, True, False, False, True, False]
    )


def test_nothing_is_left_out_where_nothing_is_held_out() -> None:
    records = [FaceRecord(f"{i}", "", "", "", False) for i in range(3)]
    assert not shows_held_out(torch.zeros(3, sum(ID_WIDTHS)), records).any()
