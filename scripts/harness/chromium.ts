// A person at a browser: Debian's Chromium, driven through login and consent with clicks and keys.
import { type Browser, chromium, type Page } from 'playwright-core'
import { findBrowser } from '../system-programs.mjs'
import { person } from './postern.ts'

export interface Chromium {
  /**
   * Opens an authorization URL in a fresh browser profile, signs in, allows, and returns where the client
   * received the person.
   */
  readonly allow: (url: string, options?: { readonly loginLink?: string }) => Promise<string>
  readonly close: () => Promise<void>
}

/** What the page asks for, done; false when it asks for nothing. */
const answer = async (page: Page): Promise<boolean> => {
  const password = page.locator('input[name=password]')
  if (await password.isVisible()) {
    await page.locator('input[name=username]').fill(person.username)
    await password.fill(person.password)
    await password.press('Enter')
    return true
  }
  const allow = page.locator('[name=decision][value=allow]')
  if (!(await allow.isVisible())) return false
  await allow.click()
  return true
}

/** A client's own address may not listen yet when the browser comes: a person would reload. */
const openPatiently = async (page: Page, url: string): Promise<void> => {
  for (let attempt = 0; ; attempt++) {
    try {
      await page.goto(url, { waitUntil: 'commit' })
      return
    } catch (error) {
      if (attempt === 20 || !String(error).includes('ERR_CONNECTION_REFUSED')) throw error
      await page.waitForTimeout(250)
    }
  }
}

const walk = async (browser: Browser, url: string, loginLink?: string): Promise<string> => {
  const context = await browser.newContext()
  context.setDefaultTimeout(15_000)
  const page = await context.newPage()
  const gateway = new URL(url).origin
  // Where a redirect away from the gateway leads, whether anybody listens there or not.
  const visited: string[] = []
  page.on('request', (request) => {
    if (request.isNavigationRequest() && new URL(request.url()).origin !== gateway)
      visited.push(request.url())
  })
  try {
    if (loginLink !== undefined) await page.goto(loginLink)
    await page.goto(url)
    for (let step = 0; step < 4 && visited.length === 0; step++) {
      const before = page.url()
      if (!(await answer(page)))
        throw new Error(
          `Chromium shows neither login nor consent at ${page.url()}:\n${(await page.locator('body').innerText()).slice(0, 1000)}`,
        )
      await Promise.race([
        page.waitForURL((now) => now.href !== before, { waitUntil: 'load' }),
        page.waitForEvent('requestfailed'),
      ]).catch(() => {})
    }
    const [left] = visited
    if (left === undefined) throw new Error(`Chromium never left the gateway: ${page.url()}`)
    if (page.url() !== left && !page.url().startsWith(new URL(left).origin)) await openPatiently(page, left)
    return left
  } finally {
    await context.close()
  }
}

export const openChromium = async (): Promise<Chromium> => {
  const found = findBrowser()
  if (!found) throw new Error('Chromium is not installed. Run: node scripts/bootstrap.mjs system')
  const sandboxed = process.getuid?.() !== 0 && Object.keys(found.env).length === 0
  const browser = await chromium.launch({
    executablePath: found.path,
    args: [...found.args, ...(sandboxed ? [] : ['--no-sandbox'])],
    env: { ...process.env, ...found.env },
  })
  return {
    allow: (url, { loginLink } = {}) => walk(browser, url, loginLink),
    close: () => browser.close(),
  }
}
