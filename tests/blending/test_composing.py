"""How far the photographs are laid over what a generator answers."""

from __future__ import annotations

import pytest

from vidswap.blending.composing import COMPOSED, overlay_weight


def test_photographs_are_laid_less_over_a_net_that_has_composed_them() -> None:
    assert overlay_weight(0.6, composes=False) == 0.6
    assert overlay_weight(0.6, composes=True) == pytest.approx(0.6 * COMPOSED)
    assert overlay_weight(0.0, composes=True) == 0.0  # as without photographs
