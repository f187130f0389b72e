// The pages looked at in a real browser: by axe, in both themes, at every width.
import { AxeBuilder } from '@axe-core/playwright'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeInBrowser } from '../houses/chromium.ts'
import { openStage, stateNames, type Stage } from '../pages/stage.ts'

/** One of each kind of problem page; the others differ in words alone. */
const looks = stateNames.filter((name) => !name.startsWith('problem-') || /client\.unknown|redirect-facts|provider\.unreachable|hostile|fault|flow\.used/.test(name))

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(() => stage.close())

const desktop = { width: 1280, height: 720 }
const phone = { width: 390, height: 844 }

describeInBrowser('every page in every state', () => {
  test.each([
    ['light on a desk', 'light', desktop, stateNames],
    ['dark on a desk', 'dark', desktop, looks],
    ['light on a phone', 'light', phone, looks],
    ['dark on a phone', 'dark', phone, looks],
  ] as const)('has no accessibility violation: %s', { timeout: 180_000 }, async (_, colorScheme, viewport, which) => {
    const { page, close } = await stage.open('consent-document', { colorScheme, viewport })
    const found: string[] = []
    for (const name of which) {
      // The way back to an app leaves its page at once; it is looked at where the refresh is dropped.
      await page.route('**/go-back*', async (route) => {
        const response = await route.fetch()
        await route.fulfill({ response, body: (await response.text()).replace(/<meta http-equiv="refresh"[^>]*>/, '') })
      })
      await page.goto(`${stage.gateway}/${name}`)
      const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze()
      found.push(...violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${name}: ${id} ${target.join(' ')} ${failureSummary ?? ''}`)))
      await page.unrouteAll()
    }
    expect(found).toEqual([])
    await close()
  })

  test.each([
    ['a phone', 390],
    ['a small phone, or 400 % zoom of a desk', 320],
    ['200 % zoom of a desk', 640],
  ])('never scrolls sideways on %s', { timeout: 120_000 }, async (_, width) => {
    const { page, close } = await stage.open('consent-document', { viewport: { width, height: 800 } })
    const wide: string[] = []
    for (const name of stateNames) {
      await page.goto(`${stage.gateway}/${name}`)
      if ((await page.evaluate(() => document.documentElement.scrollWidth)) > width) wide.push(name)
    }
    expect(wide).toEqual([])
    await close()
  })

  test('asks nobody else for anything, breaks no policy of its own, and runs nothing of a stranger [hostile P3]', { timeout: 120_000 }, async () => {
    const { page, close } = await stage.open('consent-document')
    const bad: string[] = []
    page.on('request', (request) => {
      if (!request.url().startsWith(stage.gateway) && !request.url().startsWith('cursor:')) bad.push(request.url())
    })
    page.on('console', (message) => {
      if (/Content.Security.Policy|Refused/i.test(message.text())) bad.push(message.text())
    })
    page.on('dialog', (dialog) => {
      bad.push(dialog.message())
      void dialog.dismiss()
    })
    page.on('pageerror', (error) => bad.push(error.message))
    for (const name of stateNames) await page.goto(`${stage.gateway}/${name}`)
    expect(bad).toEqual([])
    await close()
  })

  test('can be told apart without colours', async () => {
    const { page, close } = await stage.open('consent-step-up', { forcedColors: 'active', reducedMotion: 'reduce' })
    expect(await page.locator('.badge').evaluate((element) => getComputedStyle(element).borderTopStyle)).toBe('solid')
    expect(await page.getByRole('button', { name: 'Allow' }).evaluate((element) => getComputedStyle(element).borderTopWidth)).toBe('3px')
    await close()
  })
})
