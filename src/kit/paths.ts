// The one spelling of a path in which requests are routed: what a proxy in front of the gateway judged must be what the gateway answers.

/**
 * A path is routed, authorised and forwarded in one spelling only: ASCII segments without empty, dot or `;` segments, and without
 * percent-encodings that another parser could undo into structure (`%2f %5c %2e %25 %23 %3f %3b`, controls) or need not have been used (letters,
 * digits, `-._~`; RFC 3986 §6.2.2.2). Dots with spaces behind them are dots to parsers that trim. One slash may end it. Everything else is simply not there.
 */
const normalForm = /^(?:\/(?!\.(?:\.|%20)*(?:\/|$))(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%(?:2[0-246-9A-Ca-c]|3[ACDEacde]|40|5[BbDdEe]|60|7[B-Db-d]|[89A-Fa-f][0-9A-Fa-f]))+)+\/?$/

const hasWholeCharacters = (path: string): boolean => {
  if (!path.includes('%')) return true
  try {
    decodeURIComponent(path)
    return true
  } catch {
    // Overlong or broken UTF-8 behind the percent signs.
    return false
  }
}

export const isNormalPath = (path: string): boolean => path.length <= 4096 && normalForm.test(path) && hasWholeCharacters(path)

/** Whether a request for this path may be routed at all, before any parser has removed dot segments or undone encodings from it. */
export const isRoutablePath = (path: string): boolean => path === '/' || isNormalPath(path)

/** The path of a URL as it was written, without the dot segments being removed as `new URL` does it. The text is known to be an absolute URL. */
export const writtenPath = (url: string): string => {
  const start = url.indexOf('/', url.indexOf('//') + 2)
  if (start === -1) return '/'
  const end = url.slice(start).search(/[?#]/)
  return end === -1 ? url.slice(start) : url.slice(start, start + end)
}
