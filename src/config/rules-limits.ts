// Lifetimes that contradict one another, storage that does not survive, and revisions of MCP that nobody published.
import type { Rule } from './draft.ts'

const lifetimes: Rule = (draft, report) => {
  const [access, refresh, client] = [draft.number('access_token_lifetime'), draft.number('refresh_token_lifetime'), draft.number('client_lifetime')]
  if (access !== undefined && refresh !== undefined && refresh < access) {
    const at = draft.has('refresh_token_lifetime') ? 'refresh_token_lifetime' : 'access_token_lifetime'
    report.fault([at], `makes refresh tokens (${refresh} s) end before the access tokens they renew (${access} s): refresh_token_lifetime must be at least access_token_lifetime`)
  }
  if (client !== undefined && client !== 0 && refresh !== undefined && client < refresh) {
    report.warn(draft.has('client_lifetime') ? ['client_lifetime'] : ['refresh_token_lifetime'], `lets registrations (${client} s unused) end before their refresh tokens (${refresh} s unused); people will be asked to sign in again`)
  }
}

const storage: Rule = (draft, report) => {
  if (draft.production && draft.text('storage', 'type') === 'memory') report.fault(['storage', 'type'], 'memory loses every sign-in at exit, which NODE_ENV=production does not allow: use sqlite')
}

const revisions: Rule = (draft, report) => {
  const { revisions: known } = draft
  if (!known) return
  for (const { value, path } of draft.texts('protocol_versions')) if (!known.includes(value)) report.fault(path, `${draft.said(...path)} is no revision that this gateway knows; possible: ${known.join(', ')}`)
}

export const limitRules: readonly Rule[] = [lifetimes, storage, revisions]
