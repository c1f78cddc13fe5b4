"""How hard hypothesis looks: a little by default, much longer when the environment asks for it."""

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
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
