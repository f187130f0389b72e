// The URL generator: a server's domain in, its encoded host out, as JSON and as a page. Encoding a domain
// makes nothing reachable.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { signInAs } from '../runtimes/administrator.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { person } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const atlassian = 'nvrxaltborwgc43tnfqw4ltdn5wq-enc.root.localhost'

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let upstream: Upstream
  let plain: TestGateway
  const encode = (query: string, accept = 'application/json', at = house): Promise<Response> =>
    at.fetch(`${at.origin}/encode${query}`, { headers: { accept } })
  const json = async (query: string): Promise<unknown> => (await encode(query)).json()
  const page = async (query: string): Promise<{ status: number; text: string }> => {
    const answer = await encode(query, 'text/html')
    return {
      status: answer.status,
      text: (await answer.text())
        .replaceAll(/<(?:style|script)[^]*?<\/(?:style|script)>|<wbr>/g, '')
        .replaceAll(/<[^>]*>/g, ' ')
        .replaceAll(/\s+/g, ' '),
    }
  }

  beforeAll(async () => {
    upstream = await openUpstream()
    const long = `https://${'a'.repeat(40)}.com/mcp`
    const same = 'https://two.example.com/mcp'
    house = await open({
      upstream: upstream.url,
      config: {
        domain_root: 'root.localhost',
        mcp_services: {
          jira: { url: 'https://mcp.atlassian.com/v1/mcp' },
          long: { url: long, alias: 'long' },
          work: { url: same, alias: 'work' },
          home: { url: same, alias: 'home' },
        },
      },
    })
    plain = await open({ upstream: upstream.url })
  }, 120_000)
  afterAll(async () => {
    await Promise.all([house.close(), plain.close()])
    await upstream.close()
  })

  it('encodes any public domain, alone or in a URL, and says whether anybody is served there', async () => {
    const origin = (host: string): string => house.origin.replace('localhost', host)
    const registered = {
      domain: 'mcp.atlassian.com',
      host: atlassian,
      url: `${origin(atlassian)}/v1/mcp`,
      registered: true,
      services: [{ id: 'jira', url: `${origin(atlassian)}/v1/mcp`, sse: `${origin(atlassian)}/v1/sse` }],
    }
    for (const asked of [
      'mcp.atlassian.com',
      'MCP.Atlassian.COM',
      'https://mcp.atlassian.com/v1/sse?x=1',
      '%20mcp.atlassian.com%20',
      'https%3A%2F%2Fmcp.atlassian.com%3A8443',
    ])
      expect([asked, await json(`?domain=${asked}`)]).toEqual([asked, registered])
    expect(await json('?domain=evil.test')).toEqual({
      domain: 'evil.test',
      host: 'mv3gs3boorsxg5a-enc.root.localhost',
      url: origin('mv3gs3boorsxg5a-enc.root.localhost'),
      registered: false,
      services: [],
    })
    // A domain too long for a label, and one that stands for nobody because each of its servers has a name of
    // its own.
    expect(await json(`?domain=${'a'.repeat(40)}.com`)).toMatchObject({
      host: 'long-enc.root.localhost',
      registered: true,
    })
    expect(await json('?domain=two.example.com')).toMatchObject({
      host: 'work-enc.root.localhost',
      services: [
        { id: 'work', url: `${origin('work-enc.root.localhost')}/mcp` },
        { id: 'home', url: `${origin('home-enc.root.localhost')}/mcp` },
      ],
    })
    expect(upstream.heard).toEqual([])
  })

  it('says in the words of the first gateway that the domain is missing, and why another cannot be encoded', async () => {
    for (const query of ['', '?domain=', '?domain=%20', '?other=1']) {
      const answer = await encode(query)
      expect([query, answer.status, await answer.json()]).toMatchObject([
        query,
        400,
        { error_description: 'Missing domain parameter' },
      ])
      // As curl and most programs ask.
      const plain = await house.fetch(`${house.origin}/encode${query}`, { headers: { accept: '*/*' } })
      expect([plain.status, plain.headers.get('content-type'), await plain.json()]).toMatchObject([
        400,
        'application/json',
        { code: 'encode.domain', error_description: 'Missing domain parameter' },
      ])
    }
    for (const domain of [
      '127.0.0.1',
      'localhost',
      '[::1]',
      'x@y.com',
      'a b.com',
      'intranet',
      'http://10.0.0.1/',
      '2130706433',
      'mcp.example.com\\@evil.test',
    ]) {
      const answer = await encode(`?domain=${encodeURIComponent(domain)}`)
      expect([domain, answer.status, await answer.json()]).toMatchObject([
        domain,
        400,
        { error_description: expect.stringContaining('Enter a public domain') },
      ])
    }
    const answer = await encode(`?domain=${'b'.repeat(33)}.com`)
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      {
        error_description:
          'The domain is too long: 37 bytes, and the limit is 36. Set a short alias for the service in the configuration.',
      },
    ])
    expect(await json(`?domain=${'b'.repeat(32)}.com`)).toMatchObject({
      registered: false,
      host: expect.stringMatching(/^[a-z2-7]{58}-enc\.root\.localhost$/),
    })
  })

  it('is a page in a browser, that shows what it was asked and runs nothing of it', async () => {
    expect(await page('')).toMatchObject({ status: 200, text: expect.stringContaining('Server domain') })
    expect((await page('?domain=mcp.atlassian.com')).text).toContain(
      `${house.origin.replace('localhost', atlassian)}/v1/mcp`,
    )
    expect((await page('?domain=evil.test')).text).toContain('No server configured for this domain')
    expect(await page(`?domain=${'b'.repeat(33)}.com`)).toMatchObject({
      status: 400,
      text: expect.stringContaining('37 bytes'),
    })
    const bent = await encode(`?domain=${encodeURIComponent('"><script>alert(1)</script>')}`, 'text/html')
    expect([bent.status, (await bent.text()).includes('<script>alert')]).toEqual([400, false])
  })

  it('is found from the page of a signed-in person, where there are encoded hosts', async () => {
    for (const [at, found] of [
      [house, true],
      [plain, false],
    ] as const) {
      const { browser } = await signInAs(at, person)
      expect((await browser.go(`${at.origin}/`)).body.includes('href="/encode"')).toBe(found)
    }
    // What is opened in a browser names the endpoint that the clients on its page speak to, whichever of the
    // two it was.
    const opened = await house.fetch(`${house.origin}/jira/sse`, { headers: { accept: 'text/html' } })
    expect([
      opened.status,
      (await opened.text()).replaceAll(/<[^>]*>/g, '').includes(`${house.origin}/jira/mcp`),
    ]).toEqual([200, true])
  })

  it('is not there without a domain to encode under', async () => {
    for (const accept of ['application/json', 'text/html']) {
      const answer = await encode('?domain=mcp.atlassian.com', accept, plain)
      expect([accept, answer.status, (await answer.text()).includes('DOMAIN_ROOT')]).toEqual([
        accept,
        404,
        true,
      ])
    }
  })
})
