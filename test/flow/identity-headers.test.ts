// Configured identity headers at the server: one value for a name, encoded once, on every runtime.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { callerOf, type Somebody, tokenOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const maric: Somebody = {
  username: 'maric',
  password: 'battery horse correct',
  email: 'ana@example.com',
  name: 'Ana Marić',
  groups: ['Büro', 'a,b'],
}

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  beforeAll(async () => {
    upstream = await openUpstream()
    const service = (identity: object, more: object = {}) => ({
      url: upstream.url,
      identity: { assertion: false, ...identity },
      ...more,
    })
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [maric],
        mcp_services: {
          own: service({
            headers: { 'x-USER-id': 'mock_user_${id}', 'X-User-Avatar': '${avatar}', 'X-User-Name': 'fixed' },
          }),
          fixed: service(
            {},
            { upstream_auth: { type: 'static', headers: { 'x-user-id': 'for everybody' } } },
          ),
          encoded: service({
            preset: 'none',
            headers: {
              'X-Who': '${name}',
              'X-Groups': '${groups}',
              'X-Both': '${name}: ${groups}',
              'X-Plain': '${provider}_${id}',
              'X-Office': 'Büro ${login}',
            },
          }),
        },
      },
    })
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  beforeEach(() => void (upstream.heard.length = 0))

  /** What one call at the service made of the person: each field on its own, in the order of the wire. */
  const about = async (service: string): Promise<readonly string[]> => {
    const resource = `${house.origin}/${service}/mcp`
    await callerOf(house, resource, await tokenOf(house, maric, resource)).post(call())
    const { rawHeaders } = upstream.heard.at(-1)!
    return rawHeaders
      .flatMap((name, i) =>
        i % 2 === 0 && /^x-(?:user|who|groups|both|plain|office)/i.test(name)
          ? [`${name.toLowerCase()}: ${rawHeaders[i + 1]}`]
          : [],
      )
      .toSorted()
  }

  it('a configured header takes the place of the preset’s, in whatever capitals, and what it cannot say stays unsaid', async () => {
    expect(await about('own')).toEqual([
      'x-user-email: ana@example.com',
      'x-user-groups: B%C3%BCro,a%2Cb',
      'x-user-id: mock_user_maric',
      'x-user-login: maric',
      'x-user-name: fixed',
      'x-user-provider: local',
      'x-user-sub: maric',
    ])
  })

  it('so does a header that everybody gets', async () => {
    expect((await about('fixed')).filter((line) => line.startsWith('x-user-id'))).toEqual([
      'x-user-id: for everybody',
    ])
  })

  it('a value beyond ASCII is encoded once, as a whole', async () => {
    expect(await about('encoded')).toEqual([
      "x-both: UTF-8''Ana%20Mari%C4%87%3A%20B%C3%BCro%2Ca%252Cb",
      'x-groups: B%C3%BCro,a%2Cb',
      "x-office: UTF-8''B%C3%BCro%20maric",
      'x-plain: local_maric',
      "x-who: UTF-8''Ana%20Mari%C4%87",
    ])
  })
})
