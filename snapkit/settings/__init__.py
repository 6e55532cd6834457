"""Where settings come from: flags, the environment, .env, a settings file. One frozen value comes out."""

from snapkit.settings.load import Files, Settings, load_settings, read_files
from snapkit.settings.url_choice import ConnectionChoice

__all__ = ["ConnectionChoice", "Files", "Settings", "load_settings", "read_files"]
