"""Where settings come from: flags, the environment, .env, a settings file. One frozen value comes out."""

from snapkit.settings.connection import ConnectionChoice
from snapkit.settings.load import Files, Settings, load_settings, read_files

__all__ = ["ConnectionChoice", "Files", "Settings", "load_settings", "read_files"]
