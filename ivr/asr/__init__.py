"""Speech recognition: the engine interface, the Vosk engine, and both languages on one call."""
