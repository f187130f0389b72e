// The last error in what a process wrote to standard error: the whole of it, be it one line or many, without the frames of its stack.

/** Longest error that is told, characters; of a longer one its beginning and its end. */
const longest = 600
/** An error is looked for in so many lines. */
const mostLines = 60

const begins = /^\S.{0,120}?(?:error|exception|fatal|panic|failed|failure|ERR!)\b|^(?:error|fatal)/i
/** `    at f (file:1:2)`, the marker under a line of source, and what Node.js says of itself at the very end. */
const noise = /^\s+at\s|^\s*\^+\s*$|^Node\.js v\d|^\s+File ".*", line \d+|^\s*$/
/** Ends something that began above: a bracket, or what is indented. */
const continues = /^\s|^[\]})"'`,;.\s]+$/

const startOf = (lines: readonly string[]): number => {
  let at = lines.findLastIndex((line) => begins.test(line))
  if (at !== -1) {
    // Programs that begin every line alike (npm) say it in several.
    while (at > 0 && lines.length - at < 12 && begins.test(lines[at - 1] as string)) at--
    return at
  }
  at = lines.length - 1
  while (at > 0 && continues.test(lines[at] as string)) at--
  return at
}

export const lastError = (stderr: string): string => {
  const lines = stderr.trimEnd().split('\n').slice(-mostLines).filter((line) => !noise.test(line))
  const text = lines.slice(startOf(lines)).map((line) => line.trim()).join(' ')
  return text.length <= longest ? text : `${text.slice(0, longest / 2)} … ${text.slice(-longest / 2)}`
}
