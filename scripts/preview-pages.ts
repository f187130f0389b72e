// Serves every page in every state at http://127.0.0.1:8099/ for whoever works on how they look, in the language that
// the browser asks for: `node scripts/preview-pages.ts`, PORT for another port.
import { serve } from '@hono/node-server'
import { type Language, languageOf, languages } from '../src/kit/language.ts'
import { createAssets } from '../src/pages/assets.ts'
import { createConsolePages } from '../src/pages/console/pages.ts'
import { createPages } from '../src/pages/views.ts'
import { consoleStates } from '../test/pages/console-states.ts'
import { pageStates } from '../test/pages/states.ts'

const gateway = { issuer: 'https://mcp.example.com', version: '0.1.0' }
const assets = createAssets()
const statesIn = (language: Language) => ({
  ...pageStates(createPages({ ...gateway, language })),
  ...consoleStates(createConsolePages(gateway)),
})
const states = new Map<string, ReturnType<typeof statesIn>>(
  languages.map((language) => [language, statesIn(language)]),
)

const list = (): Response =>
  new Response(
    `<!doctype html><title>Pages</title><ul>${Object.keys(states.get('en') ?? {})
      .map((name) => `<li><a href="/${name}">${name}</a>`)
      .join('')}</ul>`,
    { headers: { 'content-type': 'text/html; charset=utf-8' } },
  )

const fetch = (request: Request): Response => {
  const { pathname } = new URL(request.url)
  if (pathname === '/') return list()
  return (
    assets(pathname) ??
    states.get(languageOf(request.headers.get('accept-language')))?.[pathname.slice(1)]?.() ??
    new Response('Nothing here\n', { status: 404 })
  )
}

serve({ fetch, hostname: '127.0.0.1', port: Number(process.env['PORT'] ?? 8099) }, ({ port }) =>
  console.log(`http://127.0.0.1:${port}/`),
)
