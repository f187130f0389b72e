// What DPoP costs: bearer calls of a gateway with and without it, and calls whose proofs are remembered in the process,
// in SQLite and, where they are installed, in Redis and PostgreSQL. Every call has a proof of its own, signed before the turn begins.
import { type KeyObject, createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { table } from '../scripts/harness/table.ts'
import { findProgram } from '../scripts/system-programs.mjs'
import { startPostgres } from '../test/runtimes/postgres-server.ts'
import { startRedis } from '../test/runtimes/redis-server.ts'
import { type Load, type Measured, body, drive, median, turnByTurn } from './calls.ts'
import { type Candidate, startPostern, startUpstream } from './candidates.ts'
import { thisCheckout } from './gateway.ts'

/** The most calls that a second of a turn may take. */
const algorithms = { ES256: 12_000, RS256: 16_000 } as const
type Algorithm = keyof typeof algorithms

const client = { id: 'job', secret: 'Vw3kQ8nB5tZ1xR7mC4pL9sD2fH6gJ0yA' }
const account = {
  mcp_services: {},
  service_accounts: { nightly: { services: ['*'] } },
  clients: {
    [client.id]: {
      name: 'Job',
      grant_types: ['client_credentials'],
      service_account: 'nightly',
      token_endpoint_auth_method: 'client_secret_post',
      client_secret: client.secret,
    },
  },
}

interface Signer {
  readonly alg: Algorithm
  readonly key: KeyObject
  readonly jwk: object
}

const createSigner = (alg: Algorithm): Signer => {
  const { publicKey, privateKey } =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 })
  return { alg, key: privateKey, jwk: publicKey.export({ format: 'jwk' }) }
}

const signAsync = promisify(sign)
const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

const proofOf = async ({ alg, key, jwk }: Signer, htu: string, more: object): Promise<string> => {
  const header = part({ typ: 'dpop+jwt', alg, jwk })
  const payload = { jti: randomUUID(), htm: 'POST', htu, iat: Math.floor(Date.now() / 1000), ...more }
  const text = `${header}.${part(payload)}`
  const signature = await signAsync('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' })
  return `${text}.${signature.toString('base64url')}`
}

/** A token that is bound to the key, and the nonce that its proofs need for the next minute. */
const boundToken = async (
  url: string,
  signer: Signer,
): Promise<{ readonly token: string; readonly nonce: string }> => {
  const at = `${new URL(url).origin}/oauth/token`
  const fields = { grant_type: 'client_credentials', client_id: client.id, client_secret: client.secret }
  const ask = async (nonce?: string) =>
    fetch(at, {
      method: 'POST',
      headers: { dpop: await proofOf(signer, at, nonce === undefined ? {} : { nonce }) },
      body: new URLSearchParams({ ...fields, resource: url }),
    })
  const nonce = (await ask()).headers.get('dpop-nonce') ?? ''
  const { access_token: token } = (await (await ask(nonce)).json()) as { access_token: string }
  return { token, nonce }
}

/** One row: a gateway, and how it is called. */
interface Row {
  readonly name: string
  readonly gateway: Candidate
  readonly signer?: Signer
}

const headersOf = (token: string, proof?: string): Record<string, string> => ({
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  'mcp-protocol-version': '2025-11-25',
  authorization: `${proof === undefined ? 'Bearer' : 'DPoP'} ${token}`,
  ...(proof !== undefined && { dpop: proof }),
})

type Options = Pick<Load, 'folder' | 'rounds' | 'seconds'>

const turn = async ({ name, gateway, signer }: Row, folder: string, seconds: number): Promise<Measured> => {
  const url = gateway.url('json') ?? ''
  const [expected, sent, proofs] = ['expected', 'body', 'proofs'].map((file) => join(folder, file)) as [
    string,
    string,
    string,
  ]
  const bound = signer && (await boundToken(url, signer))
  const token = bound?.token ?? gateway.token('json')
  const ath = createHash('sha256').update(token).digest('base64url')
  const prove = async (): Promise<string | undefined> =>
    signer && bound && proofOf(signer, url, { nonce: bound.nonce, ath })
  if (signer) {
    const count = algorithms[signer.alg] * seconds
    const signed: string[] = []
    // So many at once that every thread has work.
    while (signed.length < count)
      signed.push(...(await Promise.all(Array.from({ length: 500 }, async () => (await prove()) ?? ''))))
    writeFileSync(proofs, signed.join('\n'))
  }
  const headers = headersOf(token, await prove())
  const answer = await fetch(url, { method: 'POST', headers, body: body() })
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(`${name} answered ${answer.status}: ${text.slice(0, 300)}`)
  writeFileSync(expected, text)
  writeFileSync(sent, body())
  const script = signer ? 'dpop.lua' : 'load.lua'
  const env = { EXPECT: expected, BODY: sent, TOKEN: token, PROOFS: proofs }
  return drive({ name, url, pids: gateway.pids, connections: 32, seconds, script, env })
}

export const measureDpop = async ({ folder, rounds, seconds }: Options): Promise<void> => {
  const upstream = await startUpstream(folder)
  const redis = findProgram('redis-server') === undefined ? undefined : await startRedis()
  const begin = (name: string, more: object) =>
    startPostern(folder, upstream.origin, { ...thisCheckout, name }, { more: { ...account, ...more } })
  // Its own user, where this one is root, must get there.
  const data = mkdtempSync(join(tmpdir(), 'postern-postgres-'))
  const postgres = findProgram('postgres') === undefined ? undefined : await startPostgres({ folder: data })
  const gateways = {
    off: await begin('off', {}),
    memory: await begin('memory', { dpop: { replay: 'memory' } }),
    sqlite: await begin('SQLite', { dpop: {} }),
    redis:
      redis &&
      (await begin('Redis', {
        dpop: {},
        storage: { type: 'redis', redis: { url: `redis://127.0.0.1:${redis.port}` } },
      })),
    postgres:
      postgres &&
      (await begin('PostgreSQL', {
        dpop: {},
        storage: { type: 'postgres', postgres: { url: postgres.url } },
      })),
  }
  const [ec, rsa] = [createSigner('ES256'), createSigner('RS256')]
  const rows: readonly Row[] = [
    { name: 'bearer, DPoP off', gateway: gateways.off },
    { name: 'bearer, DPoP optional', gateway: gateways.memory },
    { name: 'ES256, remembered in the process', gateway: gateways.memory, signer: ec },
    { name: 'ES256, remembered in SQLite', gateway: gateways.sqlite, signer: ec },
    ...(gateways.redis
      ? [{ name: 'ES256, remembered in Redis', gateway: gateways.redis, signer: ec } as const]
      : []),
    ...(gateways.postgres
      ? [{ name: 'ES256, remembered in PostgreSQL', gateway: gateways.postgres, signer: ec } as const]
      : []),
    { name: 'RS256, remembered in the process', gateway: gateways.memory, signer: rsa },
  ]
  const turns = await turnByTurn(rows, rounds, (row, round) =>
    turn(row, folder, round < 0 ? 1 : Math.min(seconds, 3)),
  )
  const base = turns.get('bearer, DPoP off') ?? []
  const ratio = (all: readonly Measured[], of: 'perSecond' | 'cpu'): string =>
    median(all.map((one, i) => one[of] / (base[i] ?? one)[of])).toFixed(2)
  const lines = [...turns].map(([name, all]) => [
    name,
    median(all.map((one) => one.perSecond)).toFixed(0),
    ratio(all, 'perSecond'),
    median(all.map((one) => one.cpu)).toFixed(1),
    ratio(all, 'cpu'),
  ])
  console.log(
    `\ntools/call with and without DPoP, 32 connections (bearer at least 0.99, ES256 in the process at least 0.25)\n${table([['calls', '/s', 'ratio', 'CPU µs', 'ratio'], ...lines])}`,
  )
  for (const gateway of Object.values(gateways)) await gateway?.stop()
  await redis?.close()
  if (postgres) {
    process.kill(postgres.pid, 'SIGQUIT')
    await postgres.ended
  }
  rmSync(data, { recursive: true, force: true })
  await upstream.process.stop()
}
