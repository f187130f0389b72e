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
  consent: (view) => consentPage(gateway, view),
  login: (view) => loginPage(gateway, view),
  home: (view) => homePage(gateway, view),
  connect: (view) => connectPage(gateway, view),
  connectUpstream: (view) => connectUpstreamPage(gateway, view),
  encode: (view) => encodePage(gateway, view),
  goBack: (view) => goBackPage(gateway, view),
  problem: (view) => problemPage(gateway, view),
})
