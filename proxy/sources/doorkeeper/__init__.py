"""Doorkeeper's own tables as a source of tokens: one contract, one dialect per database.

options    what a deployment says about its tables              rows      a row as read -> `Known`; pure, for every dialect
batches    waiting look-ups go together in the next query       near      what a presented secret nearly is; pure
database   the port that a dialect fills, and its one error     source    the TokenSource over a primary and a replica
postgres   the dialect: SQL, schema, connections                check     findings for `scim-witness doctor`

Only SELECT is ever sent. Facts and their measurements: docs/doorkeeper-postgres.md.
"""
