// The mock provider of `node scripts/mock-idp.ts` as tests use it: a real oidc-provider in another process,
// and a person who signs in at its page.
import { type RunningProvider, runProvider } from './process.ts'

export interface Account {
  readonly login: string
  readonly password?: string
  readonly claims?: Readonly<Record<string, unknown>>
}

/** Without people: `operator` and `member` with the password `pass`, and anybody else. */
export const openIdProvider = (people?: readonly Account[]): Promise<RunningProvider> =>
  runProvider('scripts/mock-idp.ts', people ? { MOCK_PEOPLE: JSON.stringify(people) } : {})

/** The configuration of a gateway that uses it. */
export const providerConfig = ({ url, clientId, clientSecret }: RunningProvider) => ({
  name: 'Company SSO',
  issuer: url,
  client_id: clientId,
  client_secret: clientSecret,
})

const fieldsOf = (cookies: ReadonlyMap<string, string>): string =>
  [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')

/**
 * Signs in (or cancels) at the provider, starting from the URL to which the gateway sent the browser; answers
 * the URL of the gateway's callback. `cookies` is the browser's jar at the provider: keep it to come back
 * with a live session there.
 */
export const signInAtProvider = async (
  url: string,
  login: string,
  options: { readonly cancel?: boolean; readonly cookies?: Map<string, string> } = {},
): Promise<string> => {
  const cookies = options.cookies ?? new Map<string, string>()
  const origin = new URL(url).origin
  let next = url
  let body: string | undefined
  for (let hop = 0; hop < 12; hop++) {
    const headers = {
      cookie: fieldsOf(cookies),
      ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
    }
    const response = await fetch(next, {
      redirect: 'manual',
      headers,
      ...(body === undefined ? {} : { method: 'POST', body }),
    })
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      cookies.set(name, value)
    }
    const location = response.headers.get('location')
    if (location === null) {
      const text = await response.text()
      if (body !== undefined || !text.includes('name="login"'))
        throw new Error(`the provider answered ${response.status} at ${next}: ${text.slice(0, 500)}`)
      body = new URLSearchParams({
        login,
        password: 'pass',
        decision: options.cancel ? 'cancel' : 'sign-in',
      }).toString()
    } else {
      await response.body?.cancel()
      body = undefined
      next = new URL(location, next).href
      if (new URL(next).origin !== origin) return next
    }
  }
  throw new Error(`no way back from the provider; last at ${next}`)
}

/** The provider that lies (hostile-provider.ts), in a process of its own: `{url}/{lie}` is an issuer. */
export const hostileProvider = (): Promise<RunningProvider> =>
  runProvider('test/providers/hostile-provider.ts', {})

/** One redirect of a provider that asks nobody anything: the URL of the gateway's callback. */
export const straightBack = async (url: string): Promise<string> => {
  const response = await fetch(url, { redirect: 'manual' })
  await response.body?.cancel()
  return response.headers.get('location') ?? ''
}
