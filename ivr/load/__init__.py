"""Load: many calls at real-time pace into a server, and what it costs and how late it answers."""
