"""Doorkeeper's own tables as a source of tokens: one contract, one dialect per database.

options    what a deployment says about its tables              rows      a row as read -> `Known`; pure, for every dialect
batches    waiting look-ups go together in the next query       near      what a presented secret nearly is; pure
database   the port that a dialect fills, and its one error     source    the TokenSource over a primary and a replica
guarded    a database behind a breaker
schema     what the tables look like, in any dialect            check     findings for `scim-witness doctor`, in any dialect
postgres*, mysql*   the dialects: SQL, schema, connections, findings

Only SELECT is ever sent. Facts and their measurements: docs/sources.md, docs/doorkeeper-postgres.md.
"""
