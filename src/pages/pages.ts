// All pages people look at, as the hall hands them to the rooms.
import type { Pages } from '../ports/pages.ts'
import { connectPage, homePage } from './connect.ts'
import { connectUpstreamPage } from './connect-upstream.ts'
import { consentPage } from './consent.ts'
import { encodePage } from './encode.ts'
import { goBackPage } from './go-back.ts'
import { loginPage } from './login.ts'
import { problemPage } from './problem.ts'
import type { Gateway } from './shell.ts'

export const createPages = (gateway: Gateway): Pages => ({
  consent: (view, requestId) => consentPage(gateway, view, requestId),
  login: (view, requestId) => loginPage(gateway, view, requestId),
  home: (view, requestId) => homePage(gateway, view, requestId),
  connect: (view, requestId) => connectPage(gateway, view, requestId),
  connectUpstream: (view, requestId) => connectUpstreamPage(gateway, view, requestId),
  encode: (view, requestId) => encodePage(gateway, view, requestId),
  goBack: (view, requestId) => goBackPage(gateway, view, requestId),
  problem: (view) => problemPage(gateway, view),
})
