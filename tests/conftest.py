"""What tests share. Timings differ from machine to machine, so no test has a deadline."""

from collections.abc import Iterator

import hypothesis
import pytest
import torch

from raytune_yesno.tasks.speech.corpus import Corpus
from raytune_yesno.tasks.speech.synthetic import synthesize

hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# Results are the same bits only with the same number of threads.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_corpus() -> Corpus:
    """Return 20 synthetic recordings: 8 to train on, 2 to validate on, 10 to test on."""
    return synthesize(20)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """Start the one cluster that all tests marked `ray` share; return its address.

    Its four CPUs and two GPUs are numbers that Ray counts with, whatever the machine has.
    """
    import ray

    from raytune_yesno.cluster.session import ray_session

    with ray_session("local", num_cpus=4, num_gpus=2):
        yield ray.get_runtime_context().gcs_address
