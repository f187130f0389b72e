// The keyed digest of arguments, put together by hand because that is quicker, against the one of node:crypto.
import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createMac } from '../../src/node/audit-thread.ts'
import { createAudit, jsonFields } from '../../src/kit/log.ts'

const expected = (key: Uint8Array, text: string): string =>
  createHmac('sha256', key).update(text).digest().subarray(0, 16).toString('base64url')

describe('the keyed digest', () => {
  const key = new Uint8Array(32).map((_, i) => i * 7)
  const mac = createMac(key)
  const texts = [
    '',
    'a',
    'local:ana\0echo\0{"id":42}',
    'ü€😀',
    'x'.repeat(1365),
    '€'.repeat(1366),
    '€'.repeat(50_000),
  ]

  it.each(texts.map((text) => [text.length, text]))('of %i characters is HMAC-SHA-256', (_, text) =>
    expect(mac(text)).toBe(expected(key, text)),
  )

  it('of a short text is not changed by a long one before it', () =>
    expect([mac('y'.repeat(9000)), mac('z')].at(1)).toBe(expected(key, 'z')))
})

describe('an event that is logged and kept', () => {
  it('is serialized once for both, without secrets', () => {
    const heard: unknown[] = []
    const audit = createAudit((_level, _event, _fields, _audit, json) => heard.push(json), {
      record: (_event, _body, _caller, json) => heard.push(json),
    })
    const event = { event: 'call', service: 'jira', access_token: 'hidden' }
    audit(event)
    expect(heard).toEqual([jsonFields(event), jsonFields(event)])
    expect(jsonFields(event)).not.toContain('hidden')
  })
})
