"""scim-witness: a SCIM-aware authenticating reverse proxy that bears witness.

accept -> extract -> look up -> decide -> forward or answer -> Exchange -> (spool) -> log, metrics, incident
          pure      ports       pure         streams            value       disk        nothing waits
"""

__version__ = "0.1.0"
