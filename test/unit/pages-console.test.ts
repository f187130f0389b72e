// What stands on the pages of the console, read from their HTML.
import { describe, expect, test } from 'vitest'
import { createAssets } from '../../src/pages/assets.ts'
import { createConsolePages } from '../../src/pages/console/pages.ts'
import { consoleStates } from '../pages/console-states.ts'
import { hostileNames } from '../pages/states.ts'

const states = consoleStates(createConsolePages({ issuer: 'https://mcp.example.com', version: '0.1.0' }))
const textOf = async (name: string): Promise<string> => (await states[name]?.().text()) ?? ''
const assets = createAssets()

/** Its form token, which hidden fields carry. */
const posts =
  /<form method="post" action="([^"]+)" class="[^"]*">(<input type="hidden" name="csrf" value="x9f2">)?/g

describe('every page of the console', () => {
  test.each(Object.keys(states))(
    '%s is whole without a script, and holds nothing inline or foreign',
    async (name) => {
      const response = states[name]?.()
      const text = (await response?.text()) ?? ''
      expect(response?.headers.get('content-security-policy')).toContain("default-src 'none'")
      expect(response?.headers.get('cross-origin-opener-policy')).toBe('same-origin')
      expect(text).not.toMatch(
        /<style|<script(?! src="\/assets\/postern\.[0-9a-f]{8}\.js" defer><\/script>)|\son[a-z]+="|\sstyle="|javascript:/,
      )
      for (const [, path = ''] of text.matchAll(/<(?:link|script)[^>]* (?:href|src)="([^"]*)"/g))
        expect([path, assets(path)?.status]).toEqual([path, 200])
      expect(text).not.toMatch(/<img|<i>|<script>/)
      expect(text.match(/<h1/g)).toHaveLength(1)
      expect(text.match(/ id="([^"]+)"/g)).toEqual([...new Set(text.match(/ id="([^"]+)"/g))])
      for (const [, action, csrf] of text.matchAll(posts)) {
        expect(action).toMatch(
          /^\/(?:console(?:\/[a-z]+){0,2}(?:\?(?:user|client|service)=[^"&]*(?:&amp;set=[^"&]*)*)?|logout)$/,
        )
        expect(csrf).toBe('<input type="hidden" name="csrf" value="x9f2">')
      }
      // Each page says how to do the same in a terminal.
      expect(text).toMatch(/Same in a terminal<\/span><code class="copy" data-what="command">postern [a-z]+ /)
      expect(text.match(/aria-current="page"/g)).toHaveLength(1)
    },
  )

  test('counts in the navigation what its first sentence says', async () => {
    const text = await textOf('console-overview-locked')
    expect(text).toContain('<h1>9 people, 14 clients, 6 services. 7 things need you.</h1>')
    const flags = [...text.matchAll(/<span class="flag [^"]*"><svg.*?<\/svg>(\d+)</g)].map(([, n]) =>
      Number(n),
    )
    expect(flags).toEqual([2, 1, 3, 1])
    const rows = text.slice(text.indexOf('Needs attention'), text.indexOf('Recent logins'))
    expect(rows.match(/<(?:a class="btn sm"|button class="btn sm")/g)).toHaveLength(7)
    expect(await textOf('console-overview-off')).toContain('Nothing needs you.</h1>')
  })
})

describe('the overview', () => {
  test('says how to switch on what is off, and shows no empty box for it', async () => {
    const text = await textOf('console-overview-off')
    expect(text).toContain('Logins are not recorded. Add <code>flows: {}</code>')
    expect(text).not.toContain('class="funnel"')
    expect(await textOf('console-flows-off')).toContain('add <code>flows: {}</code>')
  })
  test('of a gateway that nobody has used is a list of first steps, which is gone afterwards', async () => {
    const first = await textOf('console-overview-first')
    expect(first).toContain('postern services add ID URL')
    expect(first.match(/<b>[^<]+<\/b><span class="vh"> \(done\)/g)).toHaveLength(1)
    expect(await textOf('console-overview')).not.toContain('postern services add')
  })
  test('leads from each part of the funnel to the logins that stopped there', async () => {
    const text = await textOf('console-overview')
    const drops = [...text.matchAll(/flows\?stopped=([a-z-]+)">([^<]+)</g)].map(([, step, say]) => [
      step,
      say,
    ])
    expect(drops).toEqual([
      ['sign-in', '2 left at sign-in'],
      ['consent', '2 did not allow'],
      ['token', '1 fetched no token'],
      ['call', '2 never called'],
    ])
  })
})

describe('a changed definition', () => {
  test('is compared word by word, and approved by the digest that was shown', async () => {
    const text = await textOf('console-changes')
    expect(text).toContain('Move an issue to another status. <del>Only transitions')
    expect(text).toContain('Move an issue to another status. <ins>Always include')
    expect(text.match(/name="digest" value="uP0d0v"/g)).toHaveLength(3)
    // Two buttons of equal weight; what is blocked already is not blocked again.
    expect(text.match(/<button class="btn danger">Block<\/button>/g)).toHaveLength(2)
    expect(text).not.toContain('btn primary')
    expect(text).toContain('5 definitions wait for your decision')
  })
  test('says whether it can be used meanwhile', async () => {
    const text = await textOf('console-changes')
    expect(text).toContain('Blocked for everyone until you decide.')
    expect(text).toContain('Clients can use this tool meanwhile.')
  })
})

describe('the matrix of access rules', () => {
  test('has a select for each cell that can be changed, and the line of the file for the others', async () => {
    const text = await textOf('console-changes-matrix')
    expect(text.match(/<select class="pick"/g)).toHaveLength(8 * 5 - 5 - 5)
    expect(text).toContain('aria-label="create_issue for support"')
    expect(text).toContain('aria-label="create_issue for everyone"')
    expect(text.match(/<span class="sub">postern\.yaml:41<\/span>/g)).toHaveLength(10)
    expect(text).not.toContain('savebar')
    expect(await textOf('console-changes-fixed')).not.toContain('class="pick"')
  })
  test('says what changes would have meant before they are saved', async () => {
    const text = await textOf('console-changes-access')
    expect(text).toContain('<b>1 change.</b> 41 calls of the last 7 days would have been refused, by')
    expect(text).toContain('3 cannot be said.')
    expect(text).toContain('name="set0" value="never:support:list_worklogs"')
    // What cannot be is not offered to be saved.
    expect(await textOf('console-changes-access-hostile')).not.toContain('Save changes')
  })
})

describe('a flow', () => {
  test('has its finding as a title, who must act, and the place where it stopped', async () => {
    const text = await textOf('console-flow')
    expect(text).toContain('<h1>Claude has a token and has not used it</h1>')
    expect(text).toContain('<b>The client has to act</b>')
    expect(text.match(/<li class="gap">/g)).toHaveLength(1)
    expect(text).toContain('<b>Expected: the first call.</b>')
    expect(text).toContain('<dt>First call</dt><dd><del>after 18.0 s</del> <ins>none</ins></dd>')
  })
  test('that the user ended has the refused step as its last row, and nothing expected', async () => {
    const text = await textOf('console-flow-cancelled')
    expect(text.match(/<li class="gap">/g)).toHaveLength(1)
    expect(text).toContain('<b>The user chose Cancel.</b> <code>consent.denied</code>')
    expect(text).not.toContain('Expected:')
  })
  test('shows texts of strangers as text, without what cannot be seen', async () => {
    for (const name of ['console-flow-hostile', 'console-flows-hostile', 'console-changes-hostile']) {
      const text = await textOf(name)
      expect([name, /[\u202a-\u202e\u2066-\u2069]/.test(text)]).toEqual([name, false])
      expect(text).not.toContain(hostileNames.markup)
    }
  })
})
