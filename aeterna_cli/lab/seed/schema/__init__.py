"""The platform's schema as SQL files, loaded in the order of their numbers; see ``schemas``."""
