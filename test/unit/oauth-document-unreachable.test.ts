// A client metadata document that this gateway cannot reach: the app is not blamed, the operator reads why,
// and may have apps register instead.
import { describe, expect, it } from 'vitest'
import { ask, exchange } from './oauth-steps.ts'
import { createWorld } from './oauth-world.ts'

const url = 'https://cimd.test/client.json'
const client = { id: url, redirectUri: 'https://app.test/cb' }
const document = { client_id: url, client_name: 'Doc app', redirect_uris: ['https://app.test/cb'] }

describe('a client whose document this gateway cannot reach', () => {
  const at = 'The client metadata document of the app at cimd.test could not be fetched'
  it.each([
    [
      { why: 'https://cimd.test: getaddrinfo ENOTFOUND cimd.test' },
      `${at}: its name could not be resolved (DNS).`,
    ],
    [{ why: 'https://cimd.test: connect ECONNREFUSED 192.0.2.1:443' }, `${at}: it refused the connection.`],
    [
      { why: 'https://cimd.test: the proxy http://10.0.0.1:3128 answered 403 to CONNECT cimd.test:443' },
      `${at}: the HTTP proxy of this gateway could not connect to it.`,
    ],
    [
      { why: 'https://cimd.test: CERT_HAS_EXPIRED: certificate has expired' },
      `${at}: its TLS certificate is not trusted, or it does not support TLS.`,
    ],
    [
      { why: 'https://cimd.test: The operation was aborted due to timeout' },
      `${at}: it did not respond in time.`,
    ],
    [{ why: 'https://cimd.test: something else' }, `${at}.`],
    [{ status: 403 }, `${at}: it responded with status 403.`],
  ])('is no fault of the app: %j', async (page, say) => {
    const world = await createWorld()
    world.web.pages.set(url, page)
    const answer = await ask(world, client)
    expect([answer.status, answer.code, answer.refusal?.say, answer.refusal?.detail.headers]).toEqual([
      503,
      'client.document-unreachable',
      say,
      { 'retry-after': '5' },
    ])
    expect(answer.refusal?.why).toContain('why' in page ? page.why : 'status 403')
  })

  it('is told to register where documents are not offered, and nothing is fetched', async () => {
    const world = await createWorld({ config: { client_metadata_documents: false } })
    world.web.pages.set(url, { body: document })
    expect(await ask(world, client)).toMatchObject({ status: 400, code: 'client.unknown' })
    expect(await exchange(world, client, 'code')).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    })
    expect(world.web.asked).toEqual([])
  })
})
