"""Where settings come from: flags, the environment, .env, a settings file. One frozen value comes out."""

from snapkit.settings.load import Settings, load_settings

__all__ = ["Settings", "load_settings"]
