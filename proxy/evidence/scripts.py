"""The Lua scripts of the store. Each touches keys of one slot and may be run again with no further effect."""

from __future__ import annotations

import hashlib
from typing import Final

RECORD: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local entry = redis.call('XADD', KEYS[1], '*', 'i', ARGV[1], 'c', ARGV[5], 'd', ARGV[6])
local oldest = math.min(tonumber(ARGV[2]), tonumber(string.match(entry, '^%d+')) - tonumber(ARGV[4]))
if oldest > 0 then redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', oldest)) end
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
beginning of the tag's keys. Returns 1 when it was new. The pointer makes a repeated delivery a no-op. What is too old must be
so by the writer's clock and by the store's: one that is wrong would take everything. What the cap removes is removed with its
pointer and notes: they carry the same hash tag, so they lie in the slot of the keys that are declared."""

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


_LEFT: Final = """
local left = redis.call('PTTL', KEYS[1])
local changed = 0
"""
_EXTEND: Final = """
local ttl = tonumber(ARGV[1])
if ttl > 0 and (left == -2 or (left >= 0 and left < ttl)) then redis.call('PEXPIRE', KEYS[1], ttl) end
return changed
"""
"""The scripts below bring what another store holds. KEYS the key first; ARGV its ttl there in ms first (not positive: none). A
key that is there already lives as long as the longer of both says. Each returns how much was new."""

BRING_RECORD: Final = f"""
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
{_LEFT}
local entry = redis.pcall('XADD', KEYS[1], ARGV[2], 'i', ARGV[4], 'c', ARGV[5], 'd', ARGV[6])
if type(entry) == 'table' and entry.err then
  if not string.find(entry.err, 'equal or smaller', 1, true) then return entry end
  entry = redis.call('XADD', KEYS[1], '*', 'i', ARGV[4], 'c', ARGV[5], 'd', ARGV[6])
end
redis.call('SET', KEYS[2], entry)
if tonumber(ARGV[3]) > 0 then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
changed = 1
{_EXTEND}"""
"""KEYS stream, pointer. ARGV ttl, entry, ttl of the pointer, id, place in chain, JSON. The entry keeps its name, and with it
the time of its arrival; a stream that has later ones already takes it as one that arrives now."""

BRING_SCORED: Final = f"""{_LEFT}
for i = 2, #ARGV, 2 do changed = changed + redis.call('ZADD', KEYS[1], 'GT', 'CH', ARGV[i], ARGV[i + 1]) end
{_EXTEND}"""
"""KEYS a zset. ARGV ttl, then score and member in turn. A score only grows."""

BRING_MEMBERS: Final = f"""{_LEFT}
for i = 2, #ARGV do changed = changed + redis.call('SADD', KEYS[1], ARGV[i]) end
{_EXTEND}"""
"""KEYS a set. ARGV ttl, then members."""

BRING_FIELDS: Final = f"""{_LEFT}
for i = 2, #ARGV, 3 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or '') == ARGV[i + 1] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    changed = changed + 1
  end
end
{_EXTEND}"""
"""KEYS a hash. ARGV ttl, then field, the value that it had (empty: none) and its value to be, unless it changed meanwhile."""

BRING_VALUE: Final = f"""{_LEFT}
if (redis.call('GET', KEYS[1]) or '') == ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')
  changed = 1
end
{_EXTEND}"""
"""KEYS a string. ARGV ttl, the value that it had (empty: none), the value to be, unless it changed meanwhile."""


def sha(script: str) -> str:
    """The name under which the server knows a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


SCRIPTS: Final = (RECORD, INDEX, FIELDS, MERGE, BRING_RECORD, BRING_SCORED, BRING_MEMBERS, BRING_FIELDS, BRING_VALUE)
BY_SHA: Final = {sha(script): script for script in SCRIPTS}
