// Stylesheet, script and icon, each under a path that changes with its content, so browsers may keep them for ever.
import { gate } from './icons.ts'
import { script } from './script.ts'
import { stylesheet } from './stylesheet.ts'

/** FNV-1a, 32 bits: names a content, proves nothing. It is synchronous, which the digests of WebCrypto are not. */
const fingerprint = (text: string): string => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return (hash >>> 0).toString(16).padStart(8, '0')
}

// One blue that stands out on light and dark tab strips alike: an icon cannot always know the theme around it.
const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><path fill="#5577e6" fill-rule="evenodd" d="${gate}"/></svg>`

const stylesheetPath = `/assets/postern.${fingerprint(stylesheet)}.css`
const scriptPath = `/assets/postern.${fingerprint(script)}.js`
const iconPath = `/assets/postern.${fingerprint(icon)}.svg`

/** Where pages find their assets. */
export const assetPaths = { stylesheet: stylesheetPath, script: scriptPath, icon: iconPath } as const

const assets = new Map([
  [stylesheetPath, { type: 'text/css; charset=utf-8', text: stylesheet }],
  [scriptPath, { type: 'text/javascript; charset=utf-8', text: script }],
  [iconPath, { type: 'image/svg+xml', text: icon }],
])

const headers = { 'X-Content-Type-Options': 'nosniff', 'Cross-Origin-Resource-Policy': 'same-origin', 'Content-Security-Policy': "default-src 'none'" }

/** Answers for a request path (no query): the asset, or undefined for an unknown one. `/favicon.ico`, which browsers ask for unbidden, is the icon. */
export const createAssets = (): ((path: string) => Response | undefined) => (path) => {
  const unbidden = path === '/favicon.ico'
  const asset = assets.get(unbidden ? iconPath : path)
  if (!asset) return undefined
  return new Response(asset.text, { headers: { ...headers, 'Content-Type': asset.type, 'Cache-Control': unbidden ? 'public, max-age=86400' : 'public, max-age=31536000, immutable' } })
}
