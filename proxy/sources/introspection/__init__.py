"""An RFC 7662 introspection endpoint as a source of tokens.

answer    what the endpoint said -> a state; pure       source    the TokenSource: who asks how, what is kept of active tokens

What it cannot tell, whoever asks: `active: false` gives no reason and no row, so a refusal that rests on it alone says only
"unknown". Where a table is configured too, put both into `first_match` or `cross_check` (docs/sources.md).
"""
