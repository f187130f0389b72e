// Which generation of a refresh token answers the one that was presented: the rule alone, with time and
// networks as plain values.
import { describe, expect, it } from 'vitest'
import {
  type LateRepeat,
  judgeRefresh,
  movedOn,
  replacedNewest,
} from '../../src/oauth/grant-refresh-token.ts'
import type { Rotation } from '../../src/oauth/grant.ts'

const graceMs = 60_000
const start: Rotation = { generation: 0, usedAt: {}, keyIds: { 0: 'a' } }
const step = (now: number, by = 'home', keyId = 'k') => ({ now, graceMs, keyId, by })
const ask = (
  rotation: Rotation,
  generation: number,
  now: number,
  from = 'home',
  lateRepeat: LateRepeat = 'by-network',
) =>
  judgeRefresh(rotation, {
    generation,
    now,
    graceMs,
    lateRepeat,
    isHere: (network) => network === undefined || network === from,
  })
const repeat = (successor: number, late = false) => ({ kind: 'repeat', successor, late })
const reuse = { kind: 'reuse' }

describe('a presented generation', () => {
  it('moves the grant on when it is the newest', () => expect(ask(start, 0, 0)).toEqual({ kind: 'advance' }))

  it('within the grace gets the same successor, whoever asks', () => {
    const once = movedOn(start, step(1000))
    for (const from of ['home', 'elsewhere']) expect(ask(once, 0, 60_999, from)).toEqual(repeat(1))
  })

  it('gets it again for the grace after that was used, and is a reuse afterwards', () => {
    const twice = movedOn(movedOn(start, step(0)), step(1000))
    for (const from of ['home', 'elsewhere']) expect(ask(twice, 0, 60_999, from)).toEqual(repeat(1))
    for (const rule of ['by-network', 'allow', 'refuse'] as const)
      expect(ask(twice, 0, 61_000, 'home', rule)).toEqual(reuse)
  })

  it('is a reuse when its successor was used too long ago to be remembered', () =>
    expect(ask({ ...start, generation: 9 }, 1, 0)).toEqual(reuse))

  it('is remembered no longer than the grace, and its key as long as it may be asked for', () => {
    const one = movedOn({ ...start, keyIds: { 0: 'a' } }, step(1000, 'home', 'b'))
    const two = movedOn(one, step(2000, 'away', 'c'))
    expect([two.generation, two.usedAt, two.usedBy, two.keyIds]).toEqual([
      2,
      { 0: 1000, 1: 2000 },
      { 0: 'home', 1: 'away' },
      { 0: 'a', 1: 'b', 2: 'c' },
    ])
    const three = movedOn(two, step(100_000, 'home', 'd'))
    expect([three.usedAt, three.usedBy, three.keyIds]).toEqual([
      { 2: 100_000 },
      { 2: 'home' },
      { 2: 'c', 3: 'd' },
    ])
    const busy = Array.from({ length: 500 }).reduce<Rotation>((grown) => movedOn(grown, step(5000)), start)
    expect(Object.keys(busy.usedAt)).toHaveLength(200)
  })
})

describe('a late repeat while the successor is unused', () => {
  const once = movedOn(start, step(0))

  it('from the same network gets the same successor, however late', () => {
    expect(ask(once, 0, 60_000)).toEqual(repeat(1, true))
    expect(ask(once, 0, 1e12)).toEqual(repeat(1, true))
  })

  it('from elsewhere has the successor replaced', () => {
    expect(ask(once, 0, 60_000, 'office')).toEqual({ kind: 'replace', parent: 0 })
    const replaced = replacedNewest(once, 0, step(60_000, 'office'))
    expect(replaced.generation).toBe(2)
    expect(ask(replaced, 2, 70_000, 'anywhere')).toEqual({ kind: 'advance' })
  })

  it("is everybody's where it is allowed, and a reuse where it is refused", () => {
    expect(ask(once, 0, 60_000, 'office', 'allow')).toEqual(repeat(1, true))
    for (const from of ['home', 'office']) expect(ask(once, 0, 60_000, from, 'refuse')).toEqual(reuse)
    expect(ask(once, 0, 59_999, 'office', 'refuse')).toEqual(repeat(1))
  })

  it('of a grant of 0.1.0, which kept no networks, gets the same successor', () => {
    const kept = { generation: 3, usedAt: { 2: 0 }, keyIds: { 2: 'a', 3: 'a' } }
    expect(ask(kept, 2, 1e12)).toEqual(repeat(3, true))
    expect(ask(kept, 2, 1e12, 'elsewhere', 'refuse')).toEqual(reuse)
  })
})

describe('after a replacement', () => {
  const replaced = replacedNewest(movedOn(start, step(0)), 0, step(100_000, 'office'))

  it('the parent gets the replacement: from anywhere within the grace, later from both networks that asked', () => {
    expect(ask(replaced, 0, 159_999, 'third')).toEqual(repeat(2))
    for (const from of ['home', 'office']) expect(ask(replaced, 0, 160_000, from)).toEqual(repeat(2, true))
    expect(ask(replaced, 0, 160_000, 'third')).toEqual({ kind: 'replace', parent: 0 })
  })

  it('the replaced one stands for the replacement where that was handed out, and ends the grant everywhere else, at once', () => {
    expect(ask(replaced, 1, 100_001, 'office')).toEqual({ kind: 'advance' })
    for (const at of [100_001, 1e12])
      for (const from of ['home', 'third']) expect(ask(replaced, 1, at, from)).toEqual(reuse)
    expect(ask(replaced, 1, 100_001, 'home', 'allow')).toEqual({ kind: 'advance' })
    expect(ask(replaced, 1, 100_001, 'office', 'refuse')).toEqual(reuse)
  })

  it('it goes on standing for it once that was used, as long as that itself would be answered', () => {
    const used = movedOn(replaced, step(200_000, 'office'))
    expect([ask(used, 1, 210_000, 'office'), ask(used, 2, 210_000, 'office')]).toEqual([repeat(3), repeat(3)])
    expect([ask(used, 1, 900_000, 'office'), ask(used, 2, 900_000, 'office')]).toEqual([
      repeat(3, true),
      repeat(3, true),
    ])
    expect(ask(used, 1, 210_000, 'home')).toEqual(reuse)
    expect(ask(used, 0, 259_999, 'home')).toEqual(repeat(2))
    expect(ask(used, 0, 260_000, 'home')).toEqual(reuse)
    const later = movedOn(used, step(300_000, 'office'))
    expect([ask(later, 1, 310_000, 'office'), ask(later, 1, 360_000, 'office')]).toEqual([repeat(3), reuse])
    const muchLater = movedOn(later, step(500_000, 'office'))
    expect([muchLater.next, muchLater.replaced]).toEqual([{}, {}])
    for (const old of [0, 1, 2]) expect(ask(muchLater, old, 500_001, 'office')).toEqual(reuse)
  })

  it('of several the chain is followed only by who may follow each step', () => {
    const again = replacedNewest(replaced, 0, step(200_000, 'train'))
    expect(ask(again, 3, 200_001, 'train')).toEqual({ kind: 'advance' })
    expect(ask(again, 2, 200_001, 'train')).toEqual({ kind: 'advance' })
    for (const from of ['office', 'train', 'home']) expect(ask(again, 1, 200_001, from)).toEqual(reuse)
    expect(ask(again, 2, 200_001, 'office')).toEqual(reuse)
  })

  it('never makes an older one look like the parent of the newest, however many replacements are forgotten', () => {
    let grown = movedOn(start, step(0))
    for (let i = 0; i < 500; i++) grown = replacedNewest(grown, 0, step(100_000 + i, `network ${i}`))
    expect(Object.keys(grown.replaced ?? {})).toHaveLength(200)
    for (let old = 1; old < grown.generation; old++) expect(ask(grown, old, 1e9, 'elsewhere')).toEqual(reuse)
    expect(ask(grown, 0, 1e9, 'network 499')).toEqual(repeat(grown.generation, true))
  })
})
