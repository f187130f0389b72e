// One event of the log as one line of JSON, the same on every runtime.
import { jsonLine } from './json-line.ts'

export const logOrder = { debug: 20, info: 30, warn: 40, error: 50 } as const

/** Field names that never reach a log, whatever a caller passes by mistake. */
const secretNames: readonly string[] = [
  ...['token', 'access_token', 'refresh_token', 'id_token', 'code', 'code_verifier', 'client_secret', 'password', 'cookie', 'authorization'],
  ...['secret', 'state', 'assertion', 'client_assertion', 't'],
]

export const isSecretName = (name: string): boolean => secretNames.includes(name)

export type LogFields = Readonly<Record<string, unknown>>

const redacted = (fields: LogFields): LogFields => {
  for (const name of secretNames)
    if (name in fields) return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, isSecretName(key) ? '[redacted]' : value]))
  return fields
}

export interface LogEvent {
  readonly level: keyof typeof logOrder
  /** ISO 8601, UTC. */
  readonly ts: string
  readonly event: string
  readonly fields: LogFields
  /** An event of the audit trail, which names itself among its fields. */
  readonly audit: boolean
}

/** `{"level":"info","ts":"2026-…Z","event":"refused",…}`. Strings are escaped, so no field can forge a line. Put together by hand because every call writes one. */
export const logLine = ({ level, ts, event, fields, audit }: LogEvent): string => {
  const facts = jsonLine(redacted(fields)).slice(1)
  const mark = audit ? '"audit":true' : `"event":${JSON.stringify(event)}`
  return `{"level":"${level}","ts":"${ts}",${mark}${facts === '}' ? '' : ','}${facts}`
}
