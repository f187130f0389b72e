// The operator's name, logo and color: what the configuration takes, and what pages show of it.
import { expect, it } from 'vitest'
import { contrastWithWhite, darker, legibleShade } from '../../src/kit/contrast.ts'
import { createAssets } from '../../src/pages/assets.ts'
import { createBrand } from '../../src/pages/brand.ts'
import { createConsolePages } from '../../src/pages/console/pages.ts'
import { createPages } from '../../src/pages/views.ts'
import { consoleStates } from '../pages/console-states.ts'
import { hostileNames, pageStates } from '../pages/states.ts'
import { configOf, faultsOf } from './config-world.ts'

const svg = '<svg xmlns="http://www.w3.org/2000/svg"/>'
const logo = `data:image/svg+xml;base64,${Buffer.from(svg).toString('base64')}`

it('computes contrast as WCAG does, and finds a shade that can be read', () => {
  expect([contrastWithWhite('#000000'), contrastWithWhite('#ffffff')]).toEqual([21, 1])
  // https://webaim.org/resources/contrastchecker/ says 4.54 and 2.54.
  expect(contrastWithWhite('#767676')).toBeCloseTo(4.54, 2)
  expect(contrastWithWhite('#10b981')).toBeCloseTo(2.54, 2)
  for (const color of ['#10b981', '#ffff00', '#ffffff', '#2a4dc4'])
    expect(contrastWithWhite(legibleShade(color))).toBeGreaterThanOrEqual(4.5)
  expect([legibleShade('#2a4dc4'), darker('#102030', 0.5)]).toEqual(['#2a4dc4', '#081018'])
})

it.each([
  ['color: "#10b981"', 'branding.color', 'its contrast is 2.5:1, and 4.5:1 is needed. #0c875e works'],
  ['color: red', 'branding.color', 'must be a color such as #0f7a6c'],
  ['color: "#0f7a6c; }"', 'branding.color', 'must be a color such as #0f7a6c'],
  ['logo: https://cdn.example/logo.svg', 'branding.logo', 'must be a data URL'],
  ['logo: "data:text/html;base64,PGI+"', 'branding.logo', 'must be a data URL'],
  [`logo: "data:image/png;base64,${'A'.repeat(90_000)}"`, 'branding.logo', 'is larger than 64 KiB'],
  [`name: "${'x'.repeat(61)}"`, 'branding.name', ''],
  ['colour: "#0f7a6c"', 'branding.colour', 'color'],
])('refuses %.40s', async (line, key, says) => {
  const faults = await faultsOf(`branding:\n  ${line}\n`)
  expect(faults).toEqual([expect.stringContaining(`${key} – `)])
  expect(faults[0]).toContain(says)
})

it('takes the rest', async () => {
  const { branding } = await configOf(`branding: { name: Example Corp, color: "#0F7A6C", logo: "${logo}" }`)
  expect(branding).toEqual({ name: 'Example Corp', color: '#0F7A6C', logo })
  expect((await configOf('')).branding).toBeUndefined()
})

it('stands on every page, with files of the gateway alone', async () => {
  const { brand, brandAssets } = createBrand({ name: hostileNames.markup, color: '#0f7a6c', logo })
  const about = { issuer: 'https://mcp.example.com', version: '0', brand }
  const states = { ...pageStates(createPages(about)), ...consoleStates(createConsolePages(about)) }
  for (const name of ['login-password', 'consent-document', 'console-services', 'problem-client.unknown']) {
    const draw = states[name]
    expect([name, draw === undefined]).toEqual([name, false])
    const text = await (draw as () => Response)().text()
    expect(text).toContain(`<link rel="stylesheet" href="${brand.stylesheet}">`)
    expect(text).toContain(`<img src="${brand.logo}" alt="" height="24">`)
    expect(text).not.toContain(hostileNames.markup)
    // After the tokens, which it changes.
    expect(text.indexOf('/assets/brand.')).toBeGreaterThan(text.indexOf('rel="stylesheet"'))
  }
  const assets = createAssets(brandAssets)
  const image = assets(brand.logo ?? '')
  expect([
    image?.headers.get('content-type'),
    image?.headers.get('content-security-policy'),
    await image?.text(),
  ]).toEqual(['image/svg+xml', "default-src 'none'", svg])
  expect(await assets(brand.stylesheet ?? '')?.text()).toBe(
    ':root { --fill: #0f7a6c; --fill-hover: #0c6459; }\n',
  )
  expect(createAssets()(brand.logo ?? '')).toBeUndefined()
})
