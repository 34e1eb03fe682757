"""Configuration: spendtree.yaml, or a mapping of the same shape, into typed and checked values.

`settings` are the values, `loading` the vocabulary (which keys there are), `readers` what each key
accepts, `document` the YAML file, `place` where a mistake stands. Nothing here reads the
environment, opens a store or acts on a setting.
"""

from spendtree.config.loading import load_config
from spendtree.config.settings import AgentSettings, Config, Mode, SessionSettings

__all__ = ["AgentSettings", "Config", "Mode", "SessionSettings", "load_config"]
