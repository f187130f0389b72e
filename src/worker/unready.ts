// What a Worker answers before there is a gateway to answer: why it cannot serve yet, for whoever has to set it up, and never a challenge or metadata that clients would keep (users.md 5.3).
import { levelOf, refusedFields } from '../kit/refusal-log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Log, Visit } from '../ports/runtime.ts'
import type { Lack } from './configured.ts'

const headers = { 'cache-control': 'no-store', 'retry-after': '60', 'access-control-allow-origin': '*', 'x-content-type-options': 'nosniff' }

const rest = 'There are more configuration errors. The operator can read them in the log of this Worker (npx wrangler tail).'

const saidOf = ({ row, say, code }: Refusal, requestId: string) => ({ error: row.oauth, error_description: say, code, request_id: requestId })

interface Asked {
  readonly request: Request
  readonly requestId: string
  /** Whether the one who asks sits at the operator's own computer. */
  readonly loopback: boolean
}

/** A plain list for browsers, JSON for programs. */
export const answerUnready = (lacks: readonly Lack[], { request, requestId, loopback }: Asked): Response => {
  const shown = lacks.filter(({ open }) => open || loopback).map(({ text }) => text)
  const faults = shown.length < lacks.length ? [...shown, rest] : shown
  const refusal = new Refusal('gateway.unconfigured')
  const init = { status: 503, headers: { ...headers, 'x-request-id': requestId } }
  if ((request.headers.get('accept') ?? '').includes('text/html'))
    return new Response(`${refusal.say}\n\n${faults.map((text) => `- ${text}\n`).join('')}`, {
      ...init,
      headers: { ...init.headers, 'content-type': 'text/plain; charset=utf-8' },
    })
  return Response.json({ ...saidOf(refusal, requestId), faults }, init)
}

/** Something else than the configuration failed; the next request tries again. */
export const answerFailed = (requestId: string): Response =>
  Response.json(saidOf(new Refusal('gateway.not-started'), requestId), { status: 503, headers: { ...headers, 'retry-after': '5', 'x-request-id': requestId } })

/** The answer to a URL that names no host: two Host fields, or one that is none, are written into it as they came. */
export const refuseMalformed = ({ method, url }: Request, { requestId, ip }: Visit, log: Log): Response | undefined => {
  if (URL.canParse(url)) return undefined
  const refusal = new Refusal('request.host', url.slice(0, 200))
  log(levelOf(refusal), 'refused', refusedFields(refusal, { method, path: url.split('?', 1)[0], ip, requestId }))
  return Response.json(saidOf(refusal, requestId), { status: refusal.row.status, headers: { 'cache-control': 'no-store', 'x-request-id': requestId } })
}
