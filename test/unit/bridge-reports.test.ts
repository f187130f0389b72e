// What the operator hears of a process that begins: that it takes long, and with what it wrote last.
import { beforeEach, describe, expect, it } from 'vitest'
import { type ReportedProcess, createReports } from '../../src/stdio/process-reports.ts'
import { createTestClock } from '../runtimes/clock.ts'

const clock = createTestClock()
const told: unknown[] = []
const reports = () =>
  createReports(
    (level, event, facts) => void (level === 'debug' || told.push([level, event, facts])),
    clock.now,
    clock.timer,
  )
const process = (spoke: boolean, complaint = ''): ReportedProcess =>
  ({ spoke: () => spoke, end: () => undefined, process: { pid: 7, complaint: () => complaint } }) as Partial<
    Record<keyof ReportedProcess, unknown>
  > as ReportedProcess

beforeEach(() => {
  told.length = 0
})

describe('a process that has not answered', () => {
  it('is told of after ten seconds, with what it wrote last', () => {
    reports().started('ana', process(false, '; last stderr line: npm http fetch GET 200'))
    clock.advance(9999)
    expect(told).toEqual([])
    clock.advance(1)
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
    reports().started('bea', process(false))
    clock.advance(10_000)
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
    reports().started('ana', process(true))
    reports().started('ana', process(false)).over()
    clock.advance(60_000)
    expect(told).toEqual([])
  })
})

describe('lines that are no messages', () => {
  it('are told of ten times a minute while calls wait, and once while none does', () => {
    const { unreadable } = reports().of(
      'ana',
      () =>
        ({ process: { pid: 7, conceal: (text: string) => text } }) as Partial<
          Record<keyof ReportedProcess, unknown>
        > as ReportedProcess,
    )
    for (let line = 0; line < 100; line++) unreadable('idle', false)
    for (let line = 0; line < 100; line++) unreadable('wait\u001b[0m\u0007ed', true)
    expect(told).toHaveLength(10)
    expect(told.at(-1)).toEqual([
      'warn',
      'process.unreadable',
      { owner: 'ana', pid: 7, waited: true, text: 'wait [0m ed' },
    ])
    clock.advance(60_000)
    unreadable('idle', false)
    expect(told).toHaveLength(11)
  })
})
