"""Speech recognition: the engine interface, the engines, and both languages on one call."""
