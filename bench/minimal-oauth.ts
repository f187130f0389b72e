// The measure of logins: the smallest authorization server on node:http and node:sqlite that is still one.
// Sessions, PKCE, codes spent once, refresh tokens that rotate, hashed at rest, ES256. No pages, no
// registration, no sealing, no audit, one client. Usage: node bench/minimal-oauth.ts <folder>
import { createHash, generateKeyPairSync, hash, randomBytes, randomUUID, sign } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

const [, , folder = '.'] = process.argv
const db = new DatabaseSync(join(folder, 'minimal.db'))
db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
CREATE TABLE sessions (id TEXT PRIMARY KEY, person TEXT NOT NULL, expires_at INTEGER NOT NULL);
CREATE TABLE clients (id TEXT PRIMARY KEY, redirect_uri TEXT NOT NULL);
CREATE TABLE codes (id TEXT PRIMARY KEY, person TEXT NOT NULL, client TEXT NOT NULL, redirect_uri TEXT NOT NULL, resource TEXT NOT NULL, challenge TEXT NOT NULL, expires_at INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0);
CREATE TABLE refresh (id TEXT PRIMARY KEY, family TEXT NOT NULL, person TEXT NOT NULL, client TEXT NOT NULL, resource TEXT NOT NULL, expires_at INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0);`)
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const header = Buffer.from(JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid: '1' })).toString('base64url')
const sha = (text: string): string => hash('sha256', text, 'base64url')
const session = randomBytes(32).toString('base64url')
db.prepare('INSERT INTO sessions VALUES (?, ?, ?)').run(sha(session), 'local:ada', Date.now() + 3_600_000)
db.prepare('INSERT INTO clients VALUES (?, ?)').run('bench', 'http://127.0.0.1:5000/cb')

const sessionOf = db.prepare('SELECT person FROM sessions WHERE id = ? AND expires_at > ?')
const clientOf = db.prepare('SELECT redirect_uri FROM clients WHERE id = ?')
const addCode = db.prepare(
  'INSERT INTO codes (id, person, client, redirect_uri, resource, challenge, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)',
)
const spendCode = db.prepare(
  'UPDATE codes SET used = 1 WHERE id = ? AND client = ? AND redirect_uri = ? AND challenge = ? AND used = 0 AND expires_at > ? RETURNING person, resource',
)
const addRefresh = db.prepare(
  'INSERT INTO refresh (id, family, person, client, resource, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
)
const spendRefresh = db.prepare(
  'UPDATE refresh SET used = 1 WHERE id = ? AND client = ? AND used = 0 AND expires_at > ? RETURNING family, person, resource',
)

const refuse = (response: ServerResponse, status: number, error: string): void =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }))

const authorize = (request: IncomingMessage, response: ServerResponse, query: URLSearchParams): void => {
  const cookie = /(?:^|; )session=([\w-]{43})/.exec(request.headers.cookie ?? '')?.[1] ?? ''
  const who = sessionOf.get(sha(cookie), Date.now()) as { person: string } | undefined
  const client = clientOf.get(query.get('client_id') ?? '') as { redirect_uri: string } | undefined
  const challenge = query.get('code_challenge') ?? ''
  if (!who || !client || client.redirect_uri !== query.get('redirect_uri'))
    return refuse(response, 400, 'invalid_request')
  if (
    query.get('response_type') !== 'code' ||
    query.get('code_challenge_method') !== 'S256' ||
    challenge.length !== 43
  )
    return refuse(response, 400, 'invalid_request')
  const code = randomBytes(24).toString('base64url')
  addCode.run(
    sha(code),
    who.person,
    query.get('client_id'),
    client.redirect_uri,
    query.get('resource'),
    challenge,
    Date.now() + 60_000,
  )
  const back = new URLSearchParams({ code, state: query.get('state') ?? '', iss: origin })
  response.writeHead(303, { location: `${client.redirect_uri}?${back}`, 'cache-control': 'no-store' }).end()
}

const accessToken = (person: string, resource: string, client: string, family: string): string => {
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: origin,
    sub: person,
    aud: resource,
    client_id: client,
    gid: family,
    jti: randomUUID(),
    iat: now,
    exp: now + 3600,
  }
  const data = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
  return `${data}.${sign('sha256', Buffer.from(data), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

const token = (response: ServerResponse, form: URLSearchParams): void => {
  const now = Date.now()
  const client = form.get('client_id') ?? ''
  if (!clientOf.get(client)) return refuse(response, 401, 'invalid_client')
  const spent =
    form.get('grant_type') === 'authorization_code'
      ? (spendCode.get(
          sha(form.get('code') ?? ''),
          client,
          form.get('redirect_uri'),
          createHash('sha256')
            .update(form.get('code_verifier') ?? '')
            .digest('base64url'),
          now,
        ) as { family?: string; person: string; resource: string } | undefined)
      : (spendRefresh.get(sha(form.get('refresh_token') ?? ''), client, now) as
          | { family?: string; person: string; resource: string }
          | undefined)
  if (!spent) return refuse(response, 400, 'invalid_grant')
  const { family = randomUUID(), person, resource } = spent
  const refresh = randomBytes(32).toString('base64url')
  addRefresh.run(sha(refresh), family, person, client, resource, now + 30 * 86_400_000)
  const body = JSON.stringify({
    access_token: accessToken(person, resource, client, family),
    token_type: 'Bearer',
    expires_in: 3600,
    refresh_token: refresh,
  })
  response
    .writeHead(200, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'content-length': Buffer.byteLength(body),
    })
    .end(body)
}

const server = createServer((request, response) => {
  const { url = '/' } = request
  if (request.method === 'GET' && url.startsWith('/authorize?'))
    return authorize(request, response, new URLSearchParams(url.slice('/authorize?'.length)))
  if (request.method === 'GET' && url === '/jwks')
    return void response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: '1', alg: 'ES256' }] }))
  if (request.method !== 'POST' || url !== '/token') return refuse(response, 404, 'invalid_request')
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => token(response, new URLSearchParams(Buffer.concat(chunks).toString())))
})
process.on('SIGTERM', () => process.exit(0))
let origin = ''
server.listen(0, '127.0.0.1', () => {
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  process.stdout.write(`listening ${JSON.stringify({ origin, session })}\n`)
})
