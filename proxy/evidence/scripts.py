"""The Lua scripts of the store. Each touches keys of one slot and may be run again with no further effect."""

from __future__ import annotations

import hashlib
from typing import Final

RECORD: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local entry = redis.call('XADD', KEYS[1], 'MINID', '~', ARGV[2], '*', 'i', ARGV[1], 'c', ARGV[5], 'd', ARGV[6])
local over = redis.call('XLEN', KEYS[1]) - ARGV[3]
if over > 0 then
  for _, old in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(over, 10))) do
    local id = old[2][2]
    redis.call('XDEL', KEYS[1], old[1])
    redis.call('DEL', ARGV[7] .. ':i:' .. id, ARGV[7] .. ':n:' .. id)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], entry, 'PX', ARGV[4])
return 1
"""
"""KEYS stream, pointer. ARGV id, oldest ms kept, most entries kept, ttl ms, place in chain, JSON,
beginning of the tag's keys. Returns 1 when it was new. The pointer makes a repeated delivery a no-op. What the cap removes is
removed with its pointer and notes: they carry the same hash tag, so they lie in the slot of the keys that are declared."""

INDEX: Final = """
for i = 3, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'GT', ARGV[i], ARGV[i + 1]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
"""KEYS a zset. ARGV most members kept (those with the highest scores), ttl ms, then score and member in turn."""

FIELDS: Final = """
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
"""KEYS a hash. ARGV ttl ms, then field and value in turn: absolute values, so that twice is once."""

MERGE: Final = """
for i = 4, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then return 0 end
end
for i = 4, #ARGV, 2 do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
"""KEYS a hash. ARGV ttl ms, field and value that replace the fields that follow, unless one of them has changed meanwhile."""


def sha(script: str) -> str:
    """The name under which the server knows a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


BY_SHA: Final = {sha(script): script for script in (RECORD, INDEX, FIELDS, MERGE)}
