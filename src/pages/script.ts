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

// Copy buttons.
for (const text of document.querySelectorAll('.copy')) {
  const button = document.createElement('button')
  const name = (label, said) => { button.textContent = label; button.setAttribute('aria-label', said) }
  const rest = () => name('Copy', 'Copy ' + (text.dataset.what || 'text'))
  button.type = 'button'
  button.className = 'slim'
  rest()
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text.textContent)
      name('Copied', 'Copied')
    } catch {
      getSelection().selectAllChildren(text)
      name('Press Ctrl+C', 'Selected. Press Control C to copy.')
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
