// A real browser for the tests that need one, and what they do where there is none.
import { type Browser, chromium, type Page } from 'playwright-core'
import { describe, test } from 'vitest'
import { findBrowser, inCI } from '../../scripts/system-programs.mjs'
import { person } from './login.ts'

const found = findBrowser()

/** Suites in a browser. A machine without one skips them with their set-up; in CI they fail. */
export const describeInBrowser = describe.skipIf(found === undefined && !inCI())
export const testInBrowser = test.skipIf(found === undefined && !inCI())

export const launchChromium = (): Promise<Browser> => {
  if (!found) throw new Error('There is no browser on this machine. Run: node scripts/bootstrap.mjs system')
  return chromium.launch({
    executablePath: found.path,
    env: { ...process.env, ...found.env },
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...found.args,
    ],
  })
}

/** Signs in and allows in the page, where the gateway asks. */
export const allowInPage = async (page: Page, url: string): Promise<void> => {
  await page.goto(url)
  if (await page.getByLabel('Password').isVisible()) {
    await page.getByLabel('Username').fill(person.username)
    await page.getByLabel('Password').fill(person.password)
    await page.getByRole('button', { name: 'Sign in' }).click()
  }
  await page.getByRole('button', { name: 'Allow' }).click()
}
