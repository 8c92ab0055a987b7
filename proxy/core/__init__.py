"""The domain: frozen values and pure functions over them.

Here: what came in, what is known of a token, what follows from it, what is put on record, what it means.
Not here: I/O, clocks, settings, any library that talks to something (import-linter checks it). The clock is an argument.
"""
