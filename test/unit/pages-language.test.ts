// The pages in every language: the catalogue is whole, and nothing on a page is left in English.
import { describe, expect, it } from 'vitest'
import { htmlText } from '../../src/kit/html.ts'
import { languageOf, languages } from '../../src/kit/language.ts'
import { type RefusalCode, refusals } from '../../src/kit/refusal.ts'
import { createBrand } from '../../src/pages/brand.ts'
import {
  catalogue,
  isSayable,
  say,
  sayAgain,
  sayCounted,
  sayDate,
  sayDuration,
  sayList,
} from '../../src/pages/language.ts'
import { problems } from '../../src/pages/problem-texts.ts'
import { createPages, createSite } from '../../src/pages/views.ts'
import { pageStates } from '../pages/states.ts'
import { sourcesIn } from '../structure/sources.ts'

const about = { issuer: 'https://mcp.example.com', version: '0.1.0' }
const others = languages.slice(1)
const messages = Object.entries(catalogue) as [string, readonly string[]][]
const placesOf = (text: string): string => String(text.match(/\{\w+\}/g)?.toSorted())
const codeOf = (text: string): string => String(text.match(/`[^`]*`/g)?.toSorted())
const tables = sourcesIn('src/pages/words', '.ts').map(({ text }) => text)

describe('the language of a reader [RFC 9110 §12.5.4]', () => {
  it.each([
    [null, 'en'],
    ['', 'en'],
    ['de', 'de'],
    ['DE-at', 'de'],
    ['fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5', 'fr'],
    ['en;q=0.8, ja', 'ja'],
    ['pt-BR, es;q=0.6, en;q=0.6', 'es'],
    ['zh-CN, zh', 'en'],
    ['*', 'en'],
    ['nl, *;q=0.1, de;q=0.05', 'en'],
    ['de;q=0, fr', 'fr'],
    ['de;q=0', 'en'],
    ['de; q=0.5 , es;Q=0.4', 'de'],
    ['de;q=2, es;q=0.1', 'es'],
    ['de;q=-1, es;q=0.1', 'es'],
    ['de;level=1;q=0.2, fr;q=0.3', 'fr'],
    ['i-klingon, x-de, german', 'en'],
    ['__proto__, constructor, toString', 'en'],
    ['\u0000de, d\u0435', 'en'],
    ['de\uFF0Cfr', 'en'],
    [`${'nl,'.repeat(100_000)}de`, 'en'],
    [`${'x'.repeat(1_000_000)},de`, 'en'],
    [`de${';q=1'.repeat(100_000)}`, 'de'],
    [`${'nl,'.repeat(19)}de`, 'de'],
    [`${'nl,'.repeat(20)}de`, 'en'],
  ])('is found in field %#', (field, language) => {
    expect(languageOf(field)).toBe(language)
  })

  it('decides what a site draws', async () => {
    const { pages } = createSite(about, {})
    const drawn = async (field: string | undefined) => {
      const page = pages(
        new Request('https://gw.test', { headers: field === undefined ? {} : { 'accept-language': field } }),
      ).deviceDone({ client: { id: 'c', name: 'App', kind: 'registered' }, allowed: false })
      const text = await page.text()
      return {
        lang: /<html lang="([a-z]+)" dir="ltr">/.exec(text)?.[1],
        said: page.headers.get('content-language'),
        vary: page.headers.get('vary'),
        kept: page.headers.get('cache-control'),
        title: /<title>(.*)<\/title>/.exec(text)?.[1],
      }
    }
    const in_ = (lang: string, title: string) => ({
      lang,
      said: lang,
      vary: 'Accept, Accept-Language',
      kept: 'no-store',
      title: `${title} · Postern`,
    })
    expect(await drawn(undefined)).toEqual(in_('en', 'Access denied'))
    expect(await drawn('en-US,de')).toEqual(in_('en', 'Access denied'))
    expect(await drawn('de-CH')).toEqual(in_('de', 'Zugriff abgelehnt'))
    expect(await drawn('es')).toEqual(in_('es', 'Acceso denegado'))
    expect(await drawn('fr')).toEqual(in_('fr', 'Accès refusé'))
    expect(await drawn('ja')).toEqual(in_('ja', 'アクセスを拒否しました'))
  })
})

describe('the catalogue', () => {
  it('says each message in every language, with the same places and code', () => {
    const wrong = messages.filter(
      ([english, translations]) =>
        translations.length !== others.length ||
        translations.some(
          (text) =>
            text === '' ||
            text.trim() !== text ||
            placesOf(text) !== placesOf(english) ||
            codeOf(text) !== codeOf(english),
        ),
    )
    expect(wrong).toEqual([])
  })

  it('has each message in one table, and nothing that no code says', () => {
    const listed = tables.flatMap((table) => [...table.matchAll(/^ {2}(?:(["'])(.*)\1|(\w+)):/gm)])
    expect(listed.length).toBe(messages.length)
    const code = ['src/pages', 'src/oauth', 'src/identity', 'src/connections', 'src/services', 'src/kit']
      .flatMap((folder) => sourcesIn(folder, '.ts'))
      .filter(({ path }) => !path.includes('/pages/words/'))
      .map(({ text }) => text)
      .join('\n')
    const fragmentOf = (text: string): string =>
      text.split(/\{\w+\}/).toSorted((a, b) => b.length - a.length)[0] ?? ''
    expect(Object.keys(catalogue).filter((text) => !code.includes(fragmentOf(text)))).toEqual([])
  })

  it('has the sentence of every refusal that has a page', () => {
    const shown = [...Object.keys(problems), 'device.code', 'device.form', 'device.network'] as RefusalCode[]
    expect(shown.map((code) => refusals[code].say).filter((text) => !isSayable(text))).toEqual([])
  })

  it('keeps the operator’s own words', async () => {
    const { brand } = createBrand({ name: 'Copy' })
    const page = createPages({ ...about, brand, language: 'de' }).deviceDone({
      client: { id: 'c', name: 'Copy', kind: 'registered' },
      allowed: true,
    })
    expect(await page.text()).toContain('· Copy</title>')
  })
})

/** What people call things, and words that are the same in every language. */
const names =
  /\b(?:Postern|MCP|OAuth|URL|URI|ID|HTTP|HTTPS|JSON|TLS|API|Claude|Code|Desktop|ChatGPT|Cursor|Codex|VS|LM|Studio|Inspector|Insiders|claude\.ai|mcp-remote|client_id|localhost)\b/g

/** What a page says, without what strangers and programs chose: code, names, tools, values. */
const saidOn = (text: string): string =>
  text
    .replace(/^[\s\S]*<main[^>]*>/, '')
    .replace(/<\/main>[\s\S]*$/, '')
    .replace(/<ul class="tools">[\s\S]*?<\/ul>/g, ' ')
    .replace(/<(code|bdi|time|strong)\b[^>]*>[\s\S]*?<\/\1>/g, ' ')
    // Words of another program.
    .replace(/„[^“]*“|«[^»]*»|「[^」]*」/g, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replaceAll('&amp;', '&')

/** Lines of words that English would have, too. */
const wordsIn = (text: string): readonly string[] =>
  saidOn(text)
    .replace(names, '')
    .replace(/[\w.@-]+\.(?:example|com)\b/g, '')
    .split(/[\n.:;]/)
    .map((line) => line.trim())
    .filter((line) => line !== '')

const english = pageStates(createPages(about))

describe.each(others)('the pages in %s', (language) => {
  const states = Object.entries(pageStates(createPages({ ...about, language }))).filter(
    // For administrators; what strangers wrote; a sentence that nothing says.
    ([name]) => !/^access|hostile|^problem-unknown$/.test(name),
  )

  it('say nothing in English', async () => {
    // One word can be the same in two languages, but for Japanese.
    const isEnglish = language === 'ja' ? /[a-z]{3}/i : /\p{L}{2,} \p{L}{2,}/u
    const left: string[] = []
    for (const [name, state] of states) {
      const was = new Set(wordsIn(await english[name]!().text()))
      const said = wordsIn(await state().text())
      expect(said.length, name).toBeGreaterThan(0)
      left.push(
        ...said
          .filter((words) => isEnglish.test(words) && was.has(words))
          .map((words) => `${name}: ${words}`),
      )
    }
    expect(left).toEqual([])
  })
})

describe('numbers, dates and lists', () => {
  it.each([
    ['en', '1 tool', '3 tools', '30 days', '90 minutes', '28 Jul 2026', 'a, b and c'],
    ['de', '1 Tool', '3 Tools', '30 Tage', '90 Minuten', '28.07.2026', 'a, b und c'],
    ['es', '1 herramienta', '3 herramientas', '30 días', '90 minutos', '28 jul 2026', 'a, b y c'],
    ['fr', '1 outil', '3 outils', '30 jours', '90 minutes', '28 juil. 2026', 'a, b et c'],
    ['ja', '1 個のツール', '3 個のツール', '30 日', '90 分', '2026/07/28', 'a、b、c'],
  ] as const)('are those of %s', (language, ...expected) => {
    const inText = (markup: Parameters<typeof htmlText>[0]): string =>
      htmlText(markup, language)
        .replaceAll(/<[^>]*>/g, '')
        .replaceAll(/[\u00A0\u202F]/g, ' ')
    expect([
      inText(sayCounted(1, '{n} tool', '{n} tools')),
      inText(sayCounted(3, '{n} tool', '{n} tools')),
      inText(sayDuration(30 * 86_400_000)),
      inText(sayDuration(5_400_000)),
      inText(sayDate(Date.UTC(2026, 6, 28, 23, 59))),
      inText(sayList(['a', 'b', 'c'])),
    ]).toEqual(expected)
  })

  it('escape what stands in their places', () => {
    expect(htmlText(say('Return to {client}', { client: '<b>&' }), 'de')).toBe('Zurück zu &lt;b&gt;&amp;')
    expect(htmlText(sayAgain('The parameter <script>"{name}" was sent more than once.'), 'fr')).toBe(
      'Le paramètre &lt;script&gt;&quot;{name}&quot; a été envoyé plusieurs fois.',
    )
  })
})
