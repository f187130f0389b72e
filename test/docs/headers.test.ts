// docs/reference/headers.md names what the code drops and writes, no more and no less.
import { describe, expect, it } from 'vitest'
import { hopByHop } from '../../src/kit/http.ts'
import { presets } from '../../src/proxy/identity-headers.ts'
import { droppedNames, droppedPrefixes, droppedWords } from '../../src/proxy/inbound-request.ts'
import { readRoot } from '../structure/sources.ts'

const page = readRoot('docs/reference/headers.md')
const block = (name: string): string[] =>
  (new RegExp(`\`\`\`${name}\n([^\`]*)\`\`\``).exec(page)?.[1] ?? '').split(/\s+/).filter(Boolean)

describe('the reference of headers', () => {
  it('lists every name that never reaches a server', () => {
    expect(block('names').toSorted()).toEqual([...new Set([...droppedNames, ...hopByHop])].toSorted())
    expect(block('prefixes')).toEqual([...droppedPrefixes])
    expect(block('words')).toEqual([...droppedWords])
  })

  it.each(Object.entries(presets))('lists the headers of preset %s in their order', (preset, fields) => {
    const row = page.split('\n').find((line) => new RegExp(`^\\| \`${preset}\``).test(line)) ?? ''
    expect([...row.matchAll(/`([Xx]-[^`]+)`/g)].map((match) => match[1])).toEqual(
      fields.map(([name]) => name),
    )
  })
})
