// The routes for administrators: the API and the page beside it.
import type { Route } from '../ports/modules.ts'
import type { AccessApi } from './access-api.ts'
import type { ServicesApi } from './services-api.ts'

export interface AdminHandlers {
  readonly services: ServicesApi
  readonly access: AccessApi
}

export const adminRoutes = (h: AdminHandlers): readonly Route[] => [
  {
    paths: ['/api/services'],
    description: 'For administrators: list services, add a service (session cookie, X-CSRF-Token)',
    surface: 'json',
    cors: false,
    methods: { GET: h.services.list, POST: h.services.add },
  },
  {
    paths: ['/api/services/:id'],
    description: 'For administrators: show a service, remove an added service',
    surface: 'json',
    cors: false,
    methods: { GET: h.services.show, DELETE: h.services.remove },
  },
  {
    paths: ['/api/grants', '/api/grants/:id'],
    description:
      'For administrators: list grants (?user=, ?client=, ?service=), show one, end one or those listed (?dry_run=1 only counts)',
    surface: 'json',
    cors: false,
    methods: { GET: h.access.grants, DELETE: h.access.end },
  },
  {
    paths: ['/api/blocks'],
    description:
      'For administrators: list blocks, block a user, a client or a client of a user, unblock (?user=, ?client=)',
    surface: 'json',
    cors: false,
    methods: { GET: h.access.blocks, POST: h.access.block, DELETE: h.access.unblock },
  },
  {
    paths: ['/api/access', '/api/access/:id'],
    description: 'For administrators: list stored access rules, show one, add one, remove one',
    surface: 'json',
    cors: false,
    methods: { GET: h.access.rules, POST: h.access.addRule, DELETE: h.access.removeRule },
  },
  {
    paths: ['/api/sessions'],
    description: 'For administrators: end all browser sessions of a user (?user=)',
    surface: 'json',
    cors: false,
    methods: { DELETE: h.access.signOut },
  },
  {
    paths: ['/api/processes'],
    description:
      'For administrators: processes of stdio servers, recent failures, and their standard error output',
    surface: 'json',
    cors: false,
    methods: { GET: h.services.processes },
  },
]
