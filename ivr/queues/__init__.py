"""Agent queues: the catalogue of ``config/queues.yaml`` and opening hours."""
