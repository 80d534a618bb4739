"""Fixtures of the tests: repeatable random numbers, devices, a guard on torch's global default dtype.

The default dtype stays what users have (float32). Raising it to float64 here would hide every tensor the
library creates without saying its dtype; such a tensor costs nine digits and is caught by
`numerics.tolerances`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

SEED = 20260101

# Examples are drawn the same way in every run; no deadline: the first call of a test may compile or import.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, max_examples=50)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _repeatable() -> Iterator[None]:
    """Seed every global generator in use, and fail a test that leaves another default dtype behind."""
    random.seed(SEED)
    if numpy := sys.modules.get("numpy"):  # neither library is imported for a test that does not need it
        numpy.random.seed(SEED)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(SEED)
    yield
    if torch := sys.modules.get("torch"):
        left = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        assert left == torch.float32, f"the test left torch's default dtype at {left}"


@pytest.fixture
def seed() -> int:
    """Give the seed for a generator of one's own: `torch.Generator(device).manual_seed(seed)`."""
    return SEED


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Run the test on the CPU and, where torch sees one, on a CUDA device."""
    return request.param
