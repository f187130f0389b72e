// `npm run prove races`: one device code redeemed by fifty at once, and one personal access token ended while fifty use it.
import { setTimeout as pause } from 'node:timers/promises'
import { type Browser, createBrowser, type Fetch } from '../test/runtimes/browser.ts'
import { form, person } from '../test/runtimes/login.ts'

interface Answers {
  readonly statuses: readonly number[]
}

interface House {
  readonly origin: string
  readonly fetch: Fetch
}

type Volley = (shoot: (house: House) => Promise<Response>) => Promise<Answers>

export const programConfig = {
  device: { clients: ['tv'] },
  clients: { tv: { name: 'Television', token_endpoint_auth_method: 'none' } },
}

const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code'

const counted = (statuses: readonly number[], status: number): number =>
  statuses.filter((one) => one === status).length

/** Each code gives one token: one 200, and 400 to all others. */
const deviceRounds = async (house: House, browser: Browser, rounds: number, volley: Volley) => {
  const wrong: string[] = []
  for (let round = 0; round < rounds; round++) {
    const asked = await house.fetch(
      `${house.origin}/oauth/device_authorization`,
      form({ client_id: 'tv', resource: `${house.origin}/echo/mcp` }),
    )
    const device = (await asked.json()) as { device_code: string; verification_uri_complete: string }
    const page = await browser.submit(await browser.go(device.verification_uri_complete), '/device', {})
    await browser.submit(page, '/oauth/consent', { decision: 'allow' })
    const fields = { grant_type: deviceGrant, client_id: 'tv', device_code: device.device_code }
    const { statuses } = await volley(({ origin, fetch }) => fetch(`${origin}/oauth/token`, form(fields)))
    if (counted(statuses, 200) !== 1 || counted(statuses, 400) !== statuses.length - 1)
      wrong.push(`round ${round}: ${counted(statuses, 200)} × 200, ${counted(statuses, 400)} × 400`)
  }
  return wrong
}

const path = '/account/tokens'
const shown = /ppat_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}/

const sendForm = (browser: Browser, origin: string, fields: Record<string, string>) =>
  browser.go(`${origin}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      origin,
      'sec-fetch-site': 'same-origin',
    },
    body: new URLSearchParams(fields).toString(),
  })

/** A second after it was ended, under fifty uses, no process takes it any more. */
const tokenRounds = async (house: House, browser: Browser, rounds: number, volley: Volley) => {
  const wrong: string[] = []
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
  for (let round = 0; round < rounds; round++) {
    const { fields } = (await browser.go(`${house.origin}${path}`)).form(path)
    const wanted = { ...fields, 'action': 'create', 'name': 'Race', 'service.echo': 'on', 'lifetime': '3600' }
    const token = shown.exec((await sendForm(browser, house.origin, wanted)).body)?.[0] ?? ''
    const headers = {
      'content-type': 'application/json',
      'accept': 'application/json, text/event-stream',
      'authorization': `Bearer ${token}`,
    }
    const use = () =>
      volley(({ origin, fetch }) => fetch(`${origin}/echo/mcp`, { method: 'POST', headers, body }))
    const before = await use()
    const csrf = fields['csrf'] ?? ''
    const [during] = await Promise.all([
      use(),
      sendForm(browser, house.origin, { csrf, action: 'end', token: token.slice(5, 17) }),
    ])
    await pause(1000)
    const after = await use()
    const others = during.statuses.filter((status) => status !== 200 && status !== 401)
    if (counted(before.statuses, 200) !== before.statuses.length || others.length > 0)
      wrong.push(`round ${round}: ${String(before.statuses)} before, ${String(others)} meanwhile`)
    if (counted(after.statuses, 401) !== after.statuses.length)
      wrong.push(`round ${round}: ${counted(after.statuses, 200)} uses a second after the end`)
  }
  return wrong
}

/** Rounds of tokens wait a second each. */
const mostTokenRounds = 20

export const raceProgram = async (
  house: House,
  rounds: number,
  volley: Volley,
): Promise<Readonly<Record<string, readonly string[]>>> => {
  const browser = createBrowser(house.fetch, house.origin)
  const { username, password } = person
  await browser.submit(await browser.go(`${house.origin}/login`), '/login', { username, password })
  return {
    'one device code': await deviceRounds(house, browser, rounds, volley),
    'one personal access token that is ended': await tokenRounds(
      house,
      browser,
      Math.min(rounds, mostTokenRounds),
      volley,
    ),
  }
}
