// What the audit trail keeps of an event, and what it never keeps.
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { canonicalJson } from '../../src/kit/bytes.ts'
import { cleanText, createRows, kinds, triedName } from '../../src/stores/audit-events.ts'
import { loggedKinds } from '../../src/stores/audit-log.ts'
import { csvCell, searchFields } from '../../src/stores/audit.ts'
import { codeOf, readRoot, sourcesIn } from '../structure/sources.ts'

const digest = (text: string): string => createHash('sha256').update(text).digest('base64url')
const rowsOf = createRows(digest)

/** Names of events that the code records, as they stand behind `event:`. */
const recorded = (): string[] => {
  const named = sourcesIn('src', '.ts')
    .filter(({ path }) =>
      /^src\/(?:oauth|identity|connections|proxy|policy|admin|flows|cli\/serve|gateway|status|node\/audit|stores\/audit-(?:append|batches|upkeep)|worker\/trail)/.test(
        path,
      ),
    )
    .flatMap(({ text }) => [...text.matchAll(/\bevent: '([\w.-]+)'|\bkind: '(audit\.[\w.-]+)'/g)])
    .map(([, event, own]) => event ?? own ?? '')
  return [
    ...new Set([
      ...named,
      ...loggedKinds,
      ...['opened', 'message', 'closed'].map((what) => `websocket.${what}`),
      ...['opened', 'closed'].map((what) => `stream.${what}`),
    ]),
  ].sort()
}

describe('the kinds of events', () => {
  it('are those that the code records, no more and no fewer', () => {
    expect(Object.keys(kinds).sort()).toEqual(recorded())
    const sockets = sourcesIn('src/proxy', '.ts').find(({ text }) =>
      text.includes('event: `websocket.${what}`'),
    )
    expect(codeOf(sockets?.text ?? '')).toContain('readonly what:')
  })

  it('are all explained in the guide', () => {
    const guide = readRoot('docs/guide/audit-trail.md')
    expect(Object.keys(kinds).filter((kind) => !guide.includes(`\`${kind}\``))).toEqual([])
    expect(searchFields.filter((field) => !new RegExp(`\`${field}[\`:]`).test(guide))).toEqual([])
  })

  it('a kind that is not in the table is not kept', () => expect(rowsOf({ event: 'made.up' }, 1)).toEqual([]))
})

describe('a row', () => {
  const call = {
    event: 'call',
    request_id: 'r1',
    ip: '192.0.2.7',
    service: 'jira',
    person: 'local:ana',
    client: 'c1',
    grant: 'g1',
    http: 'POST',
    method: 'tools/call',
    name: 'create_issue',
    result: 'answered',
    status: 200,
    refusal: undefined,
    why: undefined,
    rule: 'access.jira',
    is_error: true,
    flow: 'f1',
    first_byte_ms: 3,
    duration_ms: 4.4,
    bytes_in: 120,
    bytes_out: 900,
  }

  it('of a call says who, where, what and how it ended', () =>
    expect(
      rowsOf(call, 1000, {
        argumentsOf: (index, person, tool) => `${index} ${person} ${tool}`,
        subject: 'known',
      }),
    ).toEqual([
      {
        at: 1000,
        kind: 'call',
        person: 'local:ana',
        actor: null,
        client: 'c1',
        service: 'jira',
        method: 'tools/call',
        name: 'create_issue',
        decision: 'allowed',
        code: null,
        rule: 'access.jira',
        status: 200,
        is_error: 1,
        ms: 4,
        ip: '192.0.2.7',
        request: 'r1',
        flow: 'f1',
        grant: 'g1',
        digest: '0 local:ana create_issue',
        subject: 'known',
        detail: '{"http":"POST","result":"answered","first_byte_ms":3,"bytes_in":120,"bytes_out":900}',
      },
    ]))

  it.each([
    [{ result: 'refused', refusal: 'policy.tool', rule: 'deny[0]' }, 'denied', 'policy.tool', 'deny[0]'],
    [{ result: 'refused', refusal: 'scope.insufficient' }, 'step-up', 'scope.insufficient', 'access.jira'],
    [{ result: 'failed', refusal: 'upstream.timeout' }, 'failed', 'upstream.timeout', 'access.jira'],
    [{ result: 'aborted' }, 'failed', null, 'access.jira'],
  ])('of a call that ended with %o', (more, decision, code, rule) =>
    expect(rowsOf({ ...call, ...more }, 1)[0]).toMatchObject({ decision, code, rule }),
  )

  it('a batch has one row for each message', () => {
    const calls = [
      { method: 'tools/call', name: 'a', rule: 'one' },
      { method: 'ping', name: undefined, rule: 'two' },
    ]
    const rows = rowsOf({ ...call, batch: 2, calls }, 1, { argumentsOf: (index) => `d${index}` })
    expect(rows.map(({ method, name, rule, digest: of }) => [method, name, rule, of])).toEqual([
      ['tools/call', 'a', 'one', 'd0'],
      ['ping', null, 'two', null],
    ])
    expect(JSON.parse(rows[1]?.detail ?? '')).toMatchObject({ batch: 2, batch_index: 1 })
  })

  it('keeps nothing that has no place in the table, and nothing secret within what has', () => {
    const event = {
      event: 'service.added',
      token: 'tok',
      code_verifier: 'ver',
      after: { url: 'https://u:p@h.example/x?key=k#f', token: 't', list: [{ secret: 's', ok: 1 }] },
    }
    const [row] = rowsOf(event, 1)
    expect(row?.detail).toBe('{"after":{"url":"https://h.example/x","list":[{"ok":1}]}}')
    expect(JSON.stringify(row)).not.toContain('tok')
  })

  it('is cut to 4 KiB of detail, and says so', () => {
    const [row] = rowsOf(
      {
        event: 'client.registered',
        redirect_uris: Array.from({ length: 50 }, (_, i) => `https://h.example/${i}${'x'.repeat(240)}`),
      },
      1,
    )
    expect(row?.detail).toBe('{"cut":true}')
  })
})

describe('text from elsewhere', () => {
  it.each([
    ['https://app.example/cb?code=secret#x', 'https://app.example/cb'],
    ['https://user:pw@app.example/cb', 'https://app.example/cb'],
    ['a\u001B[2Jb\u202Ec\nd', 'a [2Jb c d'],
    ['Bearer abcdefghijkl', 'Bearer [redacted]'],
    ['x'.repeat(300), `${'x'.repeat(255)}…`],
  ])('%j is kept as %j', (text, kept) => expect(cleanText(text)).toBe(kept))

  it.each([
    ['ana', 'ana'],
    ['ana@example.com', 'ana@example.com'],
    ['administrator', 'administrator'],
    ['hunter2hunter', `sha256:${digest('hunter2hunter').slice(0, 12)}`],
  ])('the name %j tried at a sign-in is kept as %j', (name, kept) =>
    expect(triedName(name, digest)).toBe(kept),
  )
})

describe('the canonical form of JSON (RFC 8785)', () => {
  it.each([
    // §3.2.2 and §3.2.3
    [
      '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}',
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    ],
    [
      '{"\\u20ac":1,"\\r":2,"\\ufb33":3,"1":4,"\\ud83d\\ude00":5,"\\u0080":6,"\\u00f6":7}',
      '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}',
    ],
    ['{"b":{"d":1,"c":[]},"a":-0}', '{"a":0,"b":{"c":[],"d":1}}'],
  ])('%s', (text, canonical) => expect(canonicalJson(JSON.parse(text))).toBe(canonical))

  it('has no text for a lone surrogate', () => {
    expect(canonicalJson({ a: '\uD800' })).toBeUndefined()
    expect(canonicalJson({ '\uDC00': 1 })).toBeUndefined()
  })
})

describe('a cell of CSV', () => {
  it.each([
    ['a,b', '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ['=1+1', "'=1+1"],
    ['@x\n', `"'@x\n"`],
    [null, ''],
    [5, '5'],
  ])('%j is %j', (value, cell) => expect(csvCell(value)).toBe(cell))
})
