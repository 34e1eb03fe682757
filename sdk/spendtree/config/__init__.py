"""Configuration: spendtree.yaml, or a mapping of the same shape, into typed and checked values.

`settings` and `steps` are the values, `loading` the vocabulary (which keys there are), `readers`
and `sections` what each key accepts, `document` the YAML file, `place` where a mistake stands.
`describing` writes settings back as plain data, `review` finds what is likely not meant. Nothing
here reads the environment, opens a store or acts on a setting.
"""

from spendtree.config.loading import load_config, locate_config
from spendtree.config.settings import (
    ACCOUNT_KINDS,
    MODES,
    PERIODS,
    AccountKind,
    AgentSettings,
    AlertSettings,
    Config,
    ContractSettings,
    MetricsSettings,
    Mode,
    PayerSettings,
    Period,
    PeriodSettings,
    PlanSettings,
    SessionSettings,
)
from spendtree.config.steps import DEFAULT_POLICY, Step

__all__ = [
    "ACCOUNT_KINDS",
    "DEFAULT_POLICY",
    "MODES",
    "PERIODS",
    "AccountKind",
    "AgentSettings",
    "AlertSettings",
    "Config",
    "ContractSettings",
    "MetricsSettings",
    "Mode",
    "PayerSettings",
    "Period",
    "PeriodSettings",
    "PlanSettings",
    "SessionSettings",
    "Step",
    "load_config",
    "locate_config",
]
