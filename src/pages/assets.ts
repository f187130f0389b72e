// Stylesheet, script and icon, each under a path that changes with its content, so browsers may keep them for
// ever.
import { type Markup, trusted } from '../kit/html.ts'
import { consoleStylesheet } from './console/style.ts'
import { tokens } from './tokens.ts'

// The few icons, drawn in the colour of the words they stand beside. Decoration only: the words carry the
// meaning.

const icon = (paths: string): Markup =>
  trusted(
    `<svg class="icon" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${paths}</svg>`,
  )

export const okIcon = icon('<path d="m3.5 8.5 3 3 6-7"/>')
export const failedIcon = icon('<path d="m4 4 8 8m0-8-8 8"/>')
export const unreachedIcon = icon('<path d="M4 8h8"/>')
export const warnIcon = icon('<path d="M8 2 1.5 13.5h13zM8 6.5v3M8 11.6v.1"/>')
export const verifiedIcon = icon(
  '<path d="M8 1.5 2.5 3.7v4c0 3.3 2.3 5.6 5.5 6.8 3.2-1.2 5.5-3.5 5.5-6.8v-4zM5.5 8l1.8 1.8L10.6 6.5"/>',
)
export const adminIcon = icon(
  '<circle cx="8" cy="5" r="2.8"/><path d="M2.5 14c.5-3 2.7-4.5 5.5-4.5s5 1.5 5.5 4.5"/>',
)
export const infoIcon = icon('<circle cx="8" cy="8" r="6.25"/><path d="M8 7.3v3.7M8 4.9v.1"/>')
export const lockIcon = icon(
  '<rect x="3" y="7" width="10" height="6.8" rx="1.4"/><path d="M5.3 7V4.9a2.7 2.7 0 0 1 5.4 0V7"/>',
)
export const clockIcon = icon('<circle cx="8" cy="8" r="6.2"/><path d="M8 4.4V8l2.5 1.6"/>')
export const backIcon = icon('<path d="M14 8H2.5M6.2 4.2 2.4 8l3.8 3.8"/>')
export const onwardIcon = icon(
  '<path d="M6.5 3H3.4A1.4 1.4 0 0 0 2 4.4v7.2A1.4 1.4 0 0 0 3.4 13h7.2a1.4 1.4 0 0 0 1.4-1.4V9.5M9.5 2H14v4.5M13.7 2.3 7.5 8.5"/>',
)
export const serviceIcon = icon(
  '<rect x="2.2" y="2.2" width="11.6" height="11.6" rx="2.2"/><path d="m5.2 8.2 2 2 3.6-4"/>',
)
export const deviceIcon = icon(
  '<rect x="2" y="2.5" width="12" height="8.5" rx="1.4"/><path d="M5.5 14h5M4.8 5.2 6.6 7 4.8 8.8"/>',
)
export const chevron = icon('<path d="m6 3.5 4.5 4.5L6 12.5"/>')
export const arrowIcon = icon('<path d="M2 8h11.5M9.8 4.2 13.6 8l-3.8 3.8"/>')

/** A gate standing ajar, in a box of 20 by 20. */
export const gate =
  'M2 19V9a8 8 0 0 1 16 0v10h-3.2V9a4.8 4.8 0 0 0-2.3-4.1V19l-7.3-2.3V9c0-.3 0-.6.1-.9V19zm7.6-6.6a1.1 1.1 0 1 0 0-2.2 1.1 1.1 0 0 0 0 2.2z'
export const mark = trusted(
  `<svg viewBox="0 0 20 20" fill="currentColor" aria-hidden="true"><path fill-rule="evenodd" d="${gate}"/></svg>`,
)

// The one script, as text. Every page is complete without it; it saves a click here and guards one there.

export const script = `'use strict'
// One submission a form: a second click would cancel the answer to the first.
for (const form of document.forms) {
  form.addEventListener('submit', (event) => {
    if ('sent' in form.dataset) event.preventDefault()
    form.dataset.sent = ''
    // Unless no answer came.
    setTimeout(() => { delete form.dataset.sent }, 10_000)
  })
}
// A page that comes back from the browser's memory may be sent again.
addEventListener('pageshow', () => {
  for (const form of document.forms) delete form.dataset.sent
})

// When the window comes to the front the decision buttons wait again, as after loading: see the stylesheet.
const decision = document.querySelector('.decision')
if (decision) addEventListener('focus', () => decision.classList.toggle('again'))

// In the console, / and Ctrl+K go to the search.
const find = document.getElementById('find')
if (find) addEventListener('keydown', (event) => {
  const isWord = event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey
  const typing = event.target.closest('input, select, textarea, [contenteditable]')
  if (!isWord && (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey)) return
  event.preventDefault()
  find.select()
  find.focus()
})

// Copy buttons, in the language of the page.
const words = { copy: 'Copy', copyWhat: 'Copy {what}', copied: 'Copied', press: 'Press Ctrl+C', selected: 'Selected. Press Control C to copy.', ...document.currentScript.dataset }
for (const text of document.querySelectorAll('.copy')) {
  const button = document.createElement('button')
  const name = (label, said) => { button.textContent = label; button.setAttribute('aria-label', said) }
  const rest = () => name(words.copy, text.dataset.what ? words.copyWhat.replace('{what}', () => text.dataset.what) : words.copy)
  button.type = 'button'
  button.className = 'slim'
  rest()
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text.textContent)
      name(words.copied, words.copied)
    } catch {
      getSelection().selectAllChildren(text)
      name(words.press, words.selected)
    }
    setTimeout(rest, 2000)
  })
  const row = document.createElement('div')
  row.className = 'copyable'
  text.replaceWith(row)
  row.append(text, button)
}

// A sign-in page that waits for a link opened elsewhere goes on when that happened, unless somebody is typing.
const channel = new BroadcastChannel('postern')
const waiting = document.querySelector('[data-go-on]')
if (waiting) {
  const goOn = () => {
    const typing = [...document.querySelectorAll('input:not([type=hidden])')].some((input) => input.value)
    if (!typing) location.replace(waiting.dataset.goOn)
  }
  channel.addEventListener('message', goOn)
  document.addEventListener('visibilitychange', () => { if (!document.hidden) goOn() })
}
if (document.querySelector('[data-signed-in]')) channel.postMessage('signed-in')
`

// The one stylesheet, as text: the core has no files, and a page that waits for nothing foreign works without
// internet. The console has one of its own (console/style.ts).

export const stylesheet = `${tokens}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; min-height: 100vh; min-height: 100dvh; display: flex; flex-direction: column;
  background: var(--canvas); color: var(--text); font: 16px/1.5 var(--sans); font-variant-numeric: tabular-nums; overflow-wrap: break-word;
}
h1, h2, h3, p, dl, dd, ol, ul, pre { margin: 0; padding: 0; }
h1 { font-size: 28px; line-height: 1.25; font-weight: 600; letter-spacing: -0.01em; text-wrap: balance; }
h2 { font-size: 20px; line-height: 1.3; font-weight: 600; }
h3 { font-size: 16px; line-height: 1.5; font-weight: 600; }
h1:focus { outline: none; }
bdi { unicode-bidi: isolate; overflow-wrap: anywhere; }
code, pre { font-family: var(--mono); font-size: 13px; font-variant-ligatures: none; }
small, .small { font-size: 13px; }
.muted { color: var(--text-2); }
.vh { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
a { color: var(--accent); text-underline-offset: 2px; }
a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
svg { display: block; flex: none; }
.icon { width: 16px; height: 16px; }

/* frame */
.top { display: flex; align-items: center; justify-content: space-between; gap: 16px; padding: 12px 24px; min-height: 48px; }
.brand { display: inline-flex; align-items: center; gap: 8px; font-weight: 600; font-size: 14px; color: var(--text); text-decoration: none; }
.brand svg { width: 20px; height: 20px; color: var(--accent); } .brand img { height: 24px; max-width: 160px; object-fit: contain; }
.top .host { color: var(--text-2); font: 13px/1.5 var(--mono); overflow-wrap: anywhere; text-align: end; }
main { width: 100%; margin: 8px auto 0; padding: 0 16px 16px; flex: 1 0 auto; }
.narrow { max-width: 432px; } .middle { max-width: 648px; } .wide { max-width: 992px; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 8px; padding: 24px; }
.foot { padding: 12px 24px 16px; color: var(--text-2); font-size: 13px; text-align: center; }
.stack > * + * { margin-top: 16px; }
.tight > * + * { margin-top: 8px; }

/* controls */
button, .button {
  display: inline-block; vertical-align: middle; min-height: 44px; padding: 11px 16px; width: 100%;
  border: 1px solid var(--edge); border-radius: 6px; background: var(--surface); color: var(--text);
  font: 600 16px/20px var(--sans); text-align: center; text-decoration: none; overflow-wrap: anywhere; cursor: pointer; transition: background-color 120ms, border-color 120ms;
}
button:hover, .button:hover { background: var(--sunk); color: var(--text); }
.primary { background: var(--fill); border-color: var(--fill); color: var(--on-fill); }
.primary:hover { background: var(--fill-hover); border-color: var(--fill-hover); color: var(--on-fill); }
.danger { border-color: var(--bad); color: var(--bad); }
.danger:hover { background: var(--bad-soft); color: var(--bad); }
.slim { width: auto; min-height: 32px; padding: 5px 12px; font-size: 14px; font-weight: 500; }
form[data-sent] button { opacity: 0.6; cursor: progress; }
label { display: block; font-size: 14px; font-weight: 500; margin-bottom: 4px; } .also { display: grid; grid-template-columns: 16px minmax(0, 1fr); gap: 10px; font-weight: 400; margin-bottom: 12px; }
input {
  width: 100%; min-height: 44px; padding: 8px 12px; border: 1px solid var(--edge); border-radius: 6px; background: var(--surface); color: var(--text); font: 16px/1.25 var(--sans);
}
select { width: 100%; min-height: 44px; padding: 8px 12px; border: 1px solid var(--edge); border-radius: 6px; background: var(--surface); color: var(--text); font: 16px/1.25 var(--sans); }
input.code { font-family: var(--mono); font-size: 22px; letter-spacing: .12em; text-align: center; text-transform: uppercase; }
input:focus-visible, select:focus-visible { outline-offset: 0; border-color: var(--accent); }
.provider { display: flex; align-items: center; justify-content: center; gap: 10px; flex-wrap: wrap; }
.provider .mark { display: grid; place-items: center; flex: none; width: 22px; height: 22px; border-radius: 6px; background: var(--auth-soft); color: var(--auth); font-size: 13px; line-height: 1; }
.provider.primary .mark { background: var(--on-fill); color: var(--fill); }
.provider.last { border-color: var(--accent); outline: 1px solid var(--accent); outline-offset: -2px; }
.or { display: flex; align-items: center; gap: 12px; color: var(--text-2); font-size: 13px; }
.or::before, .or::after { content: ""; flex: 1; border-top: 1px solid var(--line); }

/* words with a colour: always an icon or a word beside it */
.badge { display: inline-flex; align-items: flex-start; gap: 6px; padding: 2px 8px; border-radius: 6px; font-size: 14px; font-weight: 500; }
.badge .icon { margin-top: 3px; }
.badge.ok { background: var(--ok-soft); color: var(--ok); } .badge.plain { background: var(--auth-soft); color: var(--auth); } .badge.warn { background: var(--warn-soft); color: var(--warn); }
.chip { display: inline-block; padding: 0 6px; border-radius: 6px; font-size: 13px; font-weight: 500; white-space: nowrap; }
.chip.new { background: var(--auth-soft); color: var(--auth); } .chip.old { background: var(--sunk); color: var(--text-2); }
.note { display: flex; gap: 8px; padding: 8px 12px; border-radius: 6px; font-size: 14px; line-height: 1.4; }
.note .icon { margin-top: 2px; }
.note.warn { background: var(--warn-soft); color: var(--warn); border: 1px solid var(--warn-line); }
.note.bad { background: var(--bad-soft); color: var(--bad); border: 1px solid currentColor; }
.note.info { background: var(--sunk); color: var(--text); }

/* consent */
.consent { max-width: 536px; margin-inline: auto; padding: 24px 28px 22px; border-radius: 12px; }
.consent h1 { font-size: 24px; line-height: 32px; letter-spacing: -0.02em; }
.consent form > [type="hidden"] + .pair { margin-top: 0; }
.consent .tile { width: 44px; height: 44px; border-radius: 11px; border: 1px solid var(--line); } .consent .tile .icon { width: 22px; height: 22px; }
.by { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; margin-top: 6px; font-size: 14px; color: var(--text-2); } .by strong { color: var(--text); overflow-wrap: anywhere; } .by .badge { font-size: 13px; line-height: 20px; padding: 0 6px; } .by .badge .icon { margin-top: 2px; }
.consent .pair > .icon { color: var(--text-2); } .consent .tile.service { background: var(--sunk); color: var(--accent); }
.perms { margin-inline: 0; padding: 0; min-width: 0; border: 1px solid var(--line); border-radius: 10px; font-size: 14px; line-height: 20px; }
.perms > .label { padding: 10px 12px 8px; font-weight: 600; }
.seg { display: grid; grid-template-columns: repeat(3, 1fr); gap: 2px; margin: 0 12px 12px; padding: 3px; border-radius: 10px; background: var(--sunk); }
.seg label { position: relative; display: grid; place-items: center; min-height: 36px; margin: 0; padding: 4px 6px; border: 1px solid transparent; border-radius: 7px; color: var(--text-2); text-align: center; cursor: pointer; }
.seg input { position: absolute; inset: 0; min-height: 0; height: 100%; opacity: 0; margin: 0; cursor: pointer; }
.seg label:hover { color: var(--text); } .seg label:has(:checked) { background: var(--surface); border-color: var(--line); color: var(--text); } .seg label:has(:focus-visible) { outline: 2px solid var(--accent); outline-offset: 1px; }
.perm { border-top: 1px solid var(--line); }
.perm > summary { display: grid; grid-template-columns: 18px minmax(0, 1fr) fit-content(42%) 16px; gap: 10px; overflow-wrap: anywhere; align-items: center; width: auto; margin: 0; padding: 10px 12px; color: var(--text); list-style: none; } .perm > summary::-webkit-details-marker { display: none; } .perm > summary:focus-visible { outline-offset: -2px; }
.perm > summary > .icon { color: var(--text-2); } .perm[open] > summary > .icon { transform: rotate(90deg); } .perm .what span, .perm.locked, .perm .tick label span { color: var(--text-2); } .perm .on .icon { color: var(--ok); } .perm .off .icon, .perm .mark > .icon { color: var(--text-2); }
.perm .state { color: var(--text-2); font-size: 13px; text-align: end; } .perm .off { display: none; }
.consent:has([value="read"]:checked) :is(.perm.write, .perm.execute, .perm.admin) .on, .consent:has([value="write"]:checked) :is(.perm.execute, .perm.admin) .on { display: none; } .consent:has([value="read"]:checked) :is(.perm.write, .perm.execute, .perm.admin) .off, .consent:has([value="write"]:checked) :is(.perm.execute, .perm.admin) .off { display: inline; }
.consent:has([value="read"]:checked) :is(.perm.write, .perm.execute, .perm.admin) .check, .consent:has([value="write"]:checked) :is(.perm.execute, .perm.admin) .check { visibility: hidden; }
.perm p { padding: 0 12px 8px 40px; color: var(--text-2); } .tools { list-style: none; padding: 0 12px 12px 40px; display: grid; gap: 8px; overflow-wrap: anywhere; } .tools li { display: grid; grid-template-columns: 16px minmax(0, 1fr); gap: 8px; } .tools label { margin: 0; font-weight: 400; overflow-wrap: anywhere; } .tools span { color: var(--text-2); } .tools em { font-style: normal; } .tools .icon { margin-top: 2px; color: var(--text-2); }
.choices { margin-inline: 0; padding: 0; border: 0; min-width: 0; } .choices legend { padding: 0; margin-bottom: 4px; font-size: 14px; font-weight: 500; } .choices > div { display: grid; grid-template-columns: 16px minmax(0, 1fr); gap: 8px; padding: 4px 0; } .choices label { margin: 0; font-weight: 400; overflow-wrap: anywhere; }
.check { width: 16px; min-height: 16px; height: 16px; margin: 2px 0 0; padding: 0; accent-color: var(--accent); }
.perm .tick > .off { grid-area: 1 / 1; margin-top: 2px; } .perm .tick > .check { grid-area: 1 / 1; } .perm .tick { display: grid; grid-template-columns: 18px minmax(0, 1fr); gap: 10px; padding: 10px 104px 10px 12px; } .perm .tick label { margin: 0; font-weight: 400; } div.perm { position: relative; } div.perm summary { position: absolute; top: 10px; inset-inline-end: 12px; display: flex; gap: 10px; align-items: center; color: var(--text-2); list-style: none; } div.perm summary::-webkit-details-marker { display: none; } div.perm [open] summary .icon { transform: rotate(90deg); }
.perms > .scopes { padding: 4px 12px 10px; } .perms > details:not(.perm) { padding: 0 12px 10px; } .perms .also { padding: 10px 12px; border-top: 1px solid var(--line); } .perms .about { padding: 8px 12px; border-top: 1px solid var(--line); color: var(--text-2); font-size: 13px; line-height: 18px; }
.fact { display: grid; grid-template-columns: 18px minmax(0, 1fr); gap: 10px; font-size: 14px; line-height: 20px; } .fact > .icon { margin-top: 2px; color: var(--text-2); } .fact > div > .note { margin-top: 8px; }
.goes .host { font-size: 16px; line-height: 22px; font-weight: 600; overflow-wrap: anywhere; } .goes code, .fact code { color: var(--text-2); font-size: 12px; overflow-wrap: anywhere; } .goes p, .goes details { margin-top: 2px; }
.note.goes { color: var(--text); } .note.goes > .icon { color: var(--warn); }

/* labelled rows */
.pair { display: flex; align-items: center; gap: 8px; color: var(--auth); }
.tile { display: grid; place-items: center; width: 32px; height: 32px; border-radius: 8px; font-size: 16px; font-weight: 600; background: var(--auth-soft); color: var(--auth); }
.tile.service { background: var(--fill); color: var(--on-fill); }
.tile.round { border-radius: 50%; background: var(--sunk); color: var(--text-2); font-size: 14px; }
.head { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; }
.rows > div { display: grid; grid-template-columns: 128px minmax(0, 1fr); gap: 4px 16px; padding: 8px 0; border-top: 1px solid var(--line); }
.rows > div:last-child { border-bottom: 1px solid var(--line); }
.rows dt { color: var(--text-2); font-size: 13px; line-height: 24px; }
.rows dd { font-size: 14px; line-height: 20px; padding: 2px 0; min-width: 0; }
.rows strong { font-weight: 600; font-size: 16px; line-height: 24px; overflow-wrap: anywhere; }
.rows .host { display: block; }
.rows .host.long { line-height: 20px; }
.rows code, .facts code { color: var(--text-2); overflow-wrap: anywhere; }
.rows .note { margin-top: 8px; }
.who { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 16px; }
.scopes { list-style: none; }
.scopes li { display: flex; justify-content: space-between; align-items: flex-start; gap: 12px; }
.scopes span { min-width: 0; overflow-wrap: anywhere; } .scopes .chip { flex: none; }
.scopes li + li { margin-top: 4px; }
.decision { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
/* A click meant for another window must not land here (double-click jacking, RFC 9700 §4.16): pointers wait half a second. The script starts it again when the window comes to the front. */
.decision button { animation: settle 500ms step-end; }
.decision.again button { animation-name: settle-again; }
@keyframes settle { from { pointer-events: none; } }
@keyframes settle-again { from { pointer-events: none; } }
details > summary { cursor: pointer; color: var(--accent); font-size: 14px; width: fit-content; border-radius: 6px; }
details[open] > summary { margin-bottom: 8px; }
details p { font-size: 14px; }

/* problem */
.hops { display: flex; list-style: none; align-items: flex-start; }
.hops li { flex: 1; min-width: 0; position: relative; display: flex; flex-direction: column; align-items: center; gap: 4px; font-size: 13px; line-height: 1.35; text-align: center; }
.hops li + li::before { content: ""; position: absolute; top: 15px; right: calc(50% + 22px); left: calc(-50% + 22px); border-top: 2px solid var(--line); }
.hops .dot { display: grid; place-items: center; width: 32px; height: 32px; border-radius: 50%; border: 2px solid currentColor; background: var(--surface); }
.hops .ok .dot { color: var(--ok); } .hops .failed .dot { color: var(--bad); } .hops .unreached .dot { color: var(--text-2); border-style: dashed; }
.hops .name { font-weight: 600; max-width: 100%; hyphens: auto; overflow-wrap: anywhere; } .hops .state { color: var(--text-2); }
.steps { padding-inline-start: 24px; } .steps li + li { margin-top: 4px; }
.facts { display: grid; gap: 8px; }
.facts dt { color: var(--text-2); font-size: 13px; }
.facts mark { background: var(--bad-soft); color: var(--bad); text-decoration: underline; text-underline-offset: 2px; }

/* services and how to connect to them */
.line { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 8px 16px; }
.line .slim { flex: none; }
.line .line { justify-content: flex-start; }
.card.services { padding: 0; overflow: hidden; }
.services > .service + .service { border-top: 1px solid var(--line); }
.service > summary { display: grid; grid-template-columns: 32px minmax(0, 1fr) auto 16px; gap: 12px; align-items: center; width: auto; margin: 0; padding: 10px 16px; min-height: 56px; border-radius: 0; color: var(--text); list-style: none; outline-offset: -2px; }
.service > summary::-webkit-details-marker { display: none; } .service > summary:hover { background: var(--sunk); }
.service > summary .what span { display: block; color: var(--text-2); font-size: 13px; overflow-wrap: anywhere; } .service > summary h2 { font-size: 16px; line-height: 22px; overflow-wrap: anywhere; } .service > summary > .icon:last-child { grid-column: 4; color: var(--text-2); }
.service[open] > summary { margin: 0; border-bottom: 1px solid var(--line); } .service[open] > summary > .icon:last-child { transform: rotate(90deg); } .service > .stack { padding: 16px; } .service > .stack > .client { margin-bottom: 0; }
.clients { columns: 2 360px; column-gap: 12px; margin-bottom: -12px; }
.client { border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px 16px; margin-bottom: 12px; background: var(--surface); min-width: 0; break-inside: avoid; }
.client.off { background: transparent; border-style: dashed; }
.copy { display: block; padding: 8px 12px; line-height: 20px; border-radius: 6px; background: var(--sunk); color: var(--text); white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; }
.url { font-size: 14px; }
.copyable { position: relative; }
.copyable > .copy { padding-inline-end: 84px; }
.copyable > button { position: absolute; top: 4px; inset-inline-end: 4px; min-height: 28px; padding: 3px 10px; font-size: 13px; border-color: var(--line); }
.links { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; }
.client ol { padding-inline-start: 20px; font-size: 14px; }
.client p { font-size: 14px; }
time { white-space: nowrap; }

/* lists for administrators: below 720 px each row is a block of labelled values */
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.filter { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 12px; align-items: end; }
.list { width: 100%; border-collapse: collapse; font-size: 13px; line-height: 20px; text-align: start; }
.list th, .list td { padding: 8px 12px 8px 0; border-top: 1px solid var(--line); vertical-align: top; text-align: start; font-weight: 400; }
.list thead th { border-top: 0; color: var(--text-2); font-size: 12px; font-weight: 500; }
.list th[scope="row"] { font-weight: 500; min-width: 152px; }
.list td > .muted, .list th > .muted { display: block; }
.list details[open] { min-width: 200px; }
.list td:last-child { padding-inline-end: 0; width: 1%; min-width: 88px; }
@media (max-width: 720px) {
  .list, .list tbody, .list tr, .list th, .list td { display: block; }
  .list thead { display: none; }
  .list tr { padding: 8px 0; border-top: 1px solid var(--line); }
  .list th, .list td { border: 0; padding: 2px 0; }
  .list td:last-child { width: auto; padding-top: 8px; }
  .list [data-label]::before { content: attr(data-label) ": "; color: var(--text-2); font-weight: 400; }
  .list td > .muted, .list th > .muted { display: inline; }
  .list a + .muted, .list time + .muted, .list .muted + .muted { margin-inline-start: 6px; }
}

@media (max-width: 560px) {
  .copyable { display: flex; flex-direction: column; gap: 4px; } .copyable > .copy { padding-inline-end: 12px; } .copyable > button { position: static; align-self: end; min-height: 32px; }
  .service > summary { grid-template-columns: 32px minmax(0, 1fr) 16px; } .service > summary > .badge, .service > summary > .chip { grid-column: 2; grid-row: 2; justify-self: start; } .service > summary > .icon:last-child { grid-column: 3; grid-row: 1; }
  .top, .foot { padding-inline: 12px; }
  main { padding: 0 12px 12px; margin-top: 0; }
  .card { padding: 16px; }
  h1 { font-size: 20px; }
  .stack > * + * { margin-top: 12px; }
  .rows > div { grid-template-columns: minmax(0, 1fr); gap: 0; padding: 6px 0; }
  .rows dt { line-height: 18px; }
  .decision { grid-template-columns: 1fr; gap: 8px; }
  .pair { display: none; }
  .consent { padding: 16px 16px 14px; } .consent h1 { font-size: 20px; line-height: 28px; } .consent .pair + div { margin-top: 0; }
}
@media (prefers-reduced-motion: reduce) { button, .button { transition: none; } }
@media (forced-colors: active) {
  .card, .client, .copy, .badge, .chip, .note, .tile { border: 1px solid CanvasText; }
  .primary { border-width: 3px; }
  .facts mark { background: Mark; color: MarkText; }
}
`

/**
 * FNV-1a, 32 bits: names a content, proves nothing. It is synchronous, which the digests of WebCrypto are
 * not.
 */
export const fingerprint = (text: string): string => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return (hash >>> 0).toString(16).padStart(8, '0')
}

// One blue that stands out on light and dark tab strips alike: an icon cannot always know the theme around
// it.
const faviconSvg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><path fill="#5577e6" fill-rule="evenodd" d="${gate}"/></svg>`

const stylesheetPath = `/assets/postern.${fingerprint(stylesheet)}.css`
const consoleStylesheetPath = `/assets/console.${fingerprint(consoleStylesheet)}.css`
const scriptPath = `/assets/postern.${fingerprint(script)}.js`
const faviconPath = `/assets/postern.${fingerprint(faviconSvg)}.svg`

/** Where pages find their assets. */
export const assetPaths = {
  stylesheet: stylesheetPath,
  consoleStylesheet: consoleStylesheetPath,
  script: scriptPath,
  icon: faviconPath,
} as const

export interface Asset {
  readonly type: string
  readonly body: string | Uint8Array<ArrayBuffer>
}

const assets: ReadonlyMap<string, Asset> = new Map([
  [stylesheetPath, { type: 'text/css; charset=utf-8', body: stylesheet }],
  [consoleStylesheetPath, { type: 'text/css; charset=utf-8', body: consoleStylesheet }],
  [scriptPath, { type: 'text/javascript; charset=utf-8', body: script }],
  [faviconPath, { type: 'image/svg+xml', body: faviconSvg }],
])

const headers = {
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy': "default-src 'none'",
}

/**
 * Answers for a request path (no query): the asset, or undefined for an unknown one. `/favicon.ico`, which
 * browsers ask for unbidden, is the icon. `more`: what the operator adds, by path.
 */
export const createAssets =
  (more?: ReadonlyMap<string, Asset>): ((path: string) => Response | undefined) =>
  (path) => {
    const unbidden = path === '/favicon.ico'
    const asset = assets.get(unbidden ? faviconPath : path) ?? more?.get(path)
    if (!asset) return undefined
    return new Response(asset.body, {
      headers: {
        ...headers,
        'Content-Type': asset.type,
        'Cache-Control': unbidden ? 'public, max-age=86400' : 'public, max-age=31536000, immutable',
      },
    })
  }
