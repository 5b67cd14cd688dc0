"""How a configuration file becomes settings, or a list of its mistakes."""
