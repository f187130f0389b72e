// All pages of the console, as gateway.ts hands them to the console.
import type { ConsolePages } from '../../ports/console.ts'
import type { PageContext } from '../layout.ts'
import { accountsPage } from './service-accounts.ts'
import { activityPage } from './activity.ts'
import { addPage, addingPage } from './add.ts'
import { changesPage } from './changes.ts'
import { connectionsPage } from './connections.ts'
import { flowPage, flowsPage } from './flow-pages.ts'
import { overviewPage } from './overview.ts'
import { holdersPage } from './people.ts'
import { clientPage, personPage } from './person.ts'
import { searchPage } from './search.ts'
import { servicePage } from './service.ts'
import { sessionsPage, tokensPage } from './sessions.ts'
import { settingsPage } from './settings.ts'
import { servicesPage } from './services.ts'

export const createConsolePages = (gateway: PageContext): ConsolePages => ({
  overview: (frame, view) => overviewPage(gateway, frame, view),
  services: (frame, view) => servicesPage(gateway, frame, view),
  service: (frame, view) => servicePage(gateway, frame, view),
  changes: (frame, view) => changesPage(gateway, frame, view),
  holders: (frame, view) => holdersPage(gateway, frame, view),
  person: (frame, view) => personPage(gateway, frame, view),
  client: (frame, view) => clientPage(gateway, frame, view),
  activity: (frame, view) => activityPage(gateway, frame, view),
  flowList: (frame, view) => flowsPage(gateway, frame, view),
  flow: (frame, view) => flowPage(gateway, frame, view),
  settings: (frame, view) => settingsPage(gateway, frame, view),
  sessions: (frame, view) => sessionsPage(gateway, frame, view),
  tokens: (frame, view) => tokensPage(gateway, frame, view),
  accounts: (frame, view) => accountsPage(gateway, frame, view),
  connections: (frame, view) => connectionsPage(gateway, frame, view),
  search: (frame, view) => searchPage(gateway, frame, view),
  add: (frame, view) => addPage(gateway, frame, view),
  adding: (frame, view, run) => addingPage(gateway, frame, view, run),
})
