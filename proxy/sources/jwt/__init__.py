"""Signed tokens (JWT) as a source: the token itself is the row, and the issuer's keys say whether it is one.

verify    bytes, keys and rules -> claims or the reason of a refusal; pure     facts    claims -> `Known`; pure
keys      the issuer's key set: fetched, kept, rotated, within a grace         source   the TokenSource

A signed token cannot be revoked: it is alive until it expires or its key is withdrawn.
"""
