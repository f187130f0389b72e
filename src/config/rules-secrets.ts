// Secrets that protect nothing: sample text, short ones, one secret for two purposes.
import type { Draft, Rule } from './draft.ts'
import { type Path, keyText } from './fault.ts'

// Words of sample secrets in documents, ours and other people's. Long enough that a random secret does not hold one by chance.
const samples =
  /change.?(me|in.?prod|this|it)|your.(jwt|dev|own|secret|session|random|super|key|client|password)|replace.?(me|this)|example|sample|placeholder|insert.?(your|here)|super.?secret|secret.?key|dev.?secret|my.?secret|test.?secret|production.?secret|at.?least.?32|random.?string|development|0123456789|abcdefghij|password|<.*>/i

const cure = 'set a random value (openssl rand -base64 32), or remove it to use a key generated in the state directory'
const workersCure = 'set a random value (openssl rand -hex 32 | npx wrangler secret put SESSION_SECRET)'

/** Why a secret of ours is worth nothing, undefined when nothing speaks against it. */
export const weakness = (secret: string): string | undefined => {
  if (secret.length < 32) return 'is shorter than 32 characters'
  if (samples.test(secret)) return 'is a sample value from public documentation'
  return new Set(secret).size < 8 ? 'repeats a few characters and is easy to guess' : undefined
}

/** A weak root secret in a development configuration is set aside and a generated one used; everywhere else it is a fault, and so it is on Workers, which generate none. */
export const setsRootAside = (draft: Pick<Draft, 'text' | 'flag' | 'loopback' | 'workers'>): boolean => {
  const root = draft.text('session_secret')
  return root !== undefined && weakness(root) !== undefined && !draft.workers && draft.flag('debug') && draft.loopback
}

const root: Rule = (draft, report) => {
  const secret = draft.text('session_secret')
  const weak = secret === undefined ? undefined : weakness(secret)
  if (!weak) return
  if (setsRootAside(draft)) report.warn(['session_secret'], `${weak}; it is ignored because of debug: true on localhost, and a generated key is used instead`)
  else report.fault(['session_secret'], `${weak}: ${draft.workers ? workersCure : cure}`)
}

const sealing: Rule = (draft, report) => {
  const secret = draft.text('token_encryption_key')
  const weak = secret === undefined ? undefined : weakness(secret)
  if (weak) report.fault(['token_encryption_key'], `${weak}: set a random value (openssl rand -hex 32), or remove it to encrypt with session_secret`)
}

const previous: Rule = (draft, report) => {
  for (const { value, path } of draft.texts('previous_secrets')) {
    const weak = weakness(value)
    // What a known secret opens, anybody can have sealed.
    if (weak) report.fault(path, `${weak}: remove it`)
  }
}

const clientSecrets: Rule = (draft, report) => {
  for (const id of draft.keys('clients')) {
    const path = ['clients', id, 'client_secret']
    const weak = weakness(draft.text(...path) ?? 'x8Qm2Zr7Lk4Wv9Tn3Bc6Yh1Jd5Gf0PsEu')
    if (weak) report.fault(path, `${weak}: set a random value (openssl rand -base64 32)`)
  }
}

const rootKeys = new Set<unknown>(['session_secret', 'token_encryption_key', 'previous_secrets'])

/** One secret, one purpose: whoever learns a password or a client's secret must not hold the root with it. */
const onePurpose: Rule = (draft, report) => {
  const first = new Map<string, Path>()
  const roots = draft.secrets().filter(({ path }) => rootKeys.has(path[0]))
  for (const { value, path } of [...roots, ...draft.secrets().filter((secret) => !roots.some((known) => known.path === secret.path))]) {
    const before = first.get(value)
    const isRoot = rootKeys.has(path[0])
    if (before) report.fault(path, `has the same value as ${keyText(before)}: use a different secret for each purpose`)
    else if (isRoot) first.set(value, path)
  }
}

export const secretRules: readonly Rule[] = [root, sealing, previous, clientSecrets, onePurpose]
