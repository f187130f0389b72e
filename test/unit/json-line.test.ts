// One event, one line, for every reader of lines.
import { describe, expect, it } from 'vitest'
import { jsonLine } from '../../src/kit/log.ts'

describe('a line of JSON', () => {
  it('holds no character that ends a line or drives a terminal, and reads back as it was [H-V3]', () => {
    const text = Array.from({ length: 0x3000 }, (_, i) => String.fromCharCode(i)).join('')
    const line = jsonLine({ text })
    expect(line).not.toMatch(/[\u0000-\u001F\u007F-\u009F\u2028\u2029]/)
    expect(line.split(/\r\n|[\n\v\f\r\u001C-\u001E\u0085\u2028\u2029]/)).toHaveLength(1)
    expect(JSON.parse(line)).toEqual({ text })
    expect(jsonLine({ a: 'ä 山' })).toBe('{"a":"ä 山"}')
  })
})
