"""Every option: read, checked, defaulted."""

from obskit.settings.errors import ConfigurationError as ConfigurationError
from obskit.settings.loading import Settings as Settings
from obskit.settings.loading import changes as changes
from obskit.settings.loading import load as load
from obskit.settings.loading import unknown_variables as unknown_variables
from obskit.settings.options import DEFAULT_EXIT_TIMEOUT as DEFAULT_EXIT_TIMEOUT
from obskit.settings.options import OPTIONS as OPTIONS
