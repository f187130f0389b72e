// The operator's name, logo and color: what pages show of them, and the files that they load for it.
import { darker } from '../kit/contrast.ts'
import { type Markup, html } from '../kit/html.ts'
import { type Asset, fingerprint, mark } from './assets.ts'

/** As in the configuration, which has judged them. */
export interface Branding {
  readonly name?: string | undefined
  /** `#rrggbb`. */
  readonly color?: string | undefined
  /** A data URL in base64. */
  readonly logo?: string | undefined
}

export interface Brand {
  readonly name?: string | undefined
  /** Paths. */
  readonly logo?: string | undefined
  readonly stylesheet?: string | undefined
}

const extensions: Readonly<Record<string, string>> = {
  'image/svg+xml': 'svg',
  'image/png': 'png',
  'image/webp': 'webp',
  'image/jpeg': 'jpg',
}

const logoOf = (dataUrl: string): readonly [path: string, asset: Asset] => {
  const [, type = '', base64 = ''] = /^data:([^;]+);base64,(.*)$/.exec(dataUrl) ?? []
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  return [`/assets/logo.${fingerprint(dataUrl)}.${extensions[type] ?? 'img'}`, { type, body: bytes }]
}

/** The accent of links stays: it has to be read on every surface, in both themes. */
const stylesheetOf = (color: string): readonly [path: string, asset: Asset] => {
  const text = `:root { --fill: ${color}; --fill-hover: ${darker(color, 0.82)}; }\n`
  return [`/assets/brand.${fingerprint(text)}.css`, { type: 'text/css; charset=utf-8', body: text }]
}

/** What pages need, and what is served for them. */
export const createBrand = ({ name, color, logo }: Branding = {}): {
  readonly brand: Brand
  readonly brandAssets: ReadonlyMap<string, Asset>
} => {
  const [image, style] = [
    logo === undefined ? undefined : logoOf(logo),
    color === undefined ? undefined : stylesheetOf(color),
  ]
  return {
    brand: { name, logo: image?.[0], stylesheet: style?.[0] },
    brandAssets: new Map([image, style].filter((one) => one !== undefined)),
  }
}

/** The logo, or the gateway's own mark; decoration, because the name stands beside it. */
export const brandMark = (brand: Brand | undefined): Markup =>
  brand?.logo === undefined ? mark : html`<img src="${brand.logo}" alt="" height="24">`

export const brandName = (brand: Brand | undefined): string => brand?.name ?? 'Postern'
