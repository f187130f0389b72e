// `postern init`: asks what a first configuration needs and writes it, once it was loaded as the gateway will load it.
import { existsSync, readFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { parseEnv } from 'node:util'
import { createInterface } from 'node:readline/promises'
import { stringify } from 'yaml'
import { wordsOf } from '../config/environment.ts'
import { type FirstSignIn, signIns } from '../config/flags.ts'
import { loadConfig } from '../config/load.ts'
import { knownRevisions } from '../known-revisions.ts'
import { createPasswords } from '../node/passwords.ts'
import type { ConfigurationRequest } from './configuration.ts'
import { writeWhole } from './connect.ts'
import { ConfigError, StartError, UsageError, print, programName } from './output.ts'
import { idFor } from './wrap.ts'
import { variableLine } from './written-secrets.ts'

export interface InitOptions {
  readonly signIn?: FirstSignIn
  readonly user?: string
  readonly clientId?: string
  readonly tenant?: string
  readonly issuer?: string
  readonly allow?: string
  readonly server?: string
  readonly force?: true
  readonly yes?: true
}

/** Asks a person, or takes the default where nobody is to be asked. */
type Ask = (question: string, given: string | undefined, fallback?: string) => Promise<string>

interface Draft {
  /** By key of the configuration. */
  readonly settings: Record<string, unknown>
  /** For the file of variables; an empty one has to be filled in. */
  readonly variables: Map<string, string>
  /** What is still to be done, and what is shown once. */
  readonly notes: string[]
}

const signInQuestion = `Who signs in?
  link    you alone, with a link from the terminal
  local   users with passwords in the configuration
  google, github, entra, openid   an identity provider
Sign-in`

const needed = async (
  ask: Ask,
  question: string,
  given: string | undefined,
  flag: string,
): Promise<string> => {
  const answer = await ask(question, given)
  if (answer === '') throw new UsageError(`${question} is missing: add ${flag}.`)
  return answer
}

const localUser = async (ask: Ask, { user }: InitOptions, draft: Draft): Promise<void> => {
  const name = await ask('Username or email address', user, 'admin')
  const isAddress = name.includes('@')
  const password = randomBytes(15).toString('base64url')
  const username = isAddress ? name.slice(0, name.indexOf('@')) : name
  draft.settings['local_users'] = [
    {
      username,
      password_hash: await createPasswords().hash(password),
      ...(isAddress && { email: name }),
    },
  ]
  draft.settings['admins'] = [`local:${username}`]
  draft.notes.push(`Password of ${username}, shown only now: ${password}`)
}

const provider = async (ask: Ask, kind: FirstSignIn, options: InitOptions, draft: Draft): Promise<void> => {
  const variable = `${kind.toUpperCase()}_LOGIN_SECRET`
  const tenant = kind === 'entra' && (await needed(ask, 'Directory (tenant) ID', options.tenant, '--tenant'))
  const issuer = kind === 'openid' && (await needed(ask, 'Issuer URL', options.issuer, '--issuer'))
  const clientId = await needed(ask, 'Client ID', options.clientId, '--client-id')
  const allow = await needed(
    ask,
    'Email domains or addresses that may sign in, separated by commas',
    options.allow,
    '--allow',
  )
  const allowed = allow.split(/[\s,]+/).filter(Boolean)
  const addresses = allowed.filter((entry) => entry.includes('@'))
  const domains = allowed.filter((entry) => !entry.includes('@'))
  draft.settings['oauth_providers'] = {
    [kind === 'openid' ? 'company' : kind]: {
      type: kind,
      ...(tenant !== false && { tenant }),
      ...(issuer !== false && { issuer }),
      client_id: clientId,
      client_secret: `\${${variable}}`,
      ...(addresses.length > 0 && { allowed_emails: addresses }),
      ...(domains.length > 0 && { allowed_domains: domains }),
    },
  }
  if (addresses.length > 0) draft.settings['admins'] = addresses.slice(0, 1)
  else draft.notes.push('Nobody is an administrator yet: list an email address under admins.')
  draft.variables.set(variable, '')
  draft.notes.push(`Put the client secret into .env: ${variable}=…`)
}

const serverOf = (text: string): readonly [id: string, service: object] => {
  if (/^(?:https?|wss?):/i.test(text)) {
    const host = URL.parse(text)?.hostname ?? ''
    const [first = '', second = ''] = host.split('.')
    return [idFor([['mcp', 'www', 'api'].includes(first) ? second : first || 'server']), { url: text }]
  }
  const [command = '', ...args] = wordsOf(text)
  return [idFor([command, ...args]), { command, args }]
}

const drafted = async (ask: Ask, url: string | undefined, options: InitOptions): Promise<Draft> => {
  const draft: Draft = { settings: {}, variables: new Map(), notes: [] }
  const issuer = await ask('Public URL, as clients see it (empty: only this computer)', url)
  if (issuer !== '') draft.settings['issuer'] = issuer
  const kind = signIns.find((one) => one === options.signIn) ?? (await ask(signInQuestion, undefined, 'link'))
  const signIn = signIns.find((one) => one === kind)
  if (signIn === undefined) throw new UsageError(`Sign-in is one of ${signIns.join(', ')}.`)
  if (signIn === 'local') await localUser(ask, options, draft)
  else if (signIn !== 'link') await provider(ask, signIn, options, draft)
  const server = await ask('First MCP server: a URL, or a command (empty: none yet)', options.server)
  if (server !== '') draft.settings['mcp_services'] = Object.fromEntries([serverOf(server)])
  return draft
}

const asking = async <T>(options: InitOptions, work: (ask: Ask) => Promise<T>): Promise<T> => {
  if (options.yes) return work(async (_, given, fallback = '') => given ?? fallback)
  if (!process.stdin.isTTY)
    throw new UsageError('Nobody can be asked here. Add --yes, and what differs from the defaults.')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return await work(
      async (question, given, fallback = '') =>
        given ??
        ((await lines.question(`${question}${fallback === '' ? '' : ` [${fallback}]`}: `)).trim() ||
          fallback),
    )
  } finally {
    lines.close()
  }
}

const header = '# Configuration of Postern. All keys: postern config schema. Check it: postern validate\n\n'

/** Writes the configuration file, and what is secret into the file of variables. */
export const init = async (
  { file, envFile, flags }: ConfigurationRequest,
  options: InitOptions,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> => {
  const path = file ?? 'postern.yaml'
  if (existsSync(path) && !options.force)
    throw new StartError('init.exists', `${path} exists. Change it, or add --force to replace it.`)
  const { settings, variables, notes } = await asking(options, (ask) => drafted(ask, flags.issuer, options))
  const text = header + (Object.keys(settings).length === 0 ? '' : stringify(settings, { lineWidth: 0 }))
  const loaded = await loadConfig({
    file: { path, text },
    // A secret that is not known yet must not keep the file from being checked.
    env: { ...Object.fromEntries([...variables.keys()].map((name) => [name, 'x'])), ...env },
    revisions: knownRevisions,
  })
  if (!loaded.ok) throw new ConfigError(loaded.faults)
  const envPath = envFile ?? '.env'
  const envText = existsSync(envPath) ? readFileSync(envPath, 'utf8') : ''
  const missing = [...variables].filter(([name]) => parseEnv(envText)[name] === undefined)
  if (missing.length > 0)
    writeWhole(
      envPath,
      `${envText === '' || envText.endsWith('\n') ? envText : `${envText}\n`}${missing.map(([name, value]) => `${variableLine(name, value)}\n`).join('')}`,
    )
  writeWhole(path, text)
  print(`Wrote ${path}.`)
  for (const note of notes) print(note)
  print(`Start the gateway: ${programName(env)}${file === undefined ? '' : ` --config ${file}`}`)
}
