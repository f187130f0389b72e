// What the SCIM endpoints have in common (RFC 7644): a request of a provider that showed its token, bodies, pages of
// lists and responses.
import { utf8Text } from '../kit/bytes.ts'
import { readWhole } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ScimGroups } from './scim-groups.ts'
import type { ScimUsers } from './scim-users.ts'
import { listResponse, mostResults, scimError, urns } from './scim-values.ts'

/** One request of a provider that showed its token. */
export interface ScimRequest {
  readonly request: Request
  readonly provider: string
  readonly users: ScimUsers
  readonly groups: ScimGroups
  /** URL of the endpoint. */
  readonly base: string
  /** What follows the kind of resource in the path. */
  readonly id: string
}

export type Work = (scim: ScimRequest) => Promise<Response>

/** What is done with the resources of one kind. */
export interface ResourceWork {
  readonly list: Work
  readonly one: Work
  readonly create: Work
  readonly put: Work
  readonly patch: Work
  readonly remove: Work
}

export const answer = (
  status: number,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Response =>
  new Response(body === undefined ? null : JSON.stringify(body), {
    status,
    headers: {
      ...(body !== undefined && { 'content-type': 'application/scim+json' }),
      'cache-control': 'no-store',
      ...headers,
    },
  })

/** RFC 7644 §3.12. */
export const errorAnswer = (
  status: number,
  detail: string,
  { scimType, headers }: { scimType?: string | undefined; headers?: Readonly<Record<string, string>> } = {},
): Response =>
  answer(
    status,
    { schemas: [urns.error], status: String(status), ...(scimType !== undefined && { scimType }), detail },
    headers,
  )

export const notFound = () => scimError(404, 'There is no such resource')

/** Each lost compare-and-set means that another request changed the resource. */
export const maxAttempts = 10
export const busy = () => scimError(409, 'The resource is changed by other requests at the moment')

const largestBody = 65_536

/** `largest`: bytes. */
export const bodyOf = async (request: Request, largest = largestBody): Promise<unknown> => {
  const type = (request.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  if (type !== 'application/scim+json' && type !== 'application/json')
    throw scimError(415, 'Send application/scim+json')
  try {
    return JSON.parse(utf8Text(await readWhole(request, largest))) as unknown
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw scimError(400, 'The body is not JSON', 'invalidSyntax')
  }
}

const numberIn = (params: URLSearchParams, name: string, fallback: number, least: number): number => {
  const text = params.get(name)
  if (text === null) return fallback
  if (!/^-?\d{1,9}$/.test(text)) throw scimError(400, `${name} must be a number`, 'invalidValue')
  return Math.max(Number(text), least)
}

/** The page of a list that is asked for (RFC 7644 §3.4.2.4). `find` is called once the request is known to be good. */
export const listAnswer = async <T>(
  params: URLSearchParams,
  find: () => Promise<readonly T[]>,
  resourceOf: (found: T) => unknown,
): Promise<Response> => {
  const start = numberIn(params, 'startIndex', 1, 1)
  const count = Math.min(numberIn(params, 'count', mostResults, 0), mostResults)
  const found = await find()
  const shown = await Promise.all(found.slice(start - 1, start - 1 + count).map(resourceOf))
  return answer(200, listResponse(shown, start, found.length))
}
