// The documentation as data: pages, their links, headings and tables.
import { sourcesIn, readRoot, type Source } from '../structure/sources.ts'

const exists = (path: string): boolean => {
  try {
    readRoot(path)
    return true
  } catch {
    return false
  }
}

/** README and everything under docs/. */
export const pages = (): readonly Source[] => [
  ...(exists('README.md') ? [{ path: 'README.md', text: readRoot('README.md') }] : []),
  ...sourcesIn('docs', '.md'),
]

/** Without code blocks, in which nothing is a link or a heading. */
export const proseOf = (text: string): string => text.replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, '')

/** Of headings, as GitHub makes them, and those that stand in the text. */
export const anchorsOf = (text: string): readonly string[] => [
  ...[...proseOf(text).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) =>
    heading
      .trim()
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-'),
  ),
  ...[...text.matchAll(/<a id="([^"]+)">/g)].map(([, id = '']) => id),
]

/** Targets of links and images, without those that leave the repository. */
export const linksOf = (text: string): readonly string[] =>
  [...proseOf(text).matchAll(/\]\(([^)\s]+)[^)]*\)|<img[^>]+src="([^"]+)"/g)]
    .map((match) => match[1] ?? match[2] ?? '')
    .filter((target) => !/^[a-z]+:/i.test(target))
