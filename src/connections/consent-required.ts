// The error for a client when only the person can help: a sentence and the link to a page of this gateway.
// Never a third party's link (MCP Elicitation, URL mode).
import { encodeBase64url } from '../kit/bytes.ts'
import { personKey, serviceAccounts } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type AuthorizedUpstream, connectPath } from './upstream.ts'

interface ConsentRequiredDeps {
  readonly runtime: Pick<Runtime, 'keys'>
  readonly issuer: string
}

/**
 * Identifies the person that a link is for. It is a MAC, so it says nothing to anybody else, and it grants
 * nothing, because the page requires a session.
 */
export const ownerMark = async (
  { keys }: Pick<Runtime, 'keys'>,
  person: Person,
  service: string,
): Promise<string> => {
  const mac = await keys.mac('connect-link', `${service}\n${personKey(person)}`)
  return encodeBase64url(mac ?? new Uint8Array()).slice(0, 22)
}

/** No browser opens a link for a service account. `key`: of the account, where an administrator can connect one for it. */
export const noAccount = ({ id, name }: AuthorizedUpstream, key?: string): Refusal =>
  new Refusal('account.connection', `${id}: a service account has connected no account`, {
    say:
      key === undefined
        ? `${name} requires an account of each user. A service account cannot connect one.`
        : `${name} requires an account that works, and ${key} has none. An administrator connects one: postern connections connect ${id} --as ${key}`,
  })

/** Each returns an `upstream.consent`, or `account.connection` for a service account. */
export interface ConsentRequired {
  connect(upstream: AuthorizedUpstream, person: Person): Promise<Refusal>
  connectAgain(upstream: AuthorizedUpstream, person: Person, why: string): Promise<Refusal>
  permit(upstream: AuthorizedUpstream, person: Person, scopes: readonly string[]): Promise<Refusal>
  signInAgain(upstream: AuthorizedUpstream, person: Person, why: string): Refusal
}

export const createConsentRequired = ({ runtime, issuer }: ConsentRequiredDeps): ConsentRequired => {
  const refusal = (upstream: AuthorizedUpstream, url: string, say: string, why: string): Refusal =>
    new Refusal('upstream.consent', `${upstream.id}: ${why}`, {
      say: `${say} Open this link in your browser, then try again: ${url}`,
      connect: { url, service: upstream.name },
    })
  const connecting = async (
    upstream: AuthorizedUpstream,
    person: Person,
    say: string,
    why: string,
  ): Promise<Refusal> => {
    if (person.provider === serviceAccounts) return noAccount(upstream, personKey(person))
    return refusal(
      upstream,
      `${issuer}${connectPath(upstream.id)}?for=${await ownerMark(runtime, person, upstream.id)}`,
      say,
      why,
    )
  }
  return {
    connect: (upstream, person) =>
      connecting(
        upstream,
        person,
        `${upstream.name} requires an account, and none is connected.`,
        'no account',
      ),
    connectAgain: (upstream, person, why) =>
      connecting(upstream, person, `${upstream.name} no longer accepts your connected account.`, why),
    permit: (upstream, person, scopes) =>
      connecting(
        upstream,
        person,
        `${upstream.name} requires another permission: ${scopes.join(' ')}.`,
        `scope ${scopes.join(' ')}`,
      ),
    signInAgain: (upstream, person, why) =>
      refusal(
        upstream,
        `${issuer}/login?prompt=login`,
        `${upstream.name} requires you to sign in again.`,
        `no token of ${person.provider}: ${why}`,
      ),
  }
}

/** Somebody who signed in with a password of this gateway has no token of an identity provider. */
export const noProvider = ({ id, name }: AuthorizedUpstream): Refusal =>
  new Refusal('upstream.credential', `${id}: user signed in without an identity provider`, {
    say: `${name} requires a token from an identity provider, and you signed in with a password. Sign in with the identity provider.`,
  })
