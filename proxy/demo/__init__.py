"""A played incident for the person who meets the product: a vendor, its SCIM backend, an identity provider, the proxy.

Everything is real but the people: PostgreSQL with Doorkeeper's tables, a SCIM backend over HTTP, the proxy as it is wired
in production. The tokens are random and die with the demo.
"""
