"""Call records, decisions and live queue counts, kept for all nodes of a hotline.

    store = open_store(settings.store, home=settings.home)
    store.append({"call": "c1", "seq": 1, "wall": "...", "type": "started"})
    store.decided(decision.as_json())
    await store.decision("c1")  # also of a call that another node answered

| module | what |
|---|---|
| ``operations.py`` | what is written: an event of a call, a decision, a queue's report |
| ``backend.py`` | the interface of a database |
| ``sql.py``, ``sqlite.py``, ``postgresql.py`` | SQLite (the embedded default) and PostgreSQL |
| ``redis.py`` | Redis |
| ``spool.py`` | where operations wait on disk while the database is gone |
| ``store.py`` | the thread that writes, in batches, off the event loop |
"""

from __future__ import annotations

from ivr.store.store import Store, open_store

__all__ = ["Store", "open_store"]
