// Findings of steps that were refused: the refusal itself, and what more can be said of it.
import { type RefusalCode, refusals } from '../kit/refusal.ts'
import { remedyOf } from '../kit/refusal-actors.ts'
import type { FlowFinding, FlowRecord, FlowStep } from '../ports/flow-record.ts'
import { type FindingRule, appOf, find, lastOf, whyOf } from './findings.ts'

const says: Readonly<Partial<Record<string, string>>> = {
  'sign-in.failed': 'Invalid credentials.',
  'device.reported': 'The user did not start what a device asked for, and denied it.',
}

/** The finding of a refusal, in its own sentence. */
export const refused = (code: string): FlowFinding => {
  const say = says[code] ?? (code in refusals ? refusals[code as RefusalCode].say : code)
  return { code, ...remedyOf(code), say }
}

const refusedWith = (flow: FlowRecord, ...codes: readonly string[]): FlowStep | undefined => {
  const last = lastOf(flow)
  return last?.result === 'refused' && codes.includes(last.code ?? '') ? last : undefined
}

// The last step was refused: what can be said beyond its code.

const emailMissing = /^allowed_(?:emails|domains): (?!.* is (?:not in it|a personal))/

export const refusalRules: readonly FindingRule[] = [
  {
    code: 'flow.resource-differs',
    acts: 'user',
    fix: 'Use the URL of the service as the home page shows it.',
    find(flow) {
      const step = refusedWith(flow, 'resource.unknown')
      const meant = step?.answer['service_url']
      if (!step || meant === undefined) return undefined
      return `${appOf(flow)} asks for ${String(step.request['resource'])}, and the service is ${String(meant)}.`
    },
  },
  {
    code: 'flow.registration-off',
    acts: 'operator',
    fix: 'Configure the app under clients, or set dynamic_registration to true.',
    find: (flow) =>
      lastOf(flow)?.step === 'register' && refusedWith(flow, 'route.unknown')
        ? 'Apps cannot register themselves at this gateway.'
        : undefined,
  },
  {
    code: 'flow.scheme-http',
    acts: 'operator',
    fix: 'Set issuer to the HTTPS URL, and list the proxy in trusted_proxies.',
    find: (flow) =>
      refusedWith(flow, 'request.plain-http')
        ? 'The proxy in front says that the caller used plain HTTP.'
        : undefined,
  },
  {
    code: 'flow.cookies',
    acts: 'user',
    fix: 'Allow cookies for this gateway, then connect again in the app.',
    find(flow) {
      const step = refusedWith(flow, 'flow.other-browser')
      const begun = find(flow, 'authorize')
      const isSame = step?.ip === begun?.ip && step?.request['agent'] === begun?.request['agent']
      return step && begun && isSame && whyOf(step) === 'flow cookie missing'
        ? 'The browser sent no cookies.'
        : undefined
    },
  },
  {
    code: 'provider.no-email',
    acts: 'operator',
    fix: 'If the provider verifies email addresses without saying so, set email_verified: trust; or allow groups.',
    find(flow) {
      const step = refusedWith(flow, 'person.not-allowed')
      return step && emailMissing.test(whyOf(step))
        ? 'Users are allowed by email address, and the identity provider sent no verified one.'
        : undefined
    },
  },
  {
    code: 'provider.groups-overage',
    acts: 'operator',
    fix: 'At the identity provider, send only the groups that are assigned to the application.',
    find(flow) {
      const step = refusedWith(flow, 'person.not-allowed')
      return step && whyOf(step).includes('did not send them')
        ? 'The user has too many groups, and the identity provider sent none of them.'
        : undefined
    },
  },
  {
    code: 'provider.groups-unmapped',
    acts: 'operator',
    fix: 'Add one of these groups to allowed_groups.',
    find(flow) {
      const step = refusedWith(flow, 'person.not-allowed')
      const [, groups] = /^allowed_groups: none of its groups \(([^)]+)\)/.exec(step ? whyOf(step) : '') ?? []
      if (groups === undefined || groups.startsWith('the provider')) return undefined
      const n = groups.split(', ').length
      return `The identity provider sent ${n} ${n === 1 ? 'group' : 'groups'}, and no rule names one.`
    },
  },
  {
    code: 'person.not-allowed',
    acts: 'operator',
    fix: 'Set groups_claim to the claim that has the groups, or ask the provider to send them.',
    find(flow) {
      const step = refusedWith(flow, 'person.not-allowed')
      return step && whyOf(step).includes('the provider sent none')
        ? 'Users are allowed by group, and the identity provider sent none.'
        : undefined
    },
  },
]
