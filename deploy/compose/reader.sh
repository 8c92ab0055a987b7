#!/bin/sh
# Runs once, when PostgreSQL makes its data directory: the reader's password. psql quotes it; it is never an argument.
set -eu
psql -v ON_ERROR_STOP=1 -U postgres -d vendor <<'SQL'
\set password `cat /run/secrets/reader_password`
ALTER ROLE scim_witness PASSWORD :'password';
SQL
