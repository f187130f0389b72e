// A domain and its label, in both directions.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { domainOfLabel, isDomain, labelOfDomain, mostDomainBytes } from '../../src/kit/encoded-hosts.ts'

const ofBytes = (bytes: number): string => `${'a'.repeat(bytes - 4)}.com`

describe('the label of a domain', () => {
  it('is what the first documents print', () => {
    expect(labelOfDomain('mcp.atlassian.com')).toBe('nvrxaltborwgc43tnfqw4ltdn5wq-enc')
    expect(labelOfDomain('MCP.Atlassian.com')).toBe('nvrxaltborwgc43tnfqw4ltdn5wq-enc')
    expect(domainOfLabel('nvrxaltborwgc43tnfqw4ltdn5wq-enc')).toBe('mcp.atlassian.com')
  })

  it('fits into a DNS label up to 36 bytes, and is not there beyond', () => {
    expect(mostDomainBytes).toBe(36)
    expect(labelOfDomain(ofBytes(36))).toHaveLength(62)
    expect(labelOfDomain(ofBytes(37))).toBeUndefined()
  })

  it('is a DNS label that leads back to the domain, whatever the domain', () => {
    const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/)
    fc.assert(
      fc.property(fc.tuple(label, label), ([one, two]) => {
        const domain = `${one}.${two}.com`
        fc.pre(domain.length <= mostDomainBytes)
        expect(labelOfDomain(domain)).toMatch(/^[a-z2-7]+-enc$/)
        expect(domainOfLabel(labelOfDomain(domain) as string)).toBe(domain)
      }),
    )
  })

  it('stands for nothing when it is written otherwise [H-K12]', () => {
    const label = 'nvrxaltborwgc43tnfqw4ltdn5wq'
    // Bits behind the last byte, padding, capitals, no suffix, foreign digits, nothing; an address, a name
    // with userinfo, a URL.
    const encoded = ['gezdolrqfyyc4mi', 'pbahs', 'nb2hi4dthixs64dfoixg63th'].map((text) => `${text}-enc`)
    for (const text of [
      `${label.slice(0, -1)}r-enc`,
      `${label}=-enc`,
      `${label.toUpperCase()}-enc`,
      label,
      '0189-enc',
      '-enc',
      '',
      'a-enc',
      ...encoded,
    ])
      expect([text, domainOfLabel(text)]).toEqual([text, undefined])
  })
})

describe('a domain', () => {
  it('is a public name and nothing else', () => {
    for (const name of ['mcp.atlassian.com', 'a.io', 'xn--bcher-kva.example.com', 'a-b.c-d.org'])
      expect([name, isDomain(name)]).toEqual([name, true])
    for (const name of [
      'localhost',
      'com',
      '127.0.0.1',
      '127.1',
      '0x7f.1',
      '[::1]',
      'a.local',
      'db.internal',
      'x@y.com',
      'a..com',
      '-a.com',
      'a_b.com',
      'A.com',
      'a.com.',
      'a.com:443',
      'a.com/x',
      '',
      'a.b.localhost',
      `${'a.'.repeat(127)}com`,
    ]) {
      expect([name, isDomain(name)]).toEqual([name, false])
    }
  })
})
