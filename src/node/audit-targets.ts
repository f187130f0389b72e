// Where the rows of the audit trail are sent: a file, standard output, a syslog server, an OpenTelemetry collector.
import { createSocket } from 'node:dgram'
import { appendFile } from 'node:fs/promises'
import { type Socket, connect } from 'node:net'
import { hostname } from 'node:os'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import type { ChainedRow } from '../ports/store.ts'
import { type SyslogOrigin, otlpBody, rowLine, syslogMessage } from '../stores/audit-formats.ts'

export interface SinkPlan {
  readonly name: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly syslogId: string
  /** It gets only anchors; over HTTP as JSON Lines. */
  readonly anchors?: boolean
}

export interface SinkTarget {
  /** Rejects when the rows have to be sent again. Resolves with how many the other end will never take. */
  send(rows: readonly ChainedRow[]): Promise<number>
  /** Whether what was sent a moment ago may be lost: the connection ended. Asked once, then forgotten. */
  broken(): boolean
  /** What was sent counts as received after so long, ms: the protocol has no acknowledgement. */
  readonly settleMs: number
  close(): void
}

export interface TargetOptions {
  readonly version: string
  /** Certificate authorities, instead of those of the system. */
  readonly ca?: string
}

const connectMs = 5_000
const answerMs = 10_000
const settleMs = 2_000

const simple = (send: (rows: readonly ChainedRow[]) => Promise<void>, close?: () => void): SinkTarget => ({
  send: async (rows) => {
    await send(rows)
    return 0
  },
  broken: () => false,
  settleMs: 0,
  close: () => close?.(),
})

const linesOf = (rows: readonly ChainedRow[]): string => rows.map((row) => `${rowLine(row)}\n`).join('')

const toOutput = (): SinkTarget =>
  simple(
    (rows) =>
      new Promise((resolve, reject) => {
        process.stdout.write(linesOf(rows), (error) => (error ? reject(error) : resolve()))
      }),
  )

// Opened each time, so that the file may be rotated at any moment.
const toFile = (path: string): SinkTarget =>
  simple((rows) => appendFile(path, linesOf(rows), { mode: 0o600, flush: true }))

const toDatagrams = (host: string, port: number, origin: SyslogOrigin): SinkTarget => {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  socket.unref()
  // What a send says is its own.
  socket.on('error', () => undefined)
  const send = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      socket.send(text, port, host, (error) => (error ? reject(error) : resolve()))
    })
  return simple(
    async (rows) => {
      for (const row of rows) await send(syslogMessage(row, origin, true))
    },
    () => socket.close(),
  )
}

/** Octet counting (RFC 6587 §3.4.1, RFC 5425 §4.3), on one connection for as long as it lasts. */
const toStream = (
  open: () => Socket,
  ready: 'connect' | 'secureConnect',
  origin: SyslogOrigin,
): SinkTarget => {
  let socket: Socket | undefined
  let lost = false
  const connected = (): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const made = open()
      const late = setTimeout(() => made.destroy(new Error('the connection timed out')), connectMs)
      made.unref()
      made.once(ready, () => {
        clearTimeout(late)
        resolve(made)
      })
      made.on('error', reject)
      // The server says nothing; its end is the end.
      made.on('end', () => made.destroy())
      made.once('close', () => {
        clearTimeout(late)
        lost ||= made === socket
        socket = undefined
        reject(new Error('the connection was closed'))
      })
      made.resume()
    })
  return {
    settleMs,
    async send(rows) {
      const to = socket ?? (await connected())
      socket = to
      const text = rows
        .map((row) => syslogMessage(row, origin))
        .map((message) => `${Buffer.byteLength(message)} ${message}`)
        .join('')
      await new Promise<void>((resolve, reject) => {
        const stuck = setTimeout(() => to.destroy(new Error('the server takes nothing')), answerMs)
        const closed = (): void => reject(new Error('the connection was closed'))
        to.once('close', closed)
        to.write(text, (error) => {
          clearTimeout(stuck)
          to.off('close', closed)
          if (error) reject(error)
          else resolve()
        })
      })
      return 0
    },
    broken() {
      const was = lost
      lost = false
      return was
    },
    close: () => void socket?.end(),
  }
}

/** Told by the collector to wait, or a failure of its own. */
const isPassing = (status: number): boolean => [408, 429, 500, 502, 503, 504].includes(status)

const toCollector = ({ url, headers }: SinkPlan, version: string): SinkTarget => {
  let notBefore = 0
  return {
    settleMs: 0,
    broken: () => false,
    close: () => undefined,
    async send(rows) {
      if (Date.now() < notBefore) throw new Error('the collector asked to wait')
      const response = await fetch(url, {
        method: 'POST',
        redirect: 'error',
        headers: { ...headers, 'content-type': 'application/json' },
        body: otlpBody(rows, version),
        signal: AbortSignal.timeout(answerMs),
      })
      const text = await response.text()
      if (isPassing(response.status)) {
        const wait = Number(response.headers.get('retry-after'))
        if (wait > 0) notBefore = Date.now() + Math.min(wait, 300) * 1000
        throw new Error(`the collector answered ${response.status}`)
      }
      if (!response.ok) return rows.length
      // Some may be refused for ever, which is told in a success (OTLP, partial success).
      const [, refused] = /"rejectedLogRecords"\s*:\s*"?(\d{1,6})/.exec(text) ?? []
      return Math.min(Number(refused ?? 0), rows.length)
    },
  }
}

/** JSON Lines in a POST; anything but success is tried again. */
const toUrl = ({ url, headers }: SinkPlan): SinkTarget =>
  simple(async (rows) => {
    const response = await fetch(url, {
      method: 'POST',
      redirect: 'error',
      headers: { ...headers, 'content-type': 'application/x-ndjson' },
      body: linesOf(rows),
      signal: AbortSignal.timeout(answerMs),
    })
    await response.body?.cancel()
    if (!response.ok) throw new Error(`the server answered ${response.status}`)
  })

/** `stdout:`, `file:///…`, `syslog+udp://`, `syslog+tcp://`, `syslog+tls://` or `http(s)://`. */
export const createTarget = (plan: SinkPlan, { version, ca }: TargetOptions): SinkTarget => {
  const { protocol, hostname: named, port: digits } = new URL(plan.url)
  const host = named.replace(/^\[(.*)\]$/, '$1')
  const port = Number(digits)
  const origin = { host: hostname(), pid: process.pid, id: plan.syslogId }
  switch (protocol) {
    case 'stdout:':
      return toOutput()
    case 'file:':
      return toFile(fileURLToPath(plan.url))
    case 'syslog+udp:':
      return toDatagrams(host, port || 514, origin)
    case 'syslog+tcp:':
      return toStream(() => connect({ host, port: port || 601 }), 'connect', origin)
    case 'syslog+tls:':
      return toStream(
        () => connectTls({ host, port: port || 6514, servername: host, ...(ca && { ca }) }),
        'secureConnect',
        origin,
      )
    default:
      return plan.anchors ? toUrl(plan) : toCollector(plan, version)
  }
}
