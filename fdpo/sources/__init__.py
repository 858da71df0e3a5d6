"""A study's models and texts become local files."""
