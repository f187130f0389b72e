// What the operator hears of a process that begins: that it takes long, and with what it wrote last.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { JsonRpcPeer } from '../../src/stdio/json-rpc-peer.ts'
import { createReports } from '../../src/stdio/process-reports.ts'

const told: unknown[] = []
const reports = () =>
  createReports(
    (level, event, facts) => void (level === 'debug' || told.push([level, event, facts])),
    () => Date.now(),
  )
const channel = (spoke: boolean, complaint = ''): JsonRpcPeer =>
  ({ spoke: () => spoke, end: () => undefined, process: { pid: 7, complaint: () => complaint } }) as Partial<
    Record<keyof JsonRpcPeer, unknown>
  > as JsonRpcPeer

beforeEach(() => {
  told.length = 0
  vi.useFakeTimers()
})
afterEach(() => vi.useRealTimers())

describe('a process that has not answered', () => {
  it('is told of after ten seconds, with what it wrote last', () => {
    reports().started('ana', channel(false, '; last stderr line: npm http fetch GET 200'))
    vi.advanceTimersByTime(9999)
    expect(told).toEqual([])
    vi.advanceTimersByTime(1)
    expect(told).toEqual([
      [
        'warn',
        'process.slow-start',
        {
          owner: 'ana',
          pid: 7,
          message: 'has not answered for 10 s since its start; last stderr line: npm http fetch GET 200',
        },
      ],
    ])
    reports().started('bea', channel(false))
    vi.advanceTimersByTime(10_000)
    expect(told.at(-1)).toEqual([
      'warn',
      'process.slow-start',
      {
        owner: 'bea',
        pid: 7,
        message: 'has not answered for 10 s since its start; it wrote nothing to standard error',
      },
    ])
  })

  it('is not told of when it answered meanwhile, or ended', () => {
    reports().started('ana', channel(true))
    reports().started('ana', channel(false)).over()
    vi.advanceTimersByTime(60_000)
    expect(told).toEqual([])
  })
})

describe('lines that are no messages', () => {
  it('are told of ten times a minute while calls wait, and once while none does', () => {
    const { unreadable } = reports().of(
      'ana',
      () =>
        ({ process: { pid: 7, conceal: (text: string) => text } }) as Partial<
          Record<keyof JsonRpcPeer, unknown>
        > as JsonRpcPeer,
    )
    for (let line = 0; line < 100; line++) unreadable('idle', false)
    for (let line = 0; line < 100; line++) unreadable('wait\u001b[0m\u0007ed', true)
    expect(told).toHaveLength(10)
    expect(told.at(-1)).toEqual([
      'warn',
      'process.unreadable',
      { owner: 'ana', pid: 7, waited: true, text: 'wait [0m ed' },
    ])
    vi.advanceTimersByTime(60_000)
    unreadable('idle', false)
    expect(told).toHaveLength(11)
  })
})
