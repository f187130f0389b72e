// What the site lists and in which order, by the job that somebody has. Paths are below docs/, without `.md`.

export interface Section {
  readonly title: string
  readonly pages: readonly string[]
}

export const contents: readonly Section[] = [
  { title: 'Start', pages: ['start', 'guide/set-up'] },
  {
    title: 'Protect servers',
    pages: ['guide/production', 'guide/stdio-servers', 'guide/who-is-calling', 'guide/upstream-auth', 'guide/routing'],
  },
  {
    title: 'Let people and programs in',
    pages: [
      'guide/sign-in',
      'guide/device-login',
      'guide/personal-tokens',
      'guide/service-accounts',
      'guide/assertions',
      'guide/token-exchange',
      'guide/dpop',
      'guide/refresh-tokens',
    ],
  },
  {
    title: 'Decide, see and end access',
    pages: [
      'guide/access',
      'guide/rate-limits',
      'guide/forward-auth',
      'guide/console',
      'guide/end-access',
      'guide/audit-trail',
      'guide/flows',
      'guide/api',
    ],
  },
  {
    title: 'Run it',
    pages: [
      'guide/containers',
      'guide/kubernetes',
      'guide/storage',
      'guide/several-processes',
      'guide/metrics',
      'guide/traces',
      'guide/branding',
      'guide/cloudflare',
    ],
  },
  { title: 'When something fails', pages: ['troubleshooting', 'guide/doctor', 'reference/refusals'] },
  {
    title: 'Reference',
    pages: [
      'reference/cli',
      'reference/config',
      'reference/endpoints',
      'reference/headers',
      'reference/transports',
      'reference/limits',
      'reference/storage',
      'reference/workers',
    ],
  },
  {
    title: 'Understand and develop',
    pages: ['design/architecture', 'development/testing', 'development/performance'],
  },
]
