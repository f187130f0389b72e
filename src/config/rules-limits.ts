// Lifetimes that contradict one another, storage that does not survive, and revisions of MCP that nobody published.
import type { Rule } from './draft.ts'

const lifetimes: Rule = (draft, report) => {
  const [access, refresh, client] = [draft.number('access_token_lifetime'), draft.number('refresh_token_lifetime'), draft.number('client_lifetime')]
  if (access !== undefined && refresh !== undefined && refresh < access) {
    const at = draft.has('refresh_token_lifetime') ? 'refresh_token_lifetime' : 'access_token_lifetime'
    report.fault([at], `makes refresh tokens (${refresh} s) expire before access tokens (${access} s): set refresh_token_lifetime to at least access_token_lifetime`)
  }
  if (client !== undefined && client !== 0 && refresh !== undefined && client < refresh) {
    report.warn(draft.has('client_lifetime') ? ['client_lifetime'] : ['refresh_token_lifetime'], `makes client registrations (${client} s) expire before their refresh tokens (${refresh} s): users will have to sign in again`)
  }
}

const storage: Rule = (draft, report) => {
  if (draft.production && draft.text('storage', 'type') === 'memory') report.fault(['storage', 'type'], 'memory is not allowed with NODE_ENV=production, because all sign-ins are lost on exit: use sqlite')
}

const revisions: Rule = (draft, report) => {
  const { revisions: known } = draft
  if (!known) return
  for (const { value, path } of draft.texts('protocol_versions')) if (!known.includes(value)) report.fault(path, `${draft.said(...path)} is not a supported MCP revision: use ${known.join(', ')}`)
}

export const limitRules: readonly Rule[] = [lifetimes, storage, revisions]
