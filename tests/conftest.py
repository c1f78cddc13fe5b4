"""How hard hypothesis looks: a little by default, much longer when asked; and that a worker keeps to its processor."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],  # the machine may be busy with something else
)
settings.register_profile(
    "thorough",
    max_examples=200,
    deadline=None,
    derandomize=True,  # a change is judged by itself, not by luck
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # two workers with two threads each only wait for one another

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
