// `npm run dev`: the gateway as a Worker on this machine, http://localhost:8787. The first run makes a person and a
// root secret of its own in .dev.vars.
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const file = `${root}.dev.vars`
const flags = process.argv.slice(2)

if (!existsSync(file)) {
  const password = randomBytes(9).toString('base64url')
  writeFileSync(
    file,
    `LOCAL_USER=owner\nLOCAL_PASSWORD=${password}\nSESSION_SECRET=${randomBytes(32).toString('base64url')}\n`,
    { mode: 0o600 },
  )
}
const pairs = readFileSync(file, 'utf8')
  .split('\n')
  .map((line) => /^\s*([A-Z_]+)\s*=\s*"?(.*?)"?\s*$/.exec(line))
const vars = Object.fromEntries(pairs.flatMap((pair) => (pair ? [[pair[1], pair[2]]] : [])))

const config = readFileSync(`${root}wrangler.jsonc`, 'utf8').replaceAll(
  /\/\*[\s\S]*?\*\/|(?<=^|[\s,{[])\/\/.*$/gm,
  '',
)
const has = (name) => new RegExp(`"${name}"\\s*:`).test(config)
const given = (flag) => flags.some((word) => word === flag || word.startsWith(`${flag}=`))

const at = flags.findIndex((word) => word === '--port' || word.startsWith('--port='))
const port = Number(
  at < 0
    ? (/"port"\s*:\s*(\d+)/.exec(config)?.[1] ?? 8787)
    : flags[at].includes('=')
      ? flags[at].slice('--port='.length)
      : flags[at + 1],
)
const url = `http://localhost:${port}`

// What a deployment pins is its public URL; here the Worker is this computer's alone.
const local = [
  ...(has('MCP_ISSUER') && !vars.MCP_ISSUER && port > 0 ? ['--var', `MCP_ISSUER:${url}`] : []),
  // With routes wrangler would tell the Worker that it was called by the route's name.
  ...((has('route') || has('routes')) && !given('--host') && port > 0 ? ['--host', `localhost:${port}`] : []),
]

if (port > 0) process.stdout.write(`\n  Postern     ${url}/\n`)
if (
  port > 0 &&
  !vars.DOWNSTREAM_MCP_URL &&
  !vars.POSTERN_CONFIG &&
  !has('DOWNSTREAM_MCP_URL') &&
  !has('POSTERN_CONFIG')
)
  process.stdout.write(`  MCP server  ${url}/demo/mcp\n`)
if (vars.LOCAL_USER)
  process.stdout.write(`  Sign in as ${vars.LOCAL_USER} with the password in .dev.vars (LOCAL_PASSWORD)\n`)
process.stdout.write('\n')

const wrangler = fileURLToPath(new URL('../node_modules/wrangler/bin/wrangler.js', import.meta.url))
const child = spawn(process.execPath, [wrangler, 'dev', ...flags, ...local], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' },
})
child.once('exit', (code) => process.exit(code ?? 0))

/** Everything below a process: wrangler starts itself once more, and that one workerd and esbuild. */
const below = (pid) => {
  const rows = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((row) => row.trim().split(/\s+/).map(Number))
  const found = [pid]
  for (const parent of found) found.push(...rows.filter(([, above]) => above === parent).map(([own]) => own))
  return found
}
const kill = (pid) => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Ended already.
  }
}
let ending = false
const end = (signal) => {
  if (ending) return
  ending = true
  child.kill(signal)
  // Whoever does not end in time is ended, and nobody is left behind.
  setTimeout(() => below(child.pid).toReversed().forEach(kill), 3000)
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => end(signal))
// npm or the shell in between may be ended without a word.
const starter = process.ppid
setInterval(() => process.ppid === starter || end('SIGTERM'), 500).unref()
