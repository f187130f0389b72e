// Unpacks the browser beside its package, opens a page in it, and writes down how to start it. Run by
// scripts/bootstrap.mjs with TMPDIR (where it goes) and AWS_LAMBDA_JS_RUNTIME (so that its shared libraries come along).
import { readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import packed from '@sparticuz/chromium'
import { chromium } from 'playwright-core'

const executablePath = await packed.executablePath()
// Its fonts are looked for in /tmp, and a page without any font shows no text.
const fonts = join(tmpdir(), 'fonts')
const fontsFile = join(fonts, 'fonts.conf')
writeFileSync(fontsFile, readFileSync(fontsFile, 'utf8').replaceAll('/tmp/fonts', fonts))

const env = { LD_LIBRARY_PATH: process.env.LD_LIBRARY_PATH ?? '', FONTCONFIG_PATH: fonts }
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'], env: { ...process.env, ...env } })
const page = await browser.newPage()
await page.goto('data:text/html,<p>It runs')
if ((await page.innerText('p')) !== 'It runs') throw new Error('Its page shows no text.')
await browser.close()
writeFileSync(process.argv[2], JSON.stringify({ path: executablePath, args: [], env }))
