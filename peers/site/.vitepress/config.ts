// The site of the documentation: docs/ as it is, with a menu and a search that needs no server.
import { cpSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'
import { contents } from '../contents.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const titleOf = (page: string): string =>
  /^# (.+)$/m.exec(readFileSync(join(root, 'docs', `${page}.md`), 'utf8'))?.[1] ?? page

export default defineConfig({
  title: 'Postern',
  description: 'An OAuth gateway for MCP servers',
  lang: 'en',
  // A copy of docs/: pages are compiled to modules, which find the packages of this folder only from within it.
  srcDir: 'pages',
  outDir: join(root, 'site'),
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: contents.map(({ title, pages }) => ({
      text: title,
      items: pages.map((page) => ({ text: titleOf(page), link: `/${page}` })),
    })),
  },
  markdown: {
    // As on GitHub, where the same files are read.
    anchor: {
      slugify: (heading) =>
        heading
          .trim()
          .toLowerCase()
          .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
          .replaceAll(/\s/g, '-'),
    },
    config(md) {
      // {{…}} is text here.
      const renderCode = md.renderer.rules.code_inline
      md.renderer.rules.code_inline = (...args) =>
        (renderCode?.(...args) ?? '').replace('<code', '<code v-pre')
      // Files of the repository that pages link to are copied beside them.
      const render = md.renderer.rules.link_open
      md.renderer.rules.link_open = (tokens, i, options, env, self) => {
        const href = tokens[i]?.attrGet('href')
        const page = (env as { relativePath?: string }).relativePath ?? ''
        const target = href && posix.normalize(posix.join('docs', posix.dirname(page), href))
        if (target?.startsWith('examples/')) {
          tokens[i]?.attrSet('href', posix.join('/', target))
          tokens[i]?.attrSet('target', '_self')
        }
        return render ? render(tokens, i, options, env, self) : self.renderToken(tokens, i, options)
      }
    },
  },
  buildEnd({ outDir }) {
    cpSync(join(root, 'examples'), join(outDir, 'examples'), { recursive: true })
  },
})
