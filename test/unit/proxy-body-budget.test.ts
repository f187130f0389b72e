// What callers' unfinished calls may keep in memory: a share for each caller, a half for people, a half for
// strangers.
import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kit/refusal.ts'
import type { Principal } from '../../src/ports/people.ts'
import { createBodyBudget, uncountedBytes, weightOf } from '../../src/proxy/callers.ts'

const person = (subject: string): Principal =>
  ({
    person: { provider: 'local', subject },
    personKey: `local:${subject}`,
    clientId: 'c',
    grantId: 'g',
    scopes: [],
  }) as unknown as Principal
const mib = 1 << 20
const codeOf = (run: () => void): string => {
  try {
    run()
  } catch (error) {
    return error instanceof Refusal ? error.code : String(error)
  }
  return 'passed'
}

describe('the bytes that callers may keep', () => {
  // 64 MiB: 32 for people and 32 for strangers, 8 for one caller.
  it('are a quarter of their half for one caller, whatever the number of calls', () => {
    const budget = createBodyBudget(64 * mib)
    const held = Array.from({ length: 8 }, () => budget.open(person('ana'), '192.0.2.1'))
    for (const each of held) each.grow(mib)
    const ninth = budget.open(person('ana'), '192.0.2.2')
    expect(codeOf(() => ninth.grow(mib))).toBe('calls.bytes')
    expect(codeOf(() => ninth.grow(uncountedBytes))).toBe('passed')
    expect(codeOf(() => budget.open(person('bo'), '192.0.2.1').grow(mib))).toBe('passed')
    held[0]?.release()
    expect(codeOf(() => ninth.grow(mib))).toBe('passed')
  })

  it('of somebody who keeps nothing else are as many as one message may have, while others leave room', () => {
    const budget = createBodyBudget(64 * mib)
    const [large, second] = [budget.open(undefined, '192.0.2.1'), budget.open(undefined, '192.0.2.1')]
    large.grow(20 * mib)
    large.grow(60 * mib)
    expect(codeOf(() => second.grow(mib))).toBe('calls.bytes')
    expect(codeOf(() => budget.open(undefined, '192.0.2.2').grow(mib))).toBe('calls.bytes')
    expect(codeOf(() => budget.open(person('ana'), '192.0.2.2').grow(30 * mib))).toBe('passed')
    large.release()
    expect(codeOf(() => second.grow(mib))).toBe('passed')
  })

  it('of strangers take nothing from people, and what is given back is there again', () => {
    const budget = createBodyBudget(64 * mib)
    const strangers = Array.from({ length: 4 }, (_, i) => budget.open(undefined, `192.0.2.${i}`))
    for (const each of strangers) each.grow(8 * mib)
    expect(codeOf(() => budget.open(undefined, '198.51.100.1').grow(mib))).toBe('calls.bytes')
    expect(codeOf(() => budget.open(person('ana'), '192.0.2.1').grow(8 * mib))).toBe('passed')
    for (const each of strangers) {
      each.release()
      each.release()
    }
    const again = Array.from({ length: 4 }, (_, i) => budget.open(undefined, `192.0.2.${i}`))
    expect(again.map((each) => codeOf(() => each.grow(8 * mib)))).toEqual([
      'passed',
      'passed',
      'passed',
      'passed',
    ])
  })

  it('count values, not only characters', () => {
    expect(weightOf(4 * mib, 1_398_101)).toBeGreaterThan(60 * mib)
    expect(weightOf(1000, 10)).toBe(2400)
  })
})
