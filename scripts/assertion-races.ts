// Part of `npm run prove races`: one assertion of a company and one of a platform, each presented by fifty at once; and
// keys that their issuer exchanges while assertions arrive.
import { form } from '../test/runtimes/login.ts'
import { type AssertionIssuer, openAssertionIssuer } from '../test/providers/assertion-issuer.ts'

/** Sends one request so many times at once, over all processes; statuses and bodies in the order of the requests. */
type Volley = (
  shoot: (house: {
    origin: string
    fetch: (url: string, init?: RequestInit) => Promise<Response>
  }) => Promise<Response>,
) => Promise<{ readonly statuses: readonly number[]; readonly bodies: readonly object[] }>

const secret = 'Kq7vX2mZ9tLw4sRb8nYc1fHd6gJp3aUe'
const grantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

export interface AssertionRaces {
  /** For the gateway, beside everything else. */
  readonly config: Readonly<Record<string, unknown>>
  /** What went wrong, by the kind of assertion. */
  run(origin: string, rounds: number, volley: Volley): Promise<Readonly<Record<string, readonly string[]>>>
  close(): Promise<unknown>
}

const configOf = (company: AssertionIssuer, platform: AssertionIssuer) => ({
  oauth_providers: { corp: { type: 'mock' } },
  clients: {
    desk: { name: 'Desk', token_endpoint_auth_method: 'client_secret_post', client_secret: secret },
  },
  service_accounts: { nightly: { services: ['echo'] } },
  assertion_issuers: {
    corp: {
      type: 'id_jag',
      issuer: company.url,
      allow_origins: [company.url],
      provider: 'corp',
      clients: ['desk'],
      accounts: 'create',
    },
    ci: {
      type: 'workload',
      issuer: platform.url,
      allow_origins: [platform.url],
      rules: [{ claims: { repository_id: '7' }, service_account: 'nightly' }],
    },
  },
})

export const openAssertionRaces = async (): Promise<AssertionRaces> => {
  const [company, platform] = await Promise.all([openAssertionIssuer(), openAssertionIssuer('RS256')])
  const claims = (more: object) => {
    const now = Math.floor(Date.now() / 1000)
    return { jti: crypto.randomUUID(), iat: now, exp: now + 300, ...more }
  }
  const idJag = (aud: string, sub = 'ana@corp.test') =>
    company.sign(claims({ aud, sub, client_id: 'desk', resource: `${aud}/echo/mcp` }), {
      typ: 'oauth-id-jag+jwt',
    })
  const job = (aud: string) => platform.sign(claims({ aud, sub: 'job', repository_id: '7' }))
  const once = async (
    make: () => Promise<string>,
    fields: Readonly<Record<string, string>>,
    rounds: number,
    volley: Volley,
  ): Promise<readonly string[]> => {
    const wrong: string[] = []
    for (let round = 0; round < rounds; round++) {
      const body = form({ grant_type: grantType, assertion: await make(), ...fields })
      const { statuses, bodies } = await volley((house) => house.fetch(`${house.origin}/oauth/token`, body))
      const replayed = bodies.filter((one) => 'code' in one && one.code === 'assertion.replayed').length
      if (statuses.filter((status) => status === 200).length !== 1 || replayed !== statuses.length - 1)
        wrong.push(`round ${round}: ${statuses.join(' ')}`)
    }
    return wrong
  }
  const desk = { client_id: 'desk', client_secret: secret }
  return {
    config: configOf(company, platform),
    async run(origin, rounds, volley) {
      const people = await once(() => idJag(origin), desk, rounds, volley)
      const programs = await once(() => job(origin), {}, rounds, volley)
      await company.rotate(false)
      const { statuses } = await volley(async (house) =>
        house.fetch(
          `${house.origin}/oauth/token`,
          form({ grant_type: grantType, assertion: await idJag(origin), ...desk }),
        ),
      )
      const rotated = statuses.filter((status) => status !== 200).map(String)
      return { 'one ID-JAG': people, 'one workload token': programs, 'exchanged keys': rotated }
    },
    close: () => Promise.all([company.close(), platform.close()]),
  }
}
