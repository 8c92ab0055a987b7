"""scim-witness: a SCIM-aware authenticating reverse proxy that bears witness.

accept -> extract -> look up -> decide -> forward or answer -> Exchange -> (spool) -> log, metrics, incident
          pure      ports       pure         streams            value       disk        nothing waits
"""

from proxy import compiled

__version__ = "0.1.0"

compiled.begin()  # the road's modules, compiled, where they are and are not stale
