// Server-sent events as a relay sees them.
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../src/kit/bytes.ts'
import { endsLine, isEventStream, keepAliveComment } from '../../src/kit/sse.ts'

describe('an event stream', () => {
  it('is known by its media type', () => {
    for (const type of ['text/event-stream', 'Text/Event-Stream; charset=utf-8', ' text/event-stream;'])
      expect(isEventStream(type)).toBe(true)
    for (const type of [
      undefined,
      '',
      'application/json',
      'text/event-streams',
      'x-text/event-stream',
      'text/event-stream; a, text/html',
    ])
      expect(isEventStream(type)).toBe(false)
  })

  it('takes a comment only behind a whole line', () => {
    for (const piece of ['data: x\n', '\n', 'data: x\r\n']) expect(endsLine(utf8(piece))).toBe(true)
    for (const piece of ['data: x', 'data: x\r', '']) expect(endsLine(utf8(piece))).toBe(false)
    expect(keepAliveComment).toMatch(/^:[^\r\n]*\n\n$/)
  })
})
