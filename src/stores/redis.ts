// A Store and counts in Redis: each operation is one command or one script, and every script can be repeated with the
// same mark or receipt, so that an answer that was lost loses nothing.
import { encodeBase64url } from '../kit/bytes.ts'
import { shardOf } from '../kit/records.ts'
import type {
  Counters,
  Entry,
  Hit,
  HitResult,
  Mark,
  StoredRecord,
  StoredRecords,
  SweptStore,
} from '../ports/store.ts'
import { metaKey } from './meta.ts'
import { type ComparedOptions, type CountValues, createComparedCounters } from './counts.ts'

/** Keys: the first decides which server runs it; all of a script are on one. */
export interface RedisScript {
  readonly name: string
  readonly text: string
}

export type RedisReply = string | number | null | readonly RedisReply[]

/**
 * What a runtime knows of its connection. Both carry the command out, once more when no answer came, and reject with
 * `Refusal('storage.unavailable')`. `what` says in messages what was done.
 */
export interface RedisDriver {
  get(key: string): Promise<string | null>
  run(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<RedisReply>
}

/** A record is `L`, its mark and its value; a receipt is `T`, who took it, and the record. */
const markLength = 22
const [live, taken] = ['L', 'T']
/** As long as a taker whose answer was lost may ask again, ms. */
const receiptMs = 5000
/** One thread serves everybody, so that no script walks further than this. */
const mostNames = 1000

const script = (name: string, text: string): RedisScript => ({ name, text: text.trim() })

// KEYS of the first two: the record, the names, the lifetimes.
const put = script(
  'put',
  `
local key, mark, value, ttl, only = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local head = redis.call('GETRANGE', KEYS[1], 0, ${2 * markLength + 1})
local held = string.sub(head, 1, 1) == '${live}' and string.sub(head, 2, ${markLength + 1}) or false
if held == mark then return mark end
-- Written before by this caller, and taken since by another.
if string.sub(head, 1, 1) == '${taken}' and string.sub(head, ${markLength + 3}) == mark then return false end
if only == 'absent' and held then return false end
if only == 'mark' and held ~= ARGV[6] then return false end
if ttl and ttl < 1 then
  redis.call('SET', KEYS[1], '${live}' .. mark .. value, 'PX', 1)
  redis.call('ZADD', KEYS[2], 0, key)
  redis.call('ZADD', KEYS[3], redis.call('PEXPIRETIME', KEYS[1]), key)
elseif ttl then
  redis.call('SET', KEYS[1], '${live}' .. mark .. value, 'PX', ttl)
  redis.call('ZADD', KEYS[2], 0, key)
  redis.call('ZADD', KEYS[3], redis.call('PEXPIRETIME', KEYS[1]), key)
else
  redis.call('SET', KEYS[1], '${live}' .. mark .. value)
  redis.call('ZADD', KEYS[2], 0, key)
  redis.call('ZREM', KEYS[3], key)
end
return mark`,
)

const take = script(
  'take',
  `
local key, taker = ARGV[1], ARGV[2]
local record = redis.call('GET', KEYS[1])
if not record then return false end
if string.sub(record, 1, 1) == '${taken}' then
  if string.sub(record, 2, ${markLength + 1}) ~= taker then return false end
  return string.sub(record, ${markLength + 2})
end
redis.call('SET', KEYS[1], '${taken}' .. taker .. record, 'PX', ${receiptMs})
redis.call('ZREM', KEYS[2], key)
redis.call('ZREM', KEYS[3], key)
return record`,
)

// KEYS: the names. Answers the last name it looked at, or nothing at the end, and keys and records in turn.
const list = script(
  'list',
  `
local from, to, limit, records = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local names = redis.call('ZRANGEBYLEX', KEYS[1], from, to, 'LIMIT', 0, ${mostNames})
local found, place = {}, #names == ${mostNames} and names[#names] or ''
for i, name in ipairs(names) do
  local record = redis.call('GET', records .. name)
  if record and string.sub(record, 1, 1) == '${live}' then
    found[#found + 1] = name
    found[#found + 1] = record
    if #found == 2 * limit then place = '' break end
  end
end
return { place, unpack(found) }`,
)

// KEYS: the names. As the list, with what is left of each lifetime in ms, or a negative number.
const records = script(
  'records',
  `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local names = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local found = { names[#names] or '' }
for i, name in ipairs(names) do
  local record = redis.call('GET', ARGV[3] .. name)
  if record and string.sub(record, 1, 1) == '${live}' then
    found[#found + 1] = name
    found[#found + 1] = record
    local at = redis.call('PEXPIRETIME', ARGV[3] .. name)
    found[#found + 1] = tostring(at < 0 and -1 or math.max(at - now, 1))
  end
end
return found`,
)

// KEYS: the names, the lifetimes.
const sweep = script(
  'sweep',
  `
local limit, records = tonumber(ARGV[1]), ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = 0
for i, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, limit)) do
  local at = redis.call('PEXPIRETIME', records .. name)
  if at > 0 then
    redis.call('ZADD', KEYS[2], at, name)
  else
    redis.call('ZREM', KEYS[2], name)
    if at == -2 then
      redis.call('ZREM', KEYS[1], name)
      gone = gone + 1
    end
  end
end
return gone`,
)

// KEYS: the count.
const hit = script(
  'hit',
  `
local cost, limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
local allowed = used + cost <= limit
if allowed then
  used = redis.call('INCRBY', KEYS[1], cost)
  if used == cost then redis.call('PEXPIRE', KEYS[1], window) end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('PEXPIRETIME', KEYS[1])
return { allowed and 1 or 0, used, over > 0 and over - now or window }`,
)

// KEYS: the counts. Answers the time, and of each count what is used and when it is over.
const readCounts = script(
  'read-counts',
  `
local time = redis.call('TIME')
local found = { tostring(time[1] * 1000 + math.floor(time[2] / 1000)) }
for i, key in ipairs(KEYS) do
  found[#found + 1] = redis.call('GET', key) or ''
  found[#found + 1] = tostring(redis.call('PEXPIRETIME', key))
end
return found`,
)

// KEYS: the counts. ARGV: of each what was read, what to write, and for how long; nothing to write where that is empty.
const writeCounts = script(
  'write-counts',
  `
for i, key in ipairs(KEYS) do
  if (redis.call('GET', key) or '') ~= ARGV[3 * i - 2] then return 0 end
end
for i, key in ipairs(KEYS) do
  if ARGV[3 * i - 1] ~= '' then redis.call('SET', key, ARGV[3 * i - 1], 'PX', ARGV[3 * i]) end
end
return 1`,
)

/** All scripts, for a driver that wants them in advance. */
export const redisScripts: readonly RedisScript[] = [
  put,
  take,
  list,
  records,
  sweep,
  hit,
  readCounts,
  writeCounts,
]

export interface RedisLayout {
  /** Begins every key. */
  readonly prefix: string
  /** Records are spread over so many hash tags; kept with the records, because it can never change. */
  readonly shards: number
}

const createKeys = ({ prefix, shards }: RedisLayout) => {
  const tag = (shard: number): string => `${prefix}{${shard}}:`
  return {
    all: Array.from({ length: shards }, (_, shard) => shard),
    records: (shard: number) => `${tag(shard)}r:`,
    names: (shard: number) => `${tag(shard)}names`,
    expiry: (shard: number) => `${tag(shard)}expiry`,
    counts: (shard: number) => `${tag(shard)}c:`,
    of(key: string): readonly [record: string, names: string, expiry: string] {
      const shard = key === metaKey ? 0 : shardOf(key, shards)
      return [`${tag(shard)}r:${key}`, `${tag(shard)}names`, `${tag(shard)}expiry`]
    },
  }
}

const entryOf = (record: RedisReply): Entry | undefined =>
  typeof record === 'string' && record.startsWith(live)
    ? { value: record.slice(markLength + 1), mark: record.slice(1, markLength + 1) as Mark }
    : undefined

interface RedisStoreOptions extends RedisLayout {
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
}

interface Found {
  readonly key: string
  readonly value: string
}

/** Up to `limit` records of one shard; the place it reached where there may be more. */
const pageOf = (reply: RedisReply): { readonly place: string; readonly found: readonly Found[] } => {
  const [place = '', ...pairs] = reply as readonly string[]
  const found = pairs.flatMap((key, i) =>
    i % 2 === 0 ? { key, value: (pairs[i + 1] as string).slice(markLength + 1) } : [],
  )
  return { place, found }
}

/** Keys are ASCII: above every one of them that starts with the prefix, below every other that follows. */
const endOf = (prefix: string): string => `(${prefix}\u{10FFFF}`

export const createRedisStore = (
  driver: RedisDriver,
  { random, ...layout }: RedisStoreOptions,
): SweptStore => {
  const keys = createKeys(layout)
  const { all } = keys
  const newMark = (): Mark => encodeBase64url(random(16)) as Mark
  const listShard = async (shard: number, prefix: string, from: string, limit: number): Promise<Found[]> => {
    const found: Found[] = []
    for (let place = from; place !== '';) {
      const args = [place, endOf(prefix), String(limit - found.length), keys.records(shard)]
      const page = pageOf(await driver.run(list, [keys.names(shard)], args))
      found.push(...page.found)
      place = page.place === '' ? '' : `(${page.place}`
    }
    return found
  }
  return {
    get: async (key) => entryOf(await driver.get(keys.of(key)[0])),
    async put(key, value, { ttlMs, only } = {}) {
      const mode = only === undefined ? ['any'] : only === 'absent' ? ['absent'] : ['mark', only]
      const ttl = ttlMs === undefined ? '' : String(Math.ceil(ttlMs))
      const mark = await driver.run(put, keys.of(key), [key, newMark(), value, ttl, ...mode])
      return mark === null ? undefined : (mark as Mark)
    },
    take: async (key) => entryOf(await driver.run(take, keys.of(key), [key, newMark()])),
    async list(prefix, { after = '', limit = 100 } = {}) {
      const from = after >= prefix ? `(${after}` : `[${prefix}`
      const parts = await Promise.all(all.map((shard) => listShard(shard, prefix, from, limit)))
      if (parts.length === 1) return parts[0] as Found[]
      return parts
        .flat()
        .sort((a, b) => (a.key < b.key ? -1 : 1))
        .slice(0, limit)
    },
    async sweep(limit) {
      let gone = 0
      for (const shard of all) {
        if (gone === limit) break
        const args = [String(limit - gone), keys.records(shard)]
        gone += (await driver.run(sweep, [keys.names(shard), keys.expiry(shard)], args)) as number
      }
      return gone
    },
  }
}

/** All records, for a copy. */
export const createRedisRecords = (driver: RedisDriver, layout: RedisLayout): StoredRecords => {
  const keys = createKeys(layout)
  const pageOfShard = async (shard: number, after: string, limit: number): Promise<StoredRecord[]> => {
    for (let place = after; ;) {
      const args = [place === '' ? '-' : `(${place}`, String(limit), keys.records(shard)]
      const reply = await driver.run(records, [keys.names(shard)], args)
      const [last = '', ...found] = reply as readonly string[]
      const page: StoredRecord[] = []
      for (let i = 0; i < found.length; i += 3) {
        const [key = '', record = '', left = ''] = found.slice(i, i + 3)
        const ttlMs = Number(left) < 0 ? undefined : Number(left)
        page.push({ key, value: record.slice(markLength + 1), ttlMs })
      }
      // Names of records that are gone have not been swept yet.
      if (page.length > 0 || last === '') return page
      place = last
    }
  }
  return {
    async records(after, limit) {
      const pages = await Promise.all(keys.all.map((shard) => pageOfShard(shard, after, limit)))
      // A page may end before its limit, at names of records that are gone: what is beyond its end is not known yet.
      const ends = pages.flatMap((page) => (page.length > 0 ? [page.at(-1)?.key as string] : []))
      const end = ends.reduce((least, key) => (key < least ? key : least), '\u{10FFFF}')
      return pages
        .flat()
        .filter(({ key }) => key <= end)
        .sort((a, b) => (a.key < b.key ? -1 : 1))
        .slice(0, limit)
    },
  }
}

/** Everything that one action counts is in one hash tag. */
const countsIn = 0

export const createRedisCounters = (
  driver: RedisDriver,
  layout: RedisLayout,
  options: ComparedOptions,
): Counters => {
  const keys = createKeys(layout)
  const act = createComparedCounters(
    {
      async read(names) {
        const reply = await driver.run(
          readCounts,
          names.map((name) => `${keys.counts(countsIn)}${name}`),
          [],
        )
        const [now, ...pairs] = reply as readonly string[]
        const values = new Map<string, CountValues>()
        names.forEach((name, i) => {
          const [used = '', until] = [pairs[2 * i], pairs[2 * i + 1]]
          if (used !== '') values.set(name, { used: Number(used), until: Number(until) })
        })
        return { now: Number(now), values }
      },
      async write(changes) {
        const args = changes.flatMap(({ before, after, forMs }) => [
          before === undefined ? '' : String(before.used),
          after === undefined ? '' : String(after),
          String(forMs),
        ])
        const names = changes.map(({ name }) => `${keys.counts(countsIn)}${name}`)
        return (await driver.run(writeCounts, names, args)) === 1
      },
    },
    options,
  )
  return {
    act,
    async hit(key: string, { cost, limit, windowMs }: Hit): Promise<HitResult> {
      const name = `${keys.counts(shardOf(key, layout.shards))}calls ${key}`
      const reply = await driver.run(hit, [name], [cost, limit, windowMs].map(String))
      const [allowed, used, resetMs] = reply as readonly [number, number, number]
      return { allowed: allowed === 1, remaining: Math.max(0, limit - used), resetMs }
    },
  }
}
