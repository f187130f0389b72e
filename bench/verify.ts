// The check that nginx and Caddy ask for each call: a token from a cache of verified ones, answered 204 with
// the caller's identity, or 401. Usage: node bench/verify.ts <token>
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const known = new Map([
  [`Bearer ${process.argv[2] ?? ''}`, { id: '1', email: 'ada@example.test', until: Date.now() + 3_600_000 }],
])

const server = createServer((request, response) => {
  const who = known.get(request.headers.authorization ?? '')
  if (!who || who.until < Date.now()) response.writeHead(401).end()
  else response.writeHead(204, { 'X-User-Id': who.id, 'X-User-Email': who.email }).end()
})
server.keepAliveTimeout = 65_000
server.listen(0, '127.0.0.1', () =>
  process.stdout.write(`listening ${(server.address() as AddressInfo).port}\n`),
)
