// grant_type=client_credentials (RFC 6749 §4.4): a client that acts as a service account. What follows of it that nobody
// is asked is in silent-grant.ts.
import type { Config } from '../config/schema.ts'
import { higherOf } from '../kit/levels.ts'
import { serviceAccounts } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { MayStillSignIn } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Policy } from '../ports/policy.ts'
import type { Address, Directory } from '../ports/services.ts'
import { apiAddress, apiTarget } from './api-tokens.ts'
import type { AuthenticatedClient } from './client.ts'
import type { ClientBindings } from './client-bindings.ts'
import { type GrantHandler, factsOf, one, tokenResponse } from './parameters.ts'
import {
  type Permitted,
  type SilentGrantDeps,
  issueSilently,
  levelAt,
  namedAddress,
  narrowedScopes,
  silentGrant,
  silentGrantId,
} from './silent-grant.ts'
import { subjectOf } from './tokens.ts'

export interface ClientCredentialsDeps extends SilentGrantDeps {
  readonly config: Pick<Config, 'refresh_grace' | 'refresh_late_repeat' | 'service_accounts'>
  readonly directory: Pick<Directory, 'issuer' | 'only' | 'service' | 'addresses'>
  readonly policy: Pick<Policy, 'of' | 'services' | 'fresh'>
  readonly mayStillSignIn: MayStillSignIn
  readonly isAdmin: (person: Person) => boolean
}

/** Of the only service, or of the one of the account's that it can mean. */
const impliedAddress = (
  { directory }: ClientCredentialsDeps,
  services: readonly string[],
): Address | undefined => {
  if (services.includes('*')) return directory.only
  const [id] = services
  if (id === apiTarget && services.length === 1) return apiAddress(directory.issuer)
  return services.length === 1 ? directory.addresses.find(({ service }) => service.id === id) : undefined
}

/** Throws `resource.unknown`, or `account.service` where it is none of the account's. */
export const addressOf = async (
  deps: ClientCredentialsDeps,
  resources: readonly string[],
  services: readonly string[],
): Promise<Address> => {
  const address = (await namedAddress(deps, resources)) ?? impliedAddress(deps, services)
  if (!address) throw new Refusal('account.service', 'no resource, and no only service')
  const { id } = address.service
  // `*` is for services; the API of the operator is named.
  if (!services.includes(id) && !(services.includes('*') && id !== apiTarget))
    throw new Refusal('account.service', `${id} is none of the account's services`)
  return address
}

/** What the service account may have at the service that these resources name. */
export const permittedAccount = async (
  deps: ClientCredentialsDeps,
  { id, clientId }: { readonly id: string; readonly clientId: string },
  resources: readonly string[],
): Promise<Permitted> => {
  const account = Object.hasOwn(deps.config.service_accounts, id)
    ? deps.config.service_accounts[id]
    : undefined
  if (!account) throw new Refusal('client.grant', `${clientId} acts as no service account`)
  const address = await addressOf(deps, resources, account.services)
  const person = deps.mayStillSignIn({ provider: serviceAccounts, subject: id, groups: [] }, address.resource)
  if (!person) throw new Refusal('account.service', `${id} at ${address.service.id}`)
  if (address.service.id === apiTarget) {
    if (deps.isAdmin(person)) return { person, address, level: undefined }
    throw new Refusal('account.service', `${id} is not listed in admins`)
  }
  const most = account.permissions?.reduce(higherOf)
  const by = { person, clientId, most }
  const level = await levelAt(deps, address.service, by, 'account.service')
  return { person, address, level }
}

/** By a secret or a key that was presented now, and not only where it has one. */
const isConfidential = ({ authMethod, proven }: AuthenticatedClient): boolean =>
  proven && authMethod !== 'none'

/**
 * The account that the operator names for this client: in the configuration, or by a binding for one that came by itself.
 * Throws `client.grant` for one that is not bound.
 */
const accountOf = async (
  { clientBindings }: ClientCredentialsGrantDeps,
  client: AuthenticatedClient,
): Promise<string> => {
  if (client.kind === 'registered') return client.serviceAccount ?? ''
  const bound = isConfidential(client) ? await clientBindings.accountOf(client.id) : undefined
  if (bound !== undefined) return bound
  throw new Refusal('client.grant', `${client.id} is bound to no service account`, {
    say: 'This client is disabled for client_credentials until an administrator binds it to a service account (postern clients bind).',
  })
}

export interface ClientCredentialsGrantDeps extends ClientCredentialsDeps {
  readonly clientBindings: Pick<ClientBindings, 'accountOf'>
}

export const createClientCredentialsGrant = (deps: ClientCredentialsGrantDeps): GrantHandler => {
  const { tokens, record, directory, grants } = deps
  return async (request) => {
    const { client, form } = request
    const account = { id: await accountOf(deps, client), clientId: client.id }
    const allowed = await permittedAccount(deps, account, form.getAll('resource'))
    const { person, address } = allowed
    const scopes = narrowedScopes(one(form, 'scope'), allowed, 'account.scope')
    const parts = [directory.issuer, client.id, subjectOf({ person }), address.resource]
    const identity = { client, kind: 'client_credentials' as const, parts }
    const jkt = request.bind(address.resource)
    const { grant, access } = await issueSilently(deps, request, person, {
      id: silentGrantId(deps.runtime, identity),
      make: (before) => silentGrant(deps, identity, allowed, before),
      sign: (grant) => tokens.access(grant, scopes, jkt),
    })
    // Whoever unbinds ends what is there, and this may have been written between the two.
    const still = await accountOf(deps, client).catch(() => undefined)
    if (still !== account.id) {
      await grants.end([grant], 'client_unbound')
      throw new Refusal('client.grant', `${client.id} was unbound meanwhile`)
    }
    record({ event: 'grant.issued', kind: grant.kind, scopes, ...factsOf(grant, request) })
    return tokenResponse(tokens, { access, scopes, jkt })
  }
}
