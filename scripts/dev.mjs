// `npm run dev`: the Workers house on this machine, http://localhost:8787. The first run makes a person and a root secret of its own in .dev.vars.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const file = `${root}.dev.vars`

if (!existsSync(file)) {
  const password = randomBytes(9).toString('base64url')
  writeFileSync(file, `LOCAL_USER=owner\nLOCAL_PASSWORD=${password}\nSESSION_SECRET=${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 })
}
const sign = Object.fromEntries(readFileSync(file, 'utf8').split('\n').flatMap((line) => (line.includes('=') ? [[line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]] : [])))
if (sign.LOCAL_USER) process.stdout.write(`\n  Sign in as ${sign.LOCAL_USER} with the password in .dev.vars (LOCAL_PASSWORD)\n  MCP server  http://localhost:8787/demo/mcp\n\n`)

const wrangler = fileURLToPath(new URL('../node_modules/wrangler/bin/wrangler.js', import.meta.url))
const child = spawn(process.execPath, [wrangler, 'dev', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' },
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
child.once('exit', (code) => process.exit(code ?? 0))
