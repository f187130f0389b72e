// The pages looked at in a real browser: by axe, in both themes, at every width.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { RunOptions, default as Axe } from 'axe-core'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeInBrowser } from '../runtimes/chromium.ts'
import { openStage, stateNames, type Stage } from '../pages/stage.ts'

/** The one without comments, less than half as long: the page of each state reads it anew. */
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Of the pages of the console, those that have every part. */
const judged = stateNames.filter(
  (name) =>
    !name.startsWith('console-') ||
    /-(?:locked|first|services|service|service-hostile|service-processes|clients|person|client-hostile|changes-access|changes-hostile|connections-hostile|search|adding|add-problem|activity-row|activity-hostile|flows|flow|flow-hostile|sessions|tokens-hostile|settings|settings-hostile)$/.test(
      name,
    ),
)

/**
 * Whose layout no other state has: looked at in both themes, and by axe on a phone too. Of those that differ
 * in words alone, as what strangers write and most problem pages, one stands for each kind.
 */
const looks = judged.filter(
  (name) =>
    !/^(?:problem|console|consent-hostile|consent-levels|connect-upstream|login|encode)-/.test(name) ||
    /^console-(?:overview-locked|services|person|changes-access|activity-row|flow|settings)$/.test(name) ||
    /^problem-(?:client\.unknown|redirect-facts|provider\.unreachable|fault|flow\.used|hostile)$/.test(
      name,
    ) ||
    /^consent-(?:hostile-long|levels-more-destructive)$/.test(name) ||
    /^(?:connect-upstream-(?:first|several|hostile)|login-(?:password|everything|hostile)|encode-served)$/.test(
      name,
    ),
)

/** Whose markup another state has with other words: judged by width alone. */
const worded = judged.filter((name) => name.startsWith('problem-') && !looks.includes(name))

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(() => stage.close())

const desktop = { width: 1280, height: 720 }
const phone = { width: 390, height: 844 }
const height = 800

/** The rules of WCAG A and AA that a change of colours alone can break. */
const colourRules: RunOptions = { runOnly: ['color-contrast', 'link-in-text-block'] }

/**
 * The rules for which axe fetches every stylesheet and all media once more, which costs a third of a run. They
 * judge what pages have in common: one page stands for each stylesheet.
 */
const loadingRules: RunOptions = { preload: true, runOnly: ['css-orientation-lock', 'no-autoplay-audio'] }
const withStylesheet = ['consent-document', 'console-services']

const themes = ['light on a desk', 'dark on a desk', 'light on a phone', 'dark on a phone'] as const
const widths = { 'a phone': 390, 'a small phone, or 400 % zoom of a desk': 320, '200 % zoom of a desk': 640 }

/** What axe says against the page as it is now. axe is in the page already. */
const violationsOn = async (page: Page, options: RunOptions = {}): Promise<string[]> => {
  const violations = await page.evaluate(
    async (chosen) =>
      (await (globalThis as unknown as { axe: typeof Axe }).axe.run(chosen)).violations.map(
        ({ id, nodes }) => ({
          id,
          nodes: nodes.map(({ target, failureSummary }) => `${target.join(' ')} ${failureSummary ?? ''}`),
        }),
      ),
    { preload: false, ...options, resultTypes: ['violations' as const] },
  )
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id} ${node}`))
}

/** What a page does that it must not: asks others, breaks its policy, runs what a stranger wrote, fails. */
const watch = (page: Page): readonly string[] => {
  const bad: string[] = []
  page.on('request', (request) => {
    if (!request.url().startsWith(stage.gateway) && !request.url().startsWith('cursor:'))
      bad.push(request.url())
  })
  page.on('console', (message) => {
    if (/Content.Security.Policy|Refused/i.test(message.text())) bad.push(message.text())
  })
  page.on('dialog', (dialog) => {
    bad.push(dialog.message())
    void dialog.dismiss()
  })
  page.on('pageerror', (error) => bad.push(error.message))
  return bad
}

/**
 * Opens each state once and looks at it in both themes and at every width: to load a page and axe costs more
 * than to look. axe is given to the browser once.
 */
const lookAtAll = async () => {
  const found = Object.fromEntries(themes.map((theme) => [theme, [] as string[]]))
  const wide = Object.fromEntries(Object.keys(widths).map((name) => [name, [] as string[]]))
  // Without transitions a change of theme is complete at once.
  const { page, close } = await stage.open('consent-document', {
    colorScheme: 'light',
    viewport: desktop,
    reducedMotion: 'reduce',
  })
  await page.addInitScript({ content: axe })
  const bad = watch(page)
  const judge = async (name: string, theme: (typeof themes)[number], options?: RunOptions): Promise<void> => {
    found[theme]?.push(...(await violationsOn(page, options)).map((text) => `${name}: ${text}`))
  }
  const lookAt = async (name: string): Promise<void> => {
    await page.emulateMedia({ colorScheme: 'light' })
    await page.setViewportSize(desktop)
    await page.goto(`${stage.gateway}/${name}`)
    if (!worded.includes(name)) await judge(name, 'light on a desk')
    if (withStylesheet.includes(name)) await judge(name, 'light on a desk', loadingRules)
    if (looks.includes(name)) {
      await page.emulateMedia({ colorScheme: 'dark' })
      await judge(name, 'dark on a desk', colourRules)
      await page.setViewportSize(phone)
      await judge(name, 'dark on a phone', colourRules)
      await page.emulateMedia({ colorScheme: 'light' })
      await judge(name, 'light on a phone')
    }
    for (const [title, width] of Object.entries(widths)) {
      await page.setViewportSize({ width, height })
      if ((await page.evaluate(() => document.documentElement.scrollWidth)) > width) wide[title]?.push(name)
    }
  }
  const back = judged.filter((name) => name.startsWith('go-back'))
  for (const name of judged) if (!back.includes(name)) await lookAt(name)
  // The way back to an app leaves its page at once; it is looked at without its refresh. While
  // there is a route, the browser asks about every request and caches nothing.
  await page.route('**/go-back*', async (route) => {
    const response = await route.fetch()
    await route.fulfill({
      response,
      body: (await response.text()).replace(/<meta http-equiv="refresh"[^>]*>/, ''),
    })
  })
  for (const name of back) await lookAt(name)
  // As it is, with its refresh.
  await page.unroute('**/go-back*')
  for (const name of stateNames.filter((one) => one.startsWith('go-back')))
    await page.goto(`${stage.gateway}/${name}`)
  await close()
  return { found, wide, bad }
}

describeInBrowser('every page in every state', () => {
  let seen: Awaited<ReturnType<typeof lookAtAll>>
  beforeAll(async () => {
    seen = await lookAtAll()
  }, 360_000)

  test.each(themes)('has no accessibility violation: %s', (theme) => {
    expect(seen.found[theme]).toEqual([])
  })

  test.each(Object.keys(widths))('never scrolls sideways on %s', (title) => {
    expect(seen.wide[title]).toEqual([])
  })

  test('asks nobody else for anything, breaks no policy of its own, and runs nothing of a stranger [H-P3]', () => {
    expect(seen.bad).toEqual([])
  })

  test('can be told apart without colours', async () => {
    const { page, close } = await stage.open('consent-step-up', {
      forcedColors: 'active',
      reducedMotion: 'reduce',
    })
    expect(await page.locator('.badge').evaluate((element) => getComputedStyle(element).borderTopStyle)).toBe(
      'solid',
    )
    expect(
      await page
        .getByRole('button', { name: 'Allow' })
        .evaluate((element) => getComputedStyle(element).borderTopWidth),
    ).toBe('3px')
    await close()
  })
})
