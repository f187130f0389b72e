// The pace limits: what counts against whom, what each kind of caller may do, and when a refused one may try again.
import { describe, expect, it } from 'vitest'
import { createLimit, paces } from '../../src/policy/rate.ts'

let time = 1_000_000
const now = (): number => time

const refused = (work: Promise<void>): Promise<string> =>
  work.then(
    () => 'counted',
    (error: { code: string }) => error.code,
  )

describe('a pace', () => {
  it('refuses the guess after the last with the time to wait [hostile P5]', async () => {
    const limit = createLimit({ now, loopback: true })
    for (let i = 0; i < paces['sign-in'].points; i++) await limit('sign-in', 'ana')
    await expect(limit('sign-in', 'ana')).rejects.toMatchObject({ code: 'rate.limited', detail: { headers: { 'retry-after': expect.stringMatching(/^\d+$/) as string } } })
    expect(await refused(limit('sign-in', 'ben'))).toBe('counted')
  })

  it('does not count a sign-in that was no guess', async () => {
    const limit = createLimit({ now, loopback: true })
    for (let i = 0; i < 50; i++) {
      await limit('sign-in', 'ana')
      await limit.forgive('sign-in', 'ana')
    }
    expect(await refused(limit('sign-in', 'ana'))).toBe('counted')
  })

  it('leaves registrations on a loopback gateway uncounted, where everybody has one address', async () => {
    const [local, open] = [createLimit({ now, loopback: true }), createLimit({ now, loopback: false })]
    for (let i = 0; i < paces.register.points; i++) await Promise.all([local('register', '127.0.0.1'), open('register', '192.0.2.1')])
    expect(await refused(local('register', '127.0.0.1'))).toBe('counted')
    expect(await refused(open('register', '192.0.2.1'))).toBe('rate.limited')
  })
  it('counts what a use costs', async () => {
    const limit = createLimit({ now, loopback: true })
    await limit('sign-in', 'ana', paces['sign-in'].points)
    expect(await refused(limit('sign-in', 'ana'))).toBe('rate.limited')
  })

  it('of all strangers together is wider than that of one address, and holds on loopback too [hostile R8]', async () => {
    const perHour = (pace: { readonly points: number; readonly seconds: number }): number => (pace.points * 3600) / pace.seconds
    expect(perHour(paces['kept-registrations'])).toBeGreaterThan(perHour(paces.register))
    expect(perHour(paces['kept-flows'])).toBeGreaterThan(perHour(paces.authorize))
    const limit = createLimit({ now, loopback: true })
    await limit('kept-flows', '', paces['kept-flows'].points)
    expect(await refused(limit('kept-flows', ''))).toBe('rate.limited')
  })

  it('begins anew when its minute is over, and says how much of it is left', async () => {
    const limit = createLimit({ now, loopback: true })
    for (let i = 0; i < paces['sign-in'].points; i++) await limit('sign-in', 'ana')
    time += 18_500
    await expect(limit('sign-in', 'ana')).rejects.toMatchObject({ detail: { headers: { 'retry-after': '42' } } })
    time += 41_499
    expect(await refused(limit('sign-in', 'ana'))).toBe('rate.limited')
    time += 1
    expect(await refused(limit('sign-in', 'ana'))).toBe('counted')
  })

  it('keeps its count while strangers come by the thousand, and memory for the latest of them alone', async () => {
    const limit = createLimit({ now, loopback: true })
    for (let i = 0; i < paces['sign-in'].points; i++) await limit('sign-in', 'ana')
    for (let i = 0; i < 40_000; i++) await limit('sign-in', `stranger ${i}`)
    expect(await refused(limit('sign-in', 'ana'))).toBe('rate.limited')
    for (let i = 0; i < 10_000; i++) await limit('sign-in', `crowd ${i}`)
    expect(await refused(limit('sign-in', 'ana'))).toBe('counted')
  })
})
