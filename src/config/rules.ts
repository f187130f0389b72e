// Every rule that joins keys, in the order in which faults of one place are told.
import type { Rule } from './draft.ts'
import { addressRules } from './rules-address.ts'
import { clientRules } from './rules-clients.ts'
import { commandRules } from './rules-commands.ts'
import { hostRules } from './rules-hosts.ts'
import { limitRules } from './rules-limits.ts'
import { peopleRules } from './rules-people.ts'
import { secretRules } from './rules-secrets.ts'
import { serviceRules } from './rules-services.ts'
import { upstreamRules } from './rules-upstream.ts'
import { workersRules } from './rules-workers.ts'

export const rules: readonly Rule[] = [
  ...addressRules,
  ...secretRules,
  ...peopleRules,
  ...serviceRules,
  ...upstreamRules,
  ...commandRules,
  ...hostRules,
  ...clientRules,
  ...limitRules,
  ...workersRules,
]
