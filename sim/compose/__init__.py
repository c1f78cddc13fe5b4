"""Names turned into objects: the one door from the words of a user to engines, policies, workloads and step times."""

from sim.compose.demands import Traffic, slo, traffic
from sim.compose.deployments import default_weights, deploy
from sim.compose.load_options import refuse_unused, used
from sim.compose.machines import DEFAULT_MODEL, cards, hosts, machine
from sim.compose.names import (
    engine,
    engine_name,
    engine_names,
    option_value,
    router,
    router_names,
    scheduler_names,
)
from sim.compose.runs import scenario, sweep
from sim.compose.step_times import PROFILE, profile_of, standard_link, step_band, step_cost, step_trust
from sim.naming import fold

__all__ = [
    "DEFAULT_MODEL",
    "PROFILE",
    "Traffic",
    "cards",
    "default_weights",
    "deploy",
    "engine",
    "engine_name",
    "engine_names",
    "fold",
    "hosts",
    "machine",
    "option_value",
    "profile_of",
    "refuse_unused",
    "router",
    "router_names",
    "scenario",
    "scheduler_names",
    "slo",
    "standard_link",
    "step_band",
    "step_cost",
    "step_trust",
    "sweep",
    "traffic",
    "used",
]
