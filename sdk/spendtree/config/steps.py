"""Steps of a policy: what a call tries, in order, when there is not money enough for it.

Values, and the table of what each step may say. What a step does is not known here.
"""

from dataclasses import dataclass
from typing import Literal, get_args

StepName = Literal["wait", "clamp", "fallback", "reallocate", "skip", "refuse"]
STEP_NAMES: tuple[StepName, ...] = get_args(StepName)

ENDS = frozenset(("skip", "refuse"))
"""Steps after which there is nothing left to try."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a policy.

    `seconds` is how long "wait" waits at most (None: `busy_timeout_seconds`), `floor` the least
    output tokens that "clamp" may leave (None: 1), `model` and `provider` are what "fallback" calls
    instead ("" is the provider of the call). Fields of other steps stay at their defaults.
    """

    name: StepName
    seconds: float | None = None
    floor: int | None = None
    model: str = ""
    provider: str = ""


DEFAULT_POLICY = (Step("wait"), Step("refuse"))
