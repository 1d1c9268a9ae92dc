"""What tests share. Timings differ from machine to machine, so no test has a deadline."""

import hypothesis
import pytest
import torch

from raytune_yesno.corpus import Corpus
from raytune_yesno.synthetic import synthesize

hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# Results are the same bits only with the same number of threads.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_corpus() -> Corpus:
    """Return 20 synthetic recordings: 8 to train on, 2 to validate on, 10 to test on."""
    return synthesize(20)
