"""What a deployment's steps cost, and how surely that is known."""

from calibration.profile import Profile
from calibration.profile import load as load_profile
from sim.cost import StepCost
from sim.engine import Deployment
from sim.slowed import Slowed
from sim.variant import Variant

PROFILE = "measured"


def step_cost(variant: Variant, deployment: Deployment, factor: float = 1.0) -> StepCost:
    """What the deployment's steps cost, times a factor: from a table of measured times, or from a profile."""
    cost = _step_cost(variant, deployment)
    return cost if factor == 1.0 else Slowed(cost, factor)


def step_trust(variant: Variant, deployment: Deployment) -> str:
    """How near the deployment's step times are to measurements; those of a table are, within it."""
    if variant.step_table is not None:
        return "measured"
    from calibration import physics, scopes

    return profile_of(variant).trust_in(physics.family(deployment), scopes.shape(deployment.model))


def standard_link(deployment: Deployment) -> bool:
    """Whether the deployment's cards exchange as those of other machines do."""
    from calibration import physics, scopes

    return scopes.standard_link(physics.family(deployment))


def step_band(variant: Variant, deployment: Deployment) -> tuple[float, float]:
    """The factors that the true step times lie between, in four cases of five; 1 and 1 where nobody knows."""
    if variant.step_table is not None:
        return 1.0, 1.0
    return profile_of(variant).band(deployment.traits.kernels, step_trust(variant, deployment), "step")


def profile_of(variant: Variant) -> Profile:
    """What the variant's step times follow from."""
    return load_profile(variant.profile or PROFILE)


def _step_cost(variant: Variant, deployment: Deployment) -> StepCost:
    if variant.step_table is not None:
        from calibration.tables.steptable import load
        from calibration.tables.tablecost import TableCost

        return TableCost(load(variant.step_table))
    from calibration import physics

    return physics.step_cost(deployment, profile_of(variant))
