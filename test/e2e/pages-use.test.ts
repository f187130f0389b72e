// The pages used in a real browser: by keyboard and mouse, with and without JavaScript, in frames and popups.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeInBrowser } from '../runtimes/chromium.ts'
import { openStage, stateNames, type Stage } from '../pages/stage.ts'
import { consent } from '../pages/states.ts'

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(() => stage.close())

const desktop = { width: 1280, height: 720 }
const phone = { width: 390, height: 844 }

describeInBrowser('the consent page', () => {
  const ordinary = stateNames.filter((name) =>
    /^consent-(document|loopback|dynamic|registered|step|short|elsewhere|levels(?!-hostile|-more))/.test(
      name,
    ),
  )

  test.each([
    ['a desk', desktop],
    ['a phone', phone],
  ])(
    'shows everything that matters, buttons included, on the first screen of %s',
    { timeout: 60_000 },
    async (_, viewport) => {
      const { page, close } = await stage.open('consent-document', { viewport })
      for (const name of ordinary) {
        await page.goto(`${stage.gateway}/${name}`)
        const lowest = await page.evaluate(() =>
          Math.max(
            ...['.decision', 'summary'].map(
              (part) => document.querySelector(part)?.getBoundingClientRect().bottom ?? Infinity,
            ),
          ),
        )
        expect(lowest, name).toBeLessThanOrEqual(viewport.height)
      }
      await close()
    },
  )

  test('has an Allow and a Cancel of equal size, and waits for a person: focus is on the heading and Enter sends nothing [H-E1]', async () => {
    const { page, close } = await stage.open('consent-document')
    const [allow, cancel] = await Promise.all(
      ['Allow', 'Cancel'].map((name) => page.getByRole('button', { name }).boundingBox()),
    )
    expect([allow?.width, allow?.height]).toEqual([cancel?.width, cancel?.height])
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('H1')
    const before = stage.posts.length
    await page.keyboard.press('Enter')
    await page.keyboard.press('Space')
    expect(await page.title()).toContain('Allow ChatGPT to use Jira tools?')
    expect(stage.posts.length).toBe(before)
    await close()
  })

  test.each([
    ['Allow', 'allow'],
    ['Cancel', 'deny'],
  ])(
    'sends the answer of %s through to the client of another origin without JavaScript, and names its own origin [H-E2, H-E5]',
    async (button, decision) => {
      const { page, close } = await stage.open('consent-document', { javaScriptEnabled: false })
      await page.getByRole('button', { name: button }).click()
      await page.waitForURL(`${stage.client}/callback?code=c&state=s`)
      expect(stage.posts.at(-1)).toEqual({
        path: '/oauth/consent',
        origin: stage.gateway,
        body: `flow=${consent.flow}&csrf=${consent.csrf}&decision=${decision}`,
      })
      await close()
    },
  )

  test('is answered once, however often the button is hit', async () => {
    const { page, close } = await stage.open('consent-document')
    const before = stage.posts.length
    await page.getByRole('button', { name: 'Allow' }).dblclick({ noWaitAfter: true })
    await page.waitForURL(/callback/)
    expect(stage.posts.length - before).toBe(1)
    await close()
  })

  test('takes no click in its first half second, nor in the half second after its window came to the front [H-E21]', async () => {
    const { page, close } = await stage.open('consent-document')
    const pointers = (currentTime: number) =>
      page.evaluate((time) => {
        const button = document.querySelector('.decision button')
        if (!button) throw new Error('no button')
        for (const animation of button.getAnimations()) {
          animation.pause()
          animation.currentTime = time
        }
        return getComputedStyle(button).pointerEvents
      }, currentTime)
    await page.evaluate(() => dispatchEvent(new Event('focus')))
    expect(await pointers(0)).toBe('none')
    expect(await pointers(499)).toBe('none')
    expect(await pointers(501)).toBe('auto')
    await close()
  })

  test('does not appear in a frame [H-E2, H-E21]', async () => {
    const { page, close } = await stage.open(`${stage.client}/frame`)
    const frame = page.frames()[1]
    expect(await frame?.locator('.decision').count()).toBe(0)
    await close()
  })

  test('may stand in a popup: the client that opened it hears the answer', async () => {
    const { page, close } = await stage.open(stage.client)
    const [popup] = await Promise.all([
      page.waitForEvent('popup'),
      page.getByRole('button', { name: 'Connect' }).click(),
    ])
    await popup.getByRole('button', { name: 'Allow' }).click()
    await page.getByText('it is back').waitFor()
    await close()
  })
})

describeInBrowser('around it', () => {
  test('an app with a scheme of its own is opened by itself', async () => {
    const { page, close } = await stage.open('connect')
    const session = await page.context().newCDPSession(page)
    await session.send('Page.enable')
    const asked = new Promise<string>((resolve) => {
      session.on('Page.frameRequestedNavigation', (event) => {
        if (event.url.startsWith('cursor:')) resolve(event.url)
      })
      session.on('Page.frameScheduledNavigation', (event) => {
        if (event.url.startsWith('cursor:')) resolve(event.url)
      })
    })
    await page.goto(`${stage.gateway}/go-back`)
    expect(await asked).toBe(
      'cursor://anysphere.cursor-mcp/oauth/callback?code=pc_x.y&state=s&iss=https%3A%2F%2Fmcp.example.com',
    )
    await close()
  })

  test('a sign-in page that waits for the link of the terminal goes on when the link was opened in another tab', async () => {
    const { page, close } = await stage.open('login-link')
    const gone = page.waitForRequest((request) => request.url() === `${stage.gateway}/login?flow=f_Zk3`)
    const other = await page.context().newPage()
    await other.goto(`${stage.gateway}/home-one`)
    await gone
    await close()
  })

  test('a sign-in page where somebody is typing stays', async () => {
    const { page, close } = await stage.open('login-everything')
    await page.getByText('Use a username and password').click()
    await page.getByLabel('Username').fill('ana')
    const heard = page.evaluate(
      () =>
        new Promise((resolve) =>
          new BroadcastChannel('postern').addEventListener('message', ({ data }) => resolve(data)),
        ),
    )
    const other = await page.context().newPage()
    await other.goto(`${stage.gateway}/home-one`)
    expect(await heard).toBe('signed-in')
    expect(await page.getByLabel('Username').inputValue()).toBe('ana')
    expect(page.url()).toBe(`${stage.gateway}/login-everything`)
    await close()
  })

  test('a command is copied as it must be typed', async () => {
    const { page, close } = await stage.open('home-one', {
      permissions: ['clipboard-read', 'clipboard-write'],
    })
    await page.getByRole('button', { name: 'Copy command for Claude Code' }).click()
    await page.getByRole('button', { name: 'Copied' }).waitFor()
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(
      'claude mcp add --transport http demo http://localhost:8080/demo/mcp',
    )
    await close()
  })

  test('signing in works with the keyboard alone, without JavaScript', async () => {
    const { page, close } = await stage.open('login-password', { javaScriptEnabled: false })
    await page.locator('#username:focus').waitFor()
    await page.keyboard.type('ana')
    await page.keyboard.press('Tab')
    await page.keyboard.type('correct horse')
    await page.keyboard.press('Enter')
    await page.waitForURL(/callback/)
    expect(stage.posts.at(-1)).toEqual({
      path: '/login',
      origin: stage.gateway,
      body: 'flow=f_Zk3&csrf=x9f2&username=ana&password=correct+horse',
    })
    await close()
  })
})
