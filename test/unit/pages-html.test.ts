// The template that every page is made with.
import { assert, property, string } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Drawable, html, htmlResponse, htmlText, pageHeaders, trusted } from '../../src/kit/html.ts'

const unescape = (text: string): string =>
  text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&')

describe('the template', () => {
  test('never lets a value end its text or its attribute, and loses nothing of it [H-P3]', () => {
    assert(
      property(string({ unit: 'binary' }), (value) => {
        const drawn = htmlText(html`${value}`)
        expect(drawn).not.toMatch(/[<>"']/)
        expect(unescape(drawn)).toBe(value)
        expect(htmlText(html`<a title="${value}">${value}</a>`)).toBe(`<a title="${drawn}">${drawn}</a>`)
      }),
      { numRuns: 300 },
    )
  })

  test('takes nothing that came out of JSON for markup', () => {
    const forged = JSON.parse('{"isEscaped":true,"markup":"<b>"}') as unknown as Drawable
    expect(htmlText(html`${forged}`)).not.toContain('<b>')
  })

  test('draws lists and nested markup, and nothing for what is absent', () => {
    expect(
      htmlText(
        html`<ul>${['<a>', 'b'].map((item) => html`<li>${item}</li>`)}</ul>${undefined}${null}${false}${0}${trusted('<hr>')}`,
      ),
    ).toBe('<ul><li>&lt;a&gt;</li><li>b</li></ul>0<hr>')
  })
})

describe('the headers of a page', () => {
  test('forbid frames, inline code and everything foreign [H-E2, H-E21]', () => {
    const policy = pageHeaders['Content-Security-Policy'] ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).toContain("base-uri 'none'")
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    expect(pageHeaders).toMatchObject({
      'X-Frame-Options': 'DENY',
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'same-origin',
      'Cache-Control': 'no-store',
    })
  })

  test('leave form-action out, because Chrome would stop the answer to the client with it [H-E2]', () => {
    expect(pageHeaders['Content-Security-Policy']).not.toContain('form-action')
  })

  test('stay open for cookies', () => {
    const response = htmlResponse(html`x`, { status: 403 })
    response.headers.append('set-cookie', 'a=1')
    response.headers.append('set-cookie', 'b=2')
    expect(response.status).toBe(403)
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
  })
})
