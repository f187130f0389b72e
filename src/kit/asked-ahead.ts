// Requests that nobody made: browsers that fetch ahead of a click, and previews of links.

const marks = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz']

/** Whether a program asks before a person does (HTML, Sec-Purpose; what Chrome, Safari and Firefox sent before it). */
export const isAskedAhead = ({ method, headers }: Request): boolean =>
  method === 'HEAD' || marks.some((name) => /prefetch|prerender|preview/i.test(headers.get(name) ?? ''))
